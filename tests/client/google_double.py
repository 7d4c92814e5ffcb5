"""What callers meet of Google: the metadata server, the token endpoint, STS and IAM, on one port of the loopback. It
checks what it is asked with, and signs with a key of its own."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

ACCOUNT = "shop-caller@acme-ml.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed(claims: Mapping[str, object]) -> str:
    token: bytes = jwt.encode(crypt.RSASigner.from_string(PEM), dict(claims))  # type: ignore[no-untyped-call]
    return token.decode()


def claims_of(token: str) -> dict[str, Any]:
    """Verified."""
    found: dict[str, Any] = jwt.decode(token, certs=PUBLIC.decode(), verify=True)  # type: ignore[no-untyped-call]
    return found


class Google:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.life = 3600
        self.broken = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.google = self  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def key_file(self) -> dict[str, str]:
        return {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "1",
            "private_key": PEM,
            "token_uri": f"http://{self.host}/token",
        }

    def federated(self, subject_token: str) -> dict[str, object]:
        """As docs/callers.md shows it, for an issuer whose token stands in a file."""
        return {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/callers/providers/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"http://{self.host}/sts",
            "credential_source": {"file": subject_token},
        }

    def identity(self, audience: str) -> str:
        now = int(time.time())
        return signed({"iss": "https://accounts.google.com", "aud": audience, "iat": now, "exp": now + self.life})

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, object]:
        what, _, query = path.partition("?")
        self.asked.append(what)
        if self.broken:
            return 500, {"error": {"message": "out of order"}}
        told = dict(urllib.parse.parse_qsl(query))
        if what.startswith("/computeMetadata/v1/instance/service-accounts/default/"):
            assert headers["metadata-flavor"] == "Google"
            if what.endswith("/identity"):
                return 200, self.identity(told["audience"])
            return 200, json.dumps({"access_token": "machine", "expires_in": 3599, "token_type": "Bearer"})
        if what == "/token":
            form = dict(urllib.parse.parse_qsl(body.decode()))
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            return 200, {"id_token": self.identity(claims_of(form["assertion"])["target_audience"])}
        if what == "/sts":
            form = dict(urllib.parse.parse_qsl(body.decode()))
            assert form["subject_token"] == "partner's"
            answer = {"access_token": "federated", "expires_in": 3600, "token_type": "Bearer"}
            return 200, {**answer, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        if headers["authorization"] not in ("Bearer federated", "Bearer machine"):
            return 403, {"error": {"message": "who are you?"}}
        verb = what.removeprefix(f"/v1/projects/-/serviceAccounts/{ACCOUNT}:")
        wanted = json.loads(body)
        if verb == "signJwt":
            return 200, {"signedJwt": signed(json.loads(wanted["payload"]))}
        if verb == "generateIdToken":
            return 200, {"token": self.identity(wanted["audience"])}
        return 404, {"error": {"message": what}}


class _Handler(BaseHTTPRequestHandler):
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        google: Google = self.server.google  # type: ignore[attr-defined]
        status, answer = google.answer(self.command, self.path, headers, body)
        text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("metadata-flavor", "Google")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...
