"""Who is asking: OAuth tokens for service-account and user credentials, identity tokens, and the metadata server.

Sources: developers.google.com/identity/protocols/oauth2/service-account (JWT grant, `target_audience`),
cloud.google.com/compute/docs/metadata/predefined-metadata-keys.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.google.double.faults import Answer, Faults
from tests.google.double.server import Cut, Incoming

TOKENS = "oauth2.googleapis.com"
IMPERSONATION = "iamcredentials.googleapis.com"
METADATA = "computeMetadata"
LIFE = 3600


class Identity:
    """Issues tokens and remembers whose they are. `asked` lists what was asked for, for tests that count."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.url = ""
        self.asked: list[str] = []
        self.email = f"mawasu-build@{project}.iam.gserviceaccount.com"  # of keys and of the metadata server
        self.metadata = True  # is this machine Google's?
        self._callers: dict[str, str] = {}
        self._refresh: dict[str, str] = {}
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------------------------------ for tests

    def key_file(self, path: Path, email: str = "") -> Path:
        """A service account's key, as `gcloud iam service-accounts keys create` writes it."""
        email = email or self.email
        info = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "k1",
            "private_key": key_text(),
            "client_email": email,
            "client_id": "1",
            "token_uri": f"{self.url}/{TOKENS}/token",
        }
        path.write_text(json.dumps(info))
        return path

    def user_file(self, path: Path, email: str = "ann@example.com", quota_project: str = "") -> Path:
        """A person's credentials, as `gcloud auth application-default login` writes them."""
        refresh = f"1//refresh-{next(self._numbers)}"
        self._refresh[refresh] = email
        info = {
            "type": "authorized_user",
            "client_id": "1.apps.googleusercontent.com",
            "client_secret": "s",
            "refresh_token": refresh,
            "token_uri": f"{self.url}/{TOKENS}/token",
            **({"quota_project_id": quota_project} if quota_project else {}),
        }
        path.write_text(json.dumps(info))
        return path

    def token(self, email: str = "") -> str:
        """A new access token."""
        token = f"ya29.token-{next(self._numbers)}"
        self._callers[token] = email or self.email
        return token

    def revoke(self) -> None:
        """No token that was given is good any more."""
        self._callers.clear()

    def caller(self, header: str) -> str:
        """The e-mail address behind an Authorization header, "" for nobody."""
        kind, _, token = header.partition(" ")
        return self._callers.get(token, "") if kind == "Bearer" else ""

    def id_token(self, audience: str, email: str = "") -> str:
        """An OpenID Connect token, signed with the double's key."""
        now = int(time.time())
        email = email or self.email
        claims = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "sub": "1",
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + LIFE,
        }
        head = _packed({"alg": "RS256", "typ": "JWT", "kid": "k1"})
        signed = f"{head}.{_packed(claims)}"
        return f"{signed}.{_base64(key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def verified(self, token: str, audience: str = "") -> dict[str, Any]:
        """The claims of a token that the double's key signed; {} for a bad one, or for another audience."""
        signed, _, signature = token.rpartition(".")
        try:
            key().public_key().verify(_unbase64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            claims: dict[str, Any] = json.loads(_unbase64(signed.partition(".")[2]))
        except (InvalidSignature, ValueError):
            return {}
        return claims if claims["exp"] > time.time() and audience in ("", claims["aud"]) else {}

    # ------------------------------------------------------------------------------------------------ endpoints

    def endpoint(
        self, host: str, path: str, incoming: Incoming, queries: Mapping[str, list[str]], faults: Faults
    ) -> Answer | Cut | None:
        """The answer if it is one of those that give tokens, which google-auth asks in its own words; else None."""
        if host == TOKENS and path == "/token" and incoming.method == "POST":
            name, answer = TOKENS, functools.partial(self._token, incoming)
        elif host == IMPERSONATION:
            name, answer = host, functools.partial(self._impersonated, path, incoming)
        elif host == METADATA or (not host and incoming.headers.get("metadata-flavor")):
            name, answer = "metadata.google.internal", functools.partial(self._metadata, path, incoming, queries)
        else:
            return None
        kind, planned = faults.take(name, incoming.method, "", path)
        if kind in ("before", "after"):
            return Cut()
        return planned or answer()

    def _token(self, incoming: Incoming) -> Answer:
        form = {name: values[0] for name, values in parse_qs(incoming.read().decode()).items()}
        grant = form.get("grant_type", "")
        self.asked.append(grant.rpartition(":")[2])
        if grant == "refresh_token":
            email = self._refresh.get(form.get("refresh_token", ""))
            return self._given(email) if email else _no("invalid_grant", "Token has been expired or revoked.")
        if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _no("unsupported_grant_type", f"Invalid grant_type: {grant}")
        claims = self.verified(form.get("assertion", ""), f"https://{TOKENS}/token")  # whatever token_uri says
        if not claims:
            return _no("invalid_grant", "Invalid JWT Signature.")
        if audience := claims.get("target_audience"):
            return Answer(body={"id_token": self.id_token(audience, claims["iss"])})
        if not claims.get("scope"):
            return _no("invalid_scope", "Empty or missing scope not allowed.")
        return self._given(claims["iss"])

    def _given(self, email: str) -> Answer:
        return Answer(body={"access_token": self.token(email), "expires_in": LIFE - 1, "token_type": "Bearer"})

    def _impersonated(self, path: str, incoming: Incoming) -> Answer:
        """One account's token for another (iam.serviceAccountTokenCreator)."""
        account, _, verb = path.rpartition("/")[2].partition(":")
        self.asked.append(verb)
        if not self.caller(incoming.headers.get("authorization", "")):
            return Answer(401, {"error": {"code": 401, "message": "nobody asks", "status": "UNAUTHENTICATED"}})
        body = json.loads(incoming.read())
        if verb == "generateIdToken":
            return Answer(body={"token": self.id_token(body["audience"], account)})
        return Answer(body={"accessToken": self.token(account), "expireTime": "2100-01-01T00:00:00Z"})

    def _metadata(self, path: str, incoming: Incoming, queries: Mapping[str, list[str]]) -> Answer:
        if not self.metadata:
            return Answer(404, b"", {"content-type": "text/html"})
        if incoming.headers.get("metadata-flavor") != "Google":
            return _text("Missing Metadata-Flavor:Google header.", 403)
        base = "/v1/instance/service-accounts"
        what = path.removeprefix(f"{base}/default").removeprefix(f"{base}/{self.email}")
        self.asked.append(f"metadata {path}")
        if path == "/v1/project/project-id":
            return _text(self.project)
        if path == "/v1/project/numeric-project-id":
            return _text("123456789012")
        if path in ("/", f"{base}/"):
            return _text("default/\n")
        if what == "/token":
            return Answer(body=self._given(self.email).body, headers=_FLAVOR)
        if what == "/identity" and "audience" in queries:
            return _text(self.id_token(queries["audience"][0]))
        if what == "/email":
            return _text(self.email)
        if what == "/":
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            return Answer(body={"aliases": ["default"], "email": self.email, "scopes": scopes}, headers=_FLAVOR)
        return _text("not found", 404)


_FLAVOR = {"metadata-flavor": "Google", "server": "Metadata Server for VM"}


def _text(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), {**_FLAVOR, "content-type": "application/text"})


def _no(error: str, description: str) -> Answer:
    return Answer(400, {"error": error, "error_description": description})


@functools.cache
def key() -> rsa.RSAPrivateKey:
    """The key of every service account and of Google itself, made once per test run: making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def key_text() -> str:
    return (
        key()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _packed(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())
