"""Real things for the gateway's tests: a process host, a counting back end on a Unix socket, raw requests, tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from mawasu.words import Endpoint, Site


def eventually(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Processes:
    """A process host (`gateway.ProcessHost`) that runs its processes itself."""

    def __init__(self) -> None:
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: list[str], env: dict[str, str], log: Path) -> None:
        if self.running(name):
            assert self.children[name].args == argv
            return
        with log.open("ab") as file:
            self.children[name] = subprocess.Popen(argv, env=env, stdout=file, stderr=file)

    def stop(self, name: str, drain: float) -> None:
        child = self.children.pop(name, None)
        if child is None:
            return
        child.terminate()
        try:
            child.wait(timeout=max(drain, 2))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def running(self, name: str) -> bool:
        return name in self.children and self.children[name].poll() is None


class Seen(msgspec.Struct):
    """One request as the back end got it."""

    line: str
    headers: list[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.backend.connections.append(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the back end was closed
            self._answer_all()

    def _answer_all(self) -> None:
        while line := self.rfile.readline():
            headers: list[tuple[str, str]] = []
            while (raw := self.rfile.readline().decode("latin-1").rstrip("\r\n")) != "":
                name, _, value = raw.partition(":")
                headers.append((name, value.strip()))
            seen = Seen(line.decode("latin-1").rstrip(), headers)
            length = int((seen.values("content-length") or ["0"])[0])
            self.rfile.read(length)
            self.server.backend.seen.append(seen)
            if self.server.backend.hold is not None:
                self.server.backend.hold.wait(20)
            if self.server.backend.answer is not None:
                self.server.backend.answer(self.wfile.write)
                continue
            body = self.server.backend.says.encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    backend: Backend


class Backend:
    """Answers every request with 200 and its own name, and remembers what it was asked."""

    def __init__(self, path: Path, says: str) -> None:
        self.path = path
        self.says = says
        self.seen: list[Seen] = []
        self.connections: list[socket.socket] = []
        self.hold: threading.Event | None = None
        self.answer: Callable[[Callable[[bytes], object]], None] | None = None  # writes another answer, as it is
        self._server = _Server(str(path), _Handler)
        self._server.backend = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def endpoint(self) -> Endpoint:
        return Endpoint(self.says, (str(self.path),))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        self.path.unlink(missing_ok=True)


class Answer(msgspec.Struct):
    """What came back: status 0 when the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def message(self) -> str:
        said = json.loads(self.body)
        assert said["code"] == self.status
        return str(said["message"])


def raw(port: int, data: bytes, timeout: float = 10.0) -> Answer:
    """Send bytes as they are, read one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            return Answer(0, {}, got.decode("latin-1"))
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        piece = connection.recv(65536)
        assert piece, "the answer was cut short"
        body += piece
    return Answer(int(first.split()[1]), headers, body.decode())


def request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of a plain HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1", "host: gateway", "connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def call(port: int, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    return raw(port, request(method, target, headers, body))


# ------------------------------------------------------------------------------------------------------ tokens


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens, well or as badly as a test wants them."""

    def __init__(self, name: str = "https://issuer.example", kid: str = "one") -> None:
        self.name = name
        self.kid = kid
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        x, y = (encoded(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.kid, "x": x, "y": y}

    @property
    def public_pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a good token says, with changes; a claim changed to None is left out."""
        now = int(time.time())
        claims = {"iss": self.name, "sub": "ann", "aud": "flights", "exp": now + 600} | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        return self.sign({"alg": "ES256", "kid": self.kid} | dict(header or {}), self.claims(**changed))

    def sign(self, header: Any, claims: Any) -> str:
        """`header` and `claims` are values, or text to be taken as it is."""
        parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
        signed = ".".join(encoded(part.encode()) for part in parts)
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def hmac_token(secret: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    code = hmac.HMAC(secret, hashes.SHA256())
    code.update(signed.encode())
    return f"{signed}.{encoded(code.finalize())}"


# ------------------------------------------------------------------------------------------------------ documents


INFO = {"title": "flights", "version": "1"}
ANSWERS = {"200": {"description": "fine"}}


def answered(item: Mapping[str, Any]) -> dict[str, Any]:
    """A path item whose operations say what they answer: OpenAPI before 3.1 asks for it."""
    return {
        key: {"responses": ANSWERS} | value if isinstance(value, dict) and not key.startswith("x-") else value
        for key, value in item.items()
    }


def document(jwks: Mapping[str, Any] | None = None, issuer: str = "https://issuer.example", **paths: Any) -> str:
    """An OpenAPI document as JSON. `paths` map names (`__` is `/`) to security requirements of their GET."""
    described = {
        "/" + path.replace("__", "/"): answered(item if isinstance(item, dict) else {"get": {"security": item}})
        for path, item in paths.items()
    }
    schemes: dict[str, Any] = {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}
    if jwks is not None:
        schemes["jwt"] = {
            "type": "http",
            "scheme": "bearer",
            "x-google-issuer": issuer,
            "x-google-audiences": "flights, trains",
            "x-mawasu-jwks": jwks,
        }
    return json.dumps(
        {"openapi": "3.0.3", "info": INFO, "paths": described, "components": {"securitySchemes": schemes}}
    )


def site(backend: Endpoint, text: str, feature: str = "flight-delay", environment: str = "production") -> Site:
    return Site(feature, environment, text, "auth/openapi.yaml", backend)


def limited(limits: Mapping[str, int], costs: Mapping[str, Mapping[str, int]], jwks: Any = None) -> str:
    """A document with a metric for each limit (calls a minute); `costs` of each path's GET by metric.

    Every path may be called with a key, with a token (given `jwks`), or by anybody.
    """
    paths = [path.removeprefix("/").replace("/", "__") for path in costs]
    named = ["key", "jwt"] if jwks else ["key"]
    security: Any = [*({name: []} for name in named), {}]
    described = json.loads(document(jwks, **dict.fromkeys(paths, security)))
    for path, taken in costs.items():
        described["paths"][path]["get"]["x-google-quota"] = {"metricCosts": dict(taken)}
    described["x-google-management"] = {
        "metrics": [{"name": name, "valueType": "INT64", "metricKind": "DELTA"} for name in limits],
        "quota": {
            "limits": [
                {"name": f"{name}-limit", "metric": name, "unit": "1/min/{project}", "values": {"STANDARD": count}}
                for name, count in limits.items()
            ]
        },
    }
    return json.dumps(described)
