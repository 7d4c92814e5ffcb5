"""TLS at the gateway: what callers are shown, that it is renewed while they call, and what bad files do (nothing)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mawasu.errors import PlatformError
from mawasu.gateway.certificate import Files
from mawasu.gateway.edge import CERTIFICATE, Edge
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.platforms.local.tls import read
from tests.gateway.certificates import Authority, put
from tests.gateway.conftest import Stand, standing
from tests.gateway.http2 import Http2
from tests.gateway.machinery import call, document, eventually, free_port, raw, read_answer, request, site

AT = "/flight-delay/production"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Files:
    return put(tmp_path_factory.mktemp("tls"), authority.pair())


@pytest.fixture(scope="module")
def secure(kept: Files) -> Iterator[Stand]:
    with standing(Edge(hsts=86400, header_time=0.5), kept) as stand:
        backend = stand.backend("flights")
        stand.gateway.switch([site(backend.endpoint(), document(open=[], k=[{"key": []}]))])
        yield stand


@pytest.fixture
def good(secure: Stand, kept: Files, authority: Authority) -> Iterator[Stand]:
    """The gateway with a good pair, whatever a test does to the files."""
    yield secure
    put(Path(kept.certificate).parent, authority.pair())
    secure.gateway.refresh_certificate()
    assert secure.gateway.warnings() == []


@contextlib.contextmanager
def connected(stand: Stand, authority: Authority, *alpn: str) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", stand.port), timeout=10)
    with authority.context(*alpn).wrap_socket(plain, server_hostname="localhost") as connection:
        yield connection


def opened(connection: socket.socket) -> tuple[int, str]:
    connection.sendall(f"GET {AT}/open HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    answer = read_answer(connection)
    return answer.status, answer.body


def shown(stand: Stand, authority: Authority) -> str:
    """Which certificate a new caller gets."""
    with connected(stand, authority) as connection:
        assert opened(connection) == (200, "flights")
        return digest(connection.getpeercert(binary_form=True) or b"")


def digest(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def of(pair: tuple[bytes, bytes]) -> str:
    return digest(ssl.PEM_cert_to_DER_cert(pair[0].decode()))


# ------------------------------------------------------------------------------------------------ what callers get


def test_callers_who_verify_the_certificate_are_served(secure: Stand, authority: Authority) -> None:
    with connected(secure, authority) as connection:
        assert opened(connection) == (200, "flights")
        assert connection.version() == "TLSv1.3"
    assert secure.gateway.url == f"https://localhost:{secure.port}"


def test_http2_is_agreed_on_by_alpn(secure: Stand, authority: Authority) -> None:
    with connected(secure, authority, "h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"
    with Http2(secure.port, authority.context("h2")) as client:
        assert client.ask("GET", f"{AT}/open").body == "flights"
    with connected(secure, authority, "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_before_1_2_is_refused(secure: Stand, authority: Authority) -> None:
    context = authority.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol version|unsupported protocol"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_tls_1_2_is_served(secure: Stand, authority: Authority) -> None:
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert opened(connection) == (200, "flights")
        name, _, _ = connection.cipher() or ("", "", 0)
        assert name.startswith("ECDHE-"), "forward secrecy"


def test_a_caller_without_tls_gets_no_answer_in_the_open(secure: Stand) -> None:
    assert raw(secure.port, request("GET", f"{AT}/open")).status == 0


def test_a_handshake_that_never_begins_is_given_up(secure: Stand) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as connection:
        assert connection.recv(1) == b""


def test_hsts_stands_on_answers_and_refusals_when_asked_for(secure: Stand, authority: Authority, stand: Stand) -> None:
    for path, status in (("/open", 200), ("/k", 401), ("/nothing", 404)):
        with connected(secure, authority) as connection:
            connection.sendall(f"GET {AT}{path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            answer = read_answer(connection)
        assert answer.status == status
        assert answer.headers["strict-transport-security"] == "max-age=86400"
    assert "strict-transport-security" not in call(stand.port, "GET", f"{AT}/open").headers


def test_http2_without_tls_needs_no_upgrade(stand: Stand) -> None:
    backend = stand.backend("plain")
    stand.gateway.switch([site(backend.endpoint(), document(open=[]))])
    with Http2(stand.port) as client:
        assert client.ask("GET", f"{AT}/open").body == "plain"
    assert stand.gateway.url == f"http://127.0.0.1:{stand.port}"


# ------------------------------------------------------------------------------------------------ renewal


def rewritten(files: Files, pair: tuple[bytes, bytes]) -> None:
    put(Path(files.certificate).parent, pair)


def renamed(files: Files, pair: tuple[bytes, bytes]) -> None:
    for path, data in zip((Path(files.certificate), Path(files.key)), pair, strict=True):
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(data)
        new.rename(path)


@pytest.mark.parametrize("renew", [rewritten, renamed])
def test_a_renewed_certificate_is_shown_and_no_connection_is_dropped(
    good: Stand, kept: Files, authority: Authority, renew: object
) -> None:
    new = authority.pair()
    with connected(good, authority) as connection:
        assert opened(connection) == (200, "flights")
        before = shown(good, authority)

        assert callable(renew)
        renew(kept, new)
        good.gateway.refresh_certificate()

        assert shown(good, authority) == of(new) != before
        assert opened(connection) == (200, "flights"), "who was there before stays"


def test_a_link_that_is_swapped_is_followed(tmp_path: Path, authority: Authority) -> None:
    """As the secrets of Kubernetes are: the files link through a directory that is replaced in one rename."""
    first, second = authority.pair(), authority.pair()
    put(tmp_path / "1", first)
    put(tmp_path / "2", second)
    (tmp_path / "now").symlink_to("1")
    files = Files(str(tmp_path / "now" / "fullchain.pem"), str(tmp_path / "now" / "privkey.pem"))
    with standing(certificate=files) as stand:
        stand.gateway.switch([site(stand.backend("flights").endpoint(), document(open=[]))])
        assert shown(stand, authority) == of(first)

        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "now")
        stand.gateway.refresh_certificate()

        assert shown(stand, authority) == of(second)


def test_renewals_under_load_fail_no_request(good: Stand, kept: Files, authority: Authority) -> None:
    wrong: list[object] = []
    calls = [0]
    done = threading.Event()

    def caller() -> None:
        while not done.is_set() and not wrong:
            try:
                with connected(good, authority) as connection:
                    if opened(connection) != (200, "flights"):
                        wrong.append("another answer")
            except OSError as error:
                wrong.append(error)
            calls[0] += 1

    threads = [threading.Thread(target=caller) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        before = calls[0]
        renamed(kept, authority.pair())
        good.gateway.refresh_certificate()
        eventually(lambda before=before: calls[0] > before + 2 or wrong, "calls with the new one")  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_certificate_and_key_that_come_one_after_the_other_are_taken_together(
    good: Stand, kept: Files, authority: Authority
) -> None:
    before, new = shown(good, authority), authority.pair()

    Path(kept.certificate).write_bytes(new[0])
    good.gateway.refresh_certificate()
    assert shown(good, authority) == before
    (line,) = good.gateway.warnings()
    assert f"{kept.key} is not the private key of {kept.certificate}" in line

    Path(kept.key).write_bytes(new[1])
    good.gateway.refresh_certificate()
    assert shown(good, authority) == of(new)
    assert good.gateway.warnings() == []


def test_broken_files_leave_the_old_pair_and_are_said_in_one_line(
    good: Stand, kept: Files, authority: Authority
) -> None:
    before = shown(good, authority)
    ended = authority.pair(ends=-0.5)
    for certificate, key, said in (
        (b"", b"", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"", "holds no certificate"),
        (*ended, "ended on"),
        (authority.pair()[0], b"not a key", "holds no private key"),
    ):
        put(Path(kept.certificate).parent, (certificate, key))
        good.gateway.refresh_certificate()
        (line,) = good.gateway.warnings()
        assert said in line
        assert str(Path(kept.certificate).parent) in line
        assert " — " in line
        assert "served on" in line
        assert "\n" not in line
        assert shown(good, authority) == before


def test_files_that_are_gone_leave_the_old_pair(good: Stand, kept: Files, authority: Authority) -> None:
    before = shown(good, authority)
    Path(kept.certificate).unlink()
    good.gateway.refresh_certificate()
    assert shown(good, authority) == before
    assert "No such file" in good.gateway.warnings()[0]


def test_a_gateway_that_is_started_again_over_broken_files_goes_on(
    good: Stand, kept: Files, authority: Authority
) -> None:
    before = shown(good, authority)
    Path(kept.key).write_bytes(b"")
    good.processes.children["gateway"].kill()
    eventually(lambda: not good.processes.running("gateway"), "Envoy to be gone")

    good.gateway.start()

    assert shown(good, authority) == before
    assert "holds no private key" in good.gateway.warnings()[0]


def test_what_envoy_refuses_is_put_back_and_not_asked_again(good: Stand, kept: Files, authority: Authority) -> None:
    """A good pair for somebody else: Envoy has no word of the authority to staple."""
    before = shown(good, authority)
    rewritten(kept, authority.pair(staple=True))

    for _ in range(2):
        good.gateway.refresh_certificate()
        assert f"{kept.certificate}: Envoy refused" in good.gateway.warnings()[0]
        assert shown(good, authority) == before
    assert good.gateway._table.envoy.refusals()[CERTIFICATE] == 1


# ------------------------------------------------------------------------------------------------ files and keys


def test_the_private_key_lies_where_only_its_owner_can_read_it_and_goes_with_the_gateway(
    tmp_path: Path, authority: Authority
) -> None:
    pair = authority.pair()
    secret = pair[1].decode().splitlines()[1]
    with standing(certificate=put(tmp_path / "tls", pair)) as stand:
        holders = [path for path in stand.home.run.rglob("*") if path.is_file() and secret in path.read_text()]
        assert holders == [stand.home.gateway / CERTIFICATE]
        assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(holders[0].parent.stat().st_mode) == 0o700
        assert secret not in stand.gateway._table.envoy._ask("/config_dump")
        stand.gateway.stop(drain=0)
        assert not holders[0].exists()
        assert secret not in stand.gateway.log.read_text()


def test_a_key_that_everybody_can_read_is_warned_of(good: Stand, kept: Files) -> None:
    Path(kept.key).chmod(0o644)
    try:
        (line,) = good.gateway.warnings()
    finally:
        Path(kept.key).chmod(0o600)
    assert line == f"{kept.key} can be read by every user of this machine (mode 0644) — chmod o-rwx it"


def test_a_key_that_mawasu_cannot_read_is_named_with_what_to_do(tmp_path: Path, authority: Authority) -> None:
    files = put(tmp_path, authority.pair())
    Path(files.key).chmod(0)
    with somebody(), pytest.raises(PlatformError, match=r"cannot read .*: Permission denied") as refusal:
        read(files)
    assert "the user that mawasu runs as" in refusal.value.hint


@contextlib.contextmanager
def somebody() -> Iterator[None]:
    """Not root, who can read everything."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(64008)
    try:
        yield
    finally:
        os.seteuid(own)


def test_a_gateway_does_not_start_without_a_certificate_it_can_show(tmp_path: Path, stand: Stand) -> None:
    files = Files(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"))
    gateway = LocalGateway(stand.home, Edge(port=free_port()), stand.processes, files, threads=1)
    with pytest.raises(PlatformError, match=r"cannot read .*c\.pem: No such file"):
        gateway.start()
    assert stand.processes.running("gateway"), "what ran is left alone"


def test_rsa_and_other_curves_are_served_too(good: Stand, kept: Files, authority: Authority) -> None:
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ):
        pair = authority.pair(key=key)
        rewritten(kept, pair)
        good.gateway.refresh_certificate()
        assert shown(good, authority) == of(pair)
