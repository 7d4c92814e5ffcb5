"""Answers that servers share in a real Redis, and everything that a Redis can do to them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.redis_server import RedisServer, valkey
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mawasu.serving.redis import reply
from mawasu.words import Caching
from tests.serving.replica import Replica, eventually
from tests.serving.test_cache import COUNT, ask, status

PATIENCE = 0.25
"""Seconds that a request may take when Redis is of no use: its budget of 20 ms and a busy machine."""

Make = Callable[..., Replica]


OF_BOTH = pytest.mark.parametrize("redis", ["redis", "valkey"], indirect=True)


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    other = getattr(request, "param", "redis") == "valkey"
    if other and not valkey():
        pytest.skip("there is no Valkey for this machine")
    program = valkey() if other else ""
    with tempfile.TemporaryDirectory(prefix="mr-") as directory, RedisServer(Path(directory), program=program) as one:
        yield one


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Replicas with a cache in the Redis of a URL; `memory` of one byte keeps nothing in the process."""
    made: list[Replica] = []
    places: list[tempfile.TemporaryDirectory[str]] = []

    def make(
        url: str, code: str = COUNT, *, ttl: float = 60.0, wait: bool = True, site: str = "", **fields: Any
    ) -> Replica:
        monkeypatch.setenv("MAWASU_REDIS_URL", url)
        places.append(tempfile.TemporaryDirectory(prefix="mw-"))
        replica = Replica(Path(places[-1].name))
        made.append(replica)
        release = fields.pop("release", None)
        if release is not None:
            monkeypatch.setattr("tests.serving.replica.RELEASE", release)
        replica.ready(code, cache=Caching(ttl, **fields), site=site)
        if wait:
            eventually(lambda: replica.metric("cache_redis_ready"))
        return replica

    yield make
    for replica in made:
        replica.close()
    for place in places:
        place.cleanup()


@contextlib.contextmanager
def pretender(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Listens where a Redis would, and says `answer` to whatever it hears; gives what it heard."""
    heard: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, contextlib.suppress(OSError):
                line.settimeout(5)
                heard.append(line.recv(65536))
                line.sendall(answer)
                line.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        path.unlink()
        thread.join(10)


def quick(replica: Replica, body: str) -> int:
    """The status of an answer that must not take long."""
    began = time.monotonic()
    found = ask(replica, body)
    assert time.monotonic() - began < PATIENCE
    return found.status


@OF_BOTH
def test_two_servers_share_their_answers(redis: RedisServer, serve: Make) -> None:
    first, second = serve(redis.url), serve(redis.url)
    made = ask(first, '{"a": 1, "b": 2}')
    eventually(redis.held)
    found = ask(second, '{"b": 2, "a": 1}')
    assert found.json == made.json
    assert status(found).startswith("mawasu; hit; ttl=")
    assert found.headers["etag"] == made.headers["etag"]
    assert second.metric("cache_redis_hits_total") == 1
    assert "hit" in status(ask(second, '{"b": 2, "a": 1}'))
    assert second.metric("cache_redis_hits_total") == 1, "the second time it is in the process"
    assert second.metric("items_total") == 0


def test_another_release_and_another_environment_share_nothing(redis: RedisServer, serve: Make) -> None:
    first = serve(redis.url, site="late/production")
    ask(first, "{}")
    eventually(redis.held)
    staging = serve(redis.url, site="late/staging")
    newer = serve(redis.url, site="late/production", release="sha256:" + "cd" * 32)
    assert "fwd=uri-miss" in status(ask(staging, "{}"))
    assert "fwd=uri-miss" in status(ask(newer, "{}"))
    eventually(lambda: len(redis.held()) == 3)


@OF_BOTH
def test_what_is_kept_goes_when_its_time_is_over(redis: RedisServer, serve: Make) -> None:
    replica = serve(redis.url, ttl=0.3)
    ask(replica, "{}")
    assert eventually(redis.held)
    eventually(lambda: not redis.held())


@OF_BOTH
def test_garbage_is_a_miss_and_is_counted(redis: RedisServer, serve: Make) -> None:
    replica = serve(redis.url, memory=1)
    ask(replica, '{"x": 1}')
    (key,) = eventually(redis.held)
    value = written(redis, key)
    wrong = [b"", b"no", b"x" * 500, value[:-1], value[:20] + bytes([value[20] ^ 1]) + value[21:]]
    for text in wrong:
        redis.say("SET", key, text)
        found = ask(replica, '{"x": 1}')
        assert (found.status, status(found)) == (200, "mawasu; fwd=uri-miss; stored"), text
        eventually(lambda text=text: written(redis, key) != text)  # type: ignore[misc]  # the new answer is on its way
    assert replica.metric("cache_redis_garbage_total") == len(wrong)
    redis.say("DEL", key)
    redis.say("LPUSH", key, "a list")
    assert ask(replica, '{"x": 1}').status == 200


def written(redis: RedisServer, key: str) -> bytes:
    return redis.say("GET", key).partition(b"\r\n")[2][:-2]


def test_a_value_of_another_question_is_not_taken(redis: RedisServer, serve: Make) -> None:
    replica = serve(redis.url, memory=1)
    ask(replica, '{"x": 1}')
    ask(replica, '{"x": 2}')
    one, other = eventually(lambda: keys if len(keys := redis.held()) == 2 else None)
    redis.say("COPY", one, other, "REPLACE")
    redis.say("COPY", other, one, "REPLACE")
    assert [ask(replica, f'{{"x": {number}}}').json["item"]["x"] for number in (1, 2)] == [1, 2]
    assert replica.metric("cache_redis_garbage_total") == 1


@OF_BOTH
def test_without_redis_everything_is_answered_and_it_is_used_once_it_is_there(redis: RedisServer, serve: Make) -> None:
    redis.close()
    replica = serve(redis.url, wait=False)
    assert [quick(replica, f'{{"x": {number}}}') for number in range(20)] == [200] * 20
    redis.start()
    eventually(lambda: replica.metric("cache_redis_ready"))
    ask(replica, '{"x": "new"}')
    eventually(redis.held)


@OF_BOTH
def test_a_redis_that_dies_costs_nothing_but_its_answers(redis: RedisServer, serve: Make) -> None:
    replica = serve(redis.url, memory=1)
    ask(replica, "{}")
    redis.close()
    assert [quick(replica, "{}") for _ in range(20)] == [200] * 20
    assert replica.metric("cache_redis_ready") == 0


@OF_BOTH
def test_a_redis_that_hangs_costs_one_budget_and_is_not_asked_again(redis: RedisServer, serve: Make) -> None:
    replica = serve(redis.url, memory=1)
    ask(replica, "{}")
    redis.stall()
    assert [quick(replica, "{}") for _ in range(30)] == [200] * 30
    assert replica.metric("cache_redis_ready") == 0
    redis.wake()
    eventually(lambda: replica.metric("cache_redis_ready"))
    assert "did not answer within 20 ms" in replica.server_log.read_text()
    assert "used again" in replica.server_log.read_text()


def test_a_redis_that_is_slow_is_left_alone(redis: RedisServer, serve: Make) -> None:
    """Every command takes 100 ms, also the PING with which we come back."""
    replica = serve(redis.url, memory=1)
    script = f"while kill -STOP {redis.pid}; do sleep .1; kill -CONT {redis.pid}; sleep .001; done"
    stop = subprocess.Popen(["/bin/sh", "-c", script])
    try:
        assert [quick(replica, f'{{"x": {number}}}') for number in range(100)] == [200] * 100
    finally:
        stop.kill()
        stop.wait()
        redis.wake()


@pytest.mark.parametrize(
    "nonsense", [b"HTTP/1.1 200 OK\r\n\r\n", b"+OK\r\n", b"$-1\r\n", b"\x15\x03\x01\x00\x02\x02", b"*1000000000\r\n"]
)
def test_what_does_not_speak_redis_is_not_listened_to(tmp_path: Path, serve: Make, nonsense: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="mr-") as directory, pretender(Path(directory) / "r", nonsense) as heard:
        replica = serve(f"unix://{directory}/r", wait=False)
        eventually(lambda: len(heard) > 1)
        assert quick(replica, "{}") == 200
        assert not replica.metric("cache_redis_ready")
        replica.close()


def test_a_wrong_password_is_said_once_and_never_repeated(serve: Make) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="mr-") as directory,
        RedisServer(Path(directory), "--requirepass", "right-9931") as redis,
    ):
        replica = serve(f"unix://:wrong-4711@x{redis.path}", wait=False)
        eventually(lambda: "refuses AUTH: WRONGPASS" in replica.server_log.read_text())
        eventually(lambda: replica.metric("cache_redis_failures_total") > 2)
        assert quick(replica, "{}") == 200
        said = replica.server_log.read_text()
        assert said.count("refuses AUTH") == 1
        assert "4711" not in said
        right = serve(f"unix://:right-9931@x{redis.path}")
        assert quick(right, "{}") == 200


def test_a_redis_that_has_a_password_and_is_told_none_is_not_used(serve: Make) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="mr-") as directory,
        RedisServer(Path(directory), "--requirepass", "right-9931") as redis,
    ):
        replica = serve(redis.url, wait=False)
        eventually(lambda: "refuses PING: NOAUTH" in replica.server_log.read_text())
        assert quick(replica, "{}") == 200


def test_a_url_that_cannot_be_read_is_not_printed(serve: Make) -> None:
    for url in ("redis://:pass#4711word@host", "http://:x4711@host", "redis://:x4711@host:port/", "redis://x4711[/"):
        replica = serve(url, wait=False)
        assert quick(replica, "{}") == 200
        said = replica.server_log.read_text()
        assert "the cache in Redis is not used" in said or "#" in url
        assert "4711" not in said


def test_a_full_redis_keeps_nothing_and_fails_nobody(serve: Make) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="mr-") as directory,
        RedisServer(Path(directory), "--maxmemory", "1", "--maxmemory-policy", "noeviction") as redis,
    ):
        replica = serve(redis.url, memory=1)
        assert [quick(replica, "{}") for _ in range(5)] == [200] * 5


def test_with_tls_the_certificate_is_checked(tmp_path: Path, serve: Make) -> None:
    authority, certificate, key = certificates(tmp_path)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mr-") as directory, contextlib.ExitStack() as stack:
        files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
        options = ("--tls-port", str(port), *files, "--requirepass", "open")
        stack.enter_context(RedisServer(Path(directory), *options))
        trusting = serve(f"rediss://:open@localhost:{port}/1?ca={authority}")
        assert quick(trusting, "{}") == 200
        eventually(lambda: trusting.metric("cache_redis_ready"))
        strict = serve(f"rediss://:open@localhost:{port}", wait=False)
        eventually(lambda: "no connection" in strict.server_log.read_text())
        assert quick(strict, "{}") == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificates(place: Path) -> tuple[Path, Path, Path]:
    """A certificate for localhost that is its own authority: authority, certificate, key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = place / "cert.pem", place / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate, certificate, secret


@given(st.lists(st.binary(max_size=40) | st.none() | st.integers(), max_size=8), st.data())
def test_answers_are_read_however_they_are_cut(values: list[bytes | int | None], data: st.DataObject) -> None:
    told = b"".join(
        b"$-1\r\n" if one is None else b":%d\r\n" % one if isinstance(one, int) else b"$%d\r\n%b\r\n" % (len(one), one)
        for one in values
    )
    cut = data.draw(st.integers(0, len(told)))
    found: list[object] = []
    rest = b""
    for piece in (told[:cut], told[cut:]):
        rest, at = rest + piece, 0
        while (one := reply(rest, at)) is not None:
            at, value = one
            found.append(value)
        rest = rest[at:]
    assert (found, rest) == (values, b"")


@pytest.mark.parametrize("nonsense", [b"*3\r\n", b"$9999999999\r\n", b"$x\r\n", b"x" * 2000, b"\r\n"])
def test_what_is_no_answer_is_not_waited_for(nonsense: bytes) -> None:
    with pytest.raises(ValueError):
        reply(nonsense, 0)
