"""A container as a process of this machine: its own mounts and process numbers, and a bucket where gcsfuse puts it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from tests.google.double.core import Double


def default_environment(ref: str) -> Path:
    """Every image has the Python that runs the tests."""
    return Path(sys.prefix)


class Mounted:
    """The objects of a bucket below `prefix` as files, for one job, read and written as `account`. Directories are
    implied by names.
    """

    def __init__(self, double: Double, bucket: str, directory: Path, prefix: str, account: str) -> None:
        self._address = double.url.removeprefix("http://")
        self._headers = {"authorization": f"Bearer {double.identity.token(account)}"}
        self.bucket = bucket
        self.directory = directory
        self._prefix = prefix
        self._before: dict[str, str] = {}

    def fill(self) -> None:
        (self.directory / self._prefix).mkdir(parents=True)
        query = f"?prefix={quote(self._prefix, safe='')}"
        for item in json.loads(self._ask("GET", f"/storage/v1/b/{self.bucket}/o{query}")).get("items", []):
            path = self.directory / item["name"]
            if item["name"].endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                self._ask("GET", f"/storage/v1/b/{self.bucket}/o/{quote(item['name'], safe='')}?alt=media")
            )
        self._before = self._digests()

    def bring_back(self) -> None:
        """What was written and what was deleted since."""
        now = self._digests()
        for name in now.keys() - {name for name, digest in self._before.items() if now.get(name) == digest}:
            path = f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={quote(name, safe='')}"
            self._ask("POST", path, (self.directory / name).read_bytes())
        for name in self._before.keys() - now.keys():
            self._ask("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}")

    def _digests(self) -> dict[str, str]:
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        return {
            path.relative_to(self.directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {**self._headers, **({"content-type": "application/octet-stream"} if body is not None else {})}
        with closing(http.client.HTTPConnection(self._address, timeout=60)) as connection:
            connection.request(method, f"/storage.googleapis.com{path}", body, headers)
            response = connection.getresponse()
            data = response.read()
            assert response.status < 300, f"{method} {path}: {response.status} {data[:200]!r}"
            return data


class Container:
    """One container. Its command is process number 1 of its own, sees its image's Python, `/gcs` and a disk."""

    def __init__(
        self, spec: Mapping[str, Any], environment_of: Callable[[str], Path], mounted: Mounted, disk: Path
    ) -> None:
        # As Kubernetes reads them: `$$` is a dollar.
        self._command = [word.replace("$$", "$") for word in (*spec.get("command", []), *spec.get("args", []))]
        self._environment = environment_of(spec["imageUri"])
        self._mounted = mounted
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self, environ: Mapping[str, str], line: Callable[[str], None]) -> None:
        self._disk.mkdir()
        argv = ["bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
        for path in ("/usr", "/etc", "/lib", "/lib64", "/bin", "/sbin"):
            if Path(path).exists():
                argv += ["--ro-bind", path, path]
        argv += ["--tmpfs", "/tmp"]
        for path in sorted({str(self._environment), sys.base_prefix}):
            argv += ["--ro-bind", path, path]
        argv += ["--bind", str(self._mounted.directory), f"/gcs/{self._mounted.bucket}"]
        argv += ["--bind", str(self._disk), "/mawasu", "--chdir", "/", "--clearenv"]
        path = f"{self._environment}/bin:/usr/local/bin:/usr/bin:/bin"
        for name, value in {"PATH": path, "IMAGE": "yes", **environ}.items():
            argv += ["--setenv", name, value]
        self._process = subprocess.Popen(
            [*argv, "--", *self._command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, args=(line,))
        self._reader.start()

    def wait(self) -> int:
        assert self._process is not None
        assert self._reader is not None
        status = self._process.wait()
        self._reader.join()
        return status

    def signal(self, number: int) -> None:
        """To the command itself: bwrap passes none on."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError, FileNotFoundError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            for pid in children or [str(self._process.pid)]:
                os.kill(int(pid), number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self.wait()

    def _read(self, line: Callable[[str], None]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for one in lines:
                line(one.decode(errors="replace").rstrip("\n"))
