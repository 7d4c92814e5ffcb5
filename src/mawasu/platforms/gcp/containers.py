"""What a revision runs on Cloud Run: our server, which takes the requests, and beside it the user's code. Pure.

Both share the network and a directory in memory. A handler's worker answers on a socket in that directory; a server of
the user's own listens on a port that only containers of the same instance reach. Neither container waits for the other
to start: the server's probe says when both are ready, and Cloud Run sends no request before it does. (`dependsOn` would
need a probe of the worker, which listens on no port.)
"""

from __future__ import annotations

import math

import msgspec

from mawasu.errors import StepError
from mawasu.google.run import Container, Files, Probe, Template
from mawasu.google.run_limits import CORES, MIB, STARTUP, faults, size
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.names import Cloud
from mawasu.serving.config import Config, handler_arguments, labels_of, threads_of
from mawasu.spec.feature import GcpApi
from mawasu.words import ServiceSpec

READY = "/-/ready"
PORT = 8080  # of our server; Cloud Run tells it in $PORT
COMMAND_PORT = 8081  # of the user's

FILES, RUN = "/mawasu/files", "/mawasu/run"
SOCKET = f"{RUN}/worker.sock"
MODEL = f"{FILES}/model"
CODE = f"{FILES}/code"
WORKER = f"{FILES}/worker.py"

SERVER = "server"
LEAST = "mawasu-least"
"""Annotation of a revision: instances that are always there once it has the traffic."""

SERVER_CPU, SERVER_MEMORY = "1", "512Mi"


def template(spec: ServiceSpec, cloud: Cloud, settings: GcpApi, redis: str = "") -> Template:
    """The revision `spec.revision`, checked. `redis` is the URL of the cache, "" for none. Raises StepError."""
    service = names.service(spec.feature, spec.environment)
    least = 0 if spec.preview else spec.replicas  # one branch after the other would cost money day and night
    made = Template(
        revision=spec.revision,
        account=names.account(cloud, names.of_class("api", spec.preview)),
        containers=(_server(spec, cloud, redis), _worker(spec)),
        labels=names.labels(spec.feature, spec.environment),
        annotations={LEAST: str(least)},
        files={"files": Files(files_in(cloud, preview=spec.preview), files_of(service, spec.revision))},
        scratch={"run": "16Mi"},
        most=max(1, spec.most, least),
        concurrency=settings.concurrency,
        network=settings.network,
        subnet=settings.subnet,
    )
    if found := faults(made):
        what = f"{spec.feature}/{spec.environment} cannot run on Cloud Run: {'; '.join(found)}"
        raise StepError(what, "see api.resources and gcp.api in mawasu.yaml")
    return made


def files_in(cloud: Cloud, *, preview: bool) -> str:
    """The bucket that the files of a class of environments lie in."""
    return names.beside(cloud.bucket, names.of_class("services", preview))


def files_of(service: str, revision: str = "") -> str:
    """Where a revision's files lie in the bucket (of all its revisions, with "")."""
    return f"services/{service}/{revision}".rstrip("/")


def _server(spec: ServiceSpec, cloud: Cloud, redis: str) -> Container:
    config = Config(
        listen="",
        worker=f"http://127.0.0.1:{COMMAND_PORT}" if spec.handler.command else SOCKET,
        release=spec.release,
        command=bool(spec.handler.command),
        workers=spec.handler.workers,
        max_batch=spec.handler.max_batch,
        deadline=spec.handler.deadline,
        prefix=f"/{spec.feature}/{spec.environment}",
        site=f"{spec.feature}/{spec.environment}",
        cache=spec.handler.cache,
        operations=spec.operations,
        bodies=spec.bodies,
        labels=labels_of(spec),
    )
    told = msgspec.json.encode(config).decode()
    seconds = min(STARTUP, max(1, math.ceil(spec.resources.timeout)))
    return Container(
        name=SERVER,
        image=cloud.runner,
        command=("python", "-P", "-m", "mawasu.serving", "--config", told),
        cpu=SERVER_CPU,
        memory=SERVER_MEMORY,
        environ=_cache(redis),
        mounts={"run": RUN},
        port=PORT,
        startup=Probe(READY, period=1, failures=seconds),  # a second late is a second of every cold start
        alive=Probe(READY, period=10, failures=3, timeout=5),
    )


def _worker(spec: ServiceSpec) -> Container:
    cpu, memory = _size(spec)
    threads = str(threads_of(spec))
    return Container(
        name="worker",
        image=spec.image.ref,
        command=_command(spec),
        cpu=cpu,
        memory=memory,
        environ={
            "HOME": "/tmp",  # noqa: S108 - the one directory that every image lets everybody write to
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # its directory is read-only
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
            **({"MAWASU_MODEL": MODEL} if spec.model is not None else {}),
            **spec.environ,
        },
        secrets=spec.secrets,
        mounts={"run": RUN, "files": FILES},
        working=f"{CODE}/{spec.source.root}".rstrip("/"),
    )


def _command(spec: ServiceSpec) -> tuple[str, ...]:
    if spec.handler.command:
        # In the command, not in the environment: Cloud Run reserves the variable, and sets it for the server only.
        return ("/bin/sh", "-c", f"export PORT={COMMAND_PORT}\n{spec.handler.command}")
    model = ("--model", MODEL) if spec.model is not None else ()
    return ("python", WORKER, "--socket", SOCKET, *handler_arguments(spec), *model)


def _size(spec: ServiceSpec) -> tuple[str, str]:
    if spec.resources.accelerator:
        raise StepError(
            f"{spec.feature}: api.resources.accelerator is {spec.resources.accelerator}: the API has none on Cloud Run",
            "leave it out; training may have one",
        )
    found = size(spec.resources.cpu, spec.resources.memory)
    if found is None or int(found[0]) + int(SERVER_CPU) > CORES:
        asked = f"{spec.resources.cpu:g} cores and {spec.resources.memory // MIB} MiB"
        raise StepError(
            f"{spec.feature}: api.resources asks for {asked}, more than Cloud Run has beside our server",
            "ask for at most 6 cores and 24Gi",
        )
    return found


def _cache(redis: str) -> dict[str, str]:
    return {"MAWASU_REDIS_URL": redis} if redis else {}
