"""What the processes of one replica are told when they start, by the platform that runs them; none of it is secret."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mawasu.words import Caching, Predictions, ServiceSpec, Value


class Config(Value, frozen=True):
    """The server's, as a JSON object. Paths are absolute; times in seconds; `queue` and `max_batch` count items."""

    listen: str  # the Unix socket callers use; "": a TCP port on every interface, told in $PORT
    worker: str  # the worker's Unix socket (handler); the bridge's, or the user's server itself as http://host:port
    release: str  # its digest, sent with every answer
    command: bool = False
    workers: int = 1  # processes; worker N's socket is `worker.path_of(worker, N)`
    max_batch: int = 64
    queue: int = 1024
    deadline: float = 15.0  # a batch (command: a silent answer) that takes longer is given up
    max_body: int = 32 * 2**20  # bytes
    prefix: str = (
        ""  # behind Cloud Endpoints: /<feature>/<environment>, which its requests still have before their path
    )
    site: str = ""  # feature/environment: environments share no answers, whatever they serve
    cache: Caching | None = None  # None: every request is asked
    operations: tuple[str, ...] = ()  # of the OpenAPI file, the most particular first: `POST /flights/{id}`
    bodies: str = ""  # what that file says of requests' bodies (`gateway.bodies`)
    predictions: Predictions | None = None  # None: no answer is remembered
    spool: str = ""  # the directory that those remembered are written to
    labels: Mapping[str, str] = {}  # of everything in its metrics


def labels_of(spec: ServiceSpec) -> dict[str, str]:
    """What tells one revision's metrics from another's."""
    return {"feature": spec.feature, "environment": spec.environment, "revision": spec.revision}


def handler_arguments(spec: ServiceSpec) -> list[str]:
    """What `worker.py` is told of a handler, besides its socket and the model."""
    told = ["--handler", spec.handler.target, "--workers", str(spec.handler.workers)]
    return [*told, "--memory", str(spec.resources.memory), *([] if spec.handler.share else ["--apart"])]


def threads_of(spec: ServiceSpec) -> int:
    """Of each worker's numeric libraries: together the workers have as many as the replica has cores."""
    workers = 1 if spec.handler.command else spec.handler.workers
    return max(1, math.ceil(spec.resources.cpu) // workers)
