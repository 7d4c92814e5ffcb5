"""The gateway's address and certificate as their owner gives them: `mawasu up`, a renewal, a broken one, `down`."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

from tests.gateway.certificates import Authority, put
from tests.story.world import Mawasu, eventually


def shown(mawasu: Mawasu, context: ssl.SSLContext) -> bytes:
    """The certificate of a gateway that answers."""
    connection = http.client.HTTPSConnection("localhost", mawasu.port, timeout=10, context=context)
    try:
        connection.request("GET", "/nothing")
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert(binary_form=True)
        assert connection.getresponse().status == 404
    finally:
        connection.close()
    assert certificate is not None
    return certificate


def test_a_certificate_is_served_renewed_and_kept_over_a_broken_one(own: Mawasu) -> None:
    authority = Authority()
    context = authority.context()
    files = put(own.top / "tls", authority.pair())
    said = ["--tls-cert", files.certificate, "--tls-key", files.key]

    found = own.cli("up", "--json", "--port", str(own.port), *said).json()
    assert found["url"] == f"https://localhost:{own.port}"
    assert found["warnings"] == []
    first = shown(own, context)

    new = authority.pair()
    put(own.top / "tls", new)
    eventually(lambda: shown(own, context) != first, "the renewed certificate", 20.0)
    second = shown(own, context)
    assert second == ssl.PEM_cert_to_DER_cert(new[0].decode())

    Path(files.key).write_text("broken")
    line = f"{files.key} holds no private key that can be read"
    eventually(lambda: line in own.cli("status").text, "the broken key in `mawasu status`", 20.0)
    assert own.cli("status", "--json").json()["up"]["warnings"][0].startswith(line)
    log = (own.home / "daemon.log").read_text()
    assert log.count(line) == 1
    assert shown(own, context) == second

    # Another daemon finds the gateway as it is, broken files or not; a start from nothing needs a good pair.
    own.cli("down", "--keep-serving")
    own.cli("up")
    assert shown(own, context) == second
    own.cli("down")
    secret = new[1].decode().splitlines()[1]
    assert not [path for path in own.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    refused = own.cli("up", check=False)
    assert refused.status == 7
    assert line in refused.text


def test_what_would_go_in_the_open_is_refused_and_not_remembered(own: Mawasu) -> None:
    port = ["--port", str(own.port)]
    refused = own.cli("up", *port, "--host", "0.0.0.0", check=False)
    assert refused.status == 2
    assert "on 0.0.0.0 keys and tokens would pass in the open without TLS" in refused.text
    assert "--plain" in refused.text

    missing = own.cli("up", *port, "--tls-cert", "c.pem", "--tls-key", "k.pem", check=False)
    assert missing.status == 7
    assert f"cannot read {own.top}/c.pem: No such file" in missing.text

    assert own.cli("up", "--json", *port).json()["url"] == f"http://127.0.0.1:{own.port}"
    again = own.cli("up", "--hsts", "0", check=False)
    assert again.status == 2
    assert "mawasu is up already" in again.text
