"""Machines of Cloud Run: instances of revisions as processes of this one, and requests carried to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mawasu
from tests.google.double import instance
from tests.google.double.container import Mounted
from tests.google.double.faults import Answer
from tests.google.double.server import Incoming

if TYPE_CHECKING:
    from tests.google.double.core import Double

SOURCES = Path(mawasu.__file__).parents[1]
HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length", "host"})

Line = Callable[[str, str], None]
"""A container's name, and what it printed."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Instance:
    """One instance of a revision: started again when one of its containers ends, until it is closed.

    `state` is PENDING until the startup probe has its answer, then SUCCEEDED; FAILED if it never will.
    """

    def __init__(
        self, double: Double, revision: Mapping[str, Any], environment_of: Callable[[str], Path], line: Line
    ) -> None:
        self.state = "PENDING"
        self.message = ""
        self._double = double
        self._revision = revision
        self._environment_of = environment_of
        self._line = line
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="cr-")  # short: a socket's path holds 107 bytes
        self._place = Path(self._directory.name)
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def end(self) -> None:
        """It ends, soon."""
        self._closed.set()
        if self._process is not None:
            _kill(self._process)

    def close(self) -> None:
        """Nothing of it runs when this returns."""
        self.end()
        self._thread.join()
        self._directory.cleanup()

    def ask(self, incoming: Incoming) -> Answer:
        """What its ingress container answers."""
        headers = {name: value for name, value in incoming.headers.items() if name.lower() not in HOP}
        try:
            with contextlib.closing(UnixConnection(self._place / "door" / "ingress", 60)) as connection:
                connection.request(incoming.method, incoming.target, incoming.read() or None, headers)
                response = connection.getresponse()
                kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP}
                return Answer(response.status, response.read(), kept)
        except (OSError, http.client.HTTPException):
            return Answer(503, b"The request failed because the instance could not start successfully.")

    # ------------------------------------------------------------------------------------------------ living

    def _live(self) -> None:
        self._lay_out()
        while not self._closed.is_set():
            self._run()
            if self.state != "SUCCEEDED":  # it never was of use
                return

    def _run(self) -> None:
        (self._place / "door" / "ingress").unlink(missing_ok=True)
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self._closed.is_set():  # `close` may have come too early to see the process
            _kill(self._process)
        probe = threading.Thread(target=self._probe, args=(self._process,))
        probe.start()
        ended = self._read(self._process)
        _kill(self._process)
        self._process.wait()
        probe.join()
        if self.state == "PENDING" and not self._closed.is_set():
            self._fail(f"The user-provided container failed to start and listen on the port: {ended}")

    def _read(self, process: subprocess.Popen[bytes]) -> str:
        """Until the instance ends; which container ended first."""
        ended = "the instance ended"
        assert process.stdout is not None
        with process.stdout as lines:
            for text in lines:
                try:
                    said = json.loads(text)
                except ValueError:  # bwrap itself
                    said = {"container": "system", "line": text.decode(errors="replace").rstrip()}
                if "line" in said:
                    self._line(said["container"], said["line"])
                else:
                    ended = f"container {said['container']} called exit({said['status']})."
                    _kill(process)
        return ended

    def _probe(self, process: subprocess.Popen[bytes]) -> None:
        """The startup probe of the ingress container."""
        probe = self._ingress["startupProbe"]
        give_up = None
        while process.poll() is None and (give_up is None or time.monotonic() < give_up):
            if give_up is None and (self._place / "door" / "ingress").exists():  # its containers start now
                give_up = time.monotonic() + probe["periodSeconds"] * probe["failureThreshold"]
            try:
                with contextlib.closing(UnixConnection(self._place / "door" / "ingress", 5)) as connection:
                    connection.request("GET", probe["httpGet"]["path"])
                    if connection.getresponse().status == 200:
                        self.state = "SUCCEEDED"
                        return
            except (OSError, http.client.HTTPException):
                pass
            self._closed.wait(0.02)
        if process.poll() is None and self.state == "PENDING":
            self._fail("The user-provided container failed to start and listen on the port within the allocated time.")
            _kill(process)

    def _fail(self, why: str) -> None:
        self.message = f"Revision '{self._revision['name'].rpartition('/')[2]}' is not ready. {why}"
        self.state = "FAILED"

    # ------------------------------------------------------------------------------------------------ its machine

    @property
    def _ingress(self) -> Mapping[str, Any]:
        return next(one for one in self._revision["containers"] if one.get("ports"))

    def _lay_out(self) -> None:
        """Volumes: objects as files, and directories in memory."""
        (self._place / "door").mkdir()
        for volume in self._revision.get("volumes", []):
            (self._place / "volumes" / volume["name"]).mkdir(parents=True)
            if "gcs" in volume:
                options = dict(one.partition("=")[::2] for one in volume["gcs"].get("mountOptions", []))
                account = self._revision["serviceAccount"]
                bucket = volume["gcs"]["bucket"]
                held = self._place / "buckets" / volume["name"]
                Mounted(self._double, bucket, held, options.get("only-dir", "") + "/", account).fill()

    def _source(self, name: str) -> Path:
        volume = next(one for one in self._revision["volumes"] if one["name"] == name)
        if "gcs" not in volume:
            return self._place / "volumes" / name
        options = dict(one.partition("=")[::2] for one in volume["gcs"].get("mountOptions", []))
        return self._place / "buckets" / name / str(options.get("only-dir", ""))

    def _command(self) -> list[str]:
        argv = ["bwrap", "--unshare-net", "--unshare-pid", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
        argv += ["--tmpfs", "/tmp"]  # first: environments may lie below it
        environments = {one["name"]: self._environment(one) for one in self._revision["containers"]}
        shown = ("/usr", "/etc", "/lib", "/lib64", "/bin", "/sbin", *map(str, environments.values()), sys.base_prefix)
        for path in dict.fromkeys((*shown, sys.prefix, str(SOURCES), str(Path(instance.__file__).parent))):
            if Path(path).exists():
                argv += ["--ro-bind", path, path]
        argv += ["--bind", str(self._place / "door"), "/door"]
        mounts = {
            mount["mountPath"]: mount["name"]
            for one in self._revision["containers"]
            for mount in one.get("volumeMounts", [])
        }
        read_only = {one["name"] for one in self._revision["volumes"] if one.get("gcs", {}).get("readOnly")}
        for place, name in sorted(mounts.items()):
            argv += ["--ro-bind" if name in read_only else "--bind", str(self._source(name)), place]
        told = {
            "containers": [self._container(one, environments[one["name"]]) for one in self._revision["containers"]],
            "port": self._ingress["ports"][0]["containerPort"],
            "door": "/door/ingress",
        }
        return [*argv, "--clearenv", "--", sys.executable, "-S", "-P", str(instance.__file__), json.dumps(told)]

    def _environment(self, one: Mapping[str, Any]) -> Path:
        """Our own image has mawasu inside, which is the one that runs the tests."""
        return Path(sys.prefix) if "mawasu.serving" in one.get("args", []) else self._environment_of(one["image"])

    def _container(self, one: Mapping[str, Any], environment: Path) -> dict[str, Any]:
        path = f"{environment}/bin:/usr/local/bin:/usr/bin:/bin"
        environ = {"PATH": path}
        if one.get("ports"):
            environ |= {"PORT": str(one["ports"][0]["containerPort"]), "PYTHONPATH": str(SOURCES)}
        for variable in one.get("env", []):
            secret = variable.get("valueSource", {}).get("secretKeyRef")
            environ[variable["name"]] = f"value of {secret['secret']}" if secret else variable.get("value", "")
        argv = [*one.get("command", []), *one.get("args", [])]
        found = [str(Path(directory, argv[0])) for directory in path.split(":") if Path(directory, argv[0]).exists()]
        return {
            "name": one["name"],
            "argv": [*found[:1], *argv[1:]] if found else argv,
            "cwd": one.get("workingDir", "/"),
            "environ": environ,
        }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """All of it: a bwrap that is killed in its first instants leaves its child behind, and the child our pipe open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
