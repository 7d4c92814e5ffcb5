"""Tokens of Google's, for `Api(…, token=…)`. docs/callers.md says what each kind is worth, and how callers get a file.

On Google Cloud nothing more is to be installed. With a file it needs `mawasu-client[google]`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpcore

from mawasu.client.deadline import within
from mawasu.client.pools import pool

IAM = "https://iamcredentials.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFE = 3600  # seconds; the longest Google signs for
PATIENCE = 10.0  # seconds for each request; nobody's page waits for it longer than its own time


@dataclass(frozen=True, slots=True)
class AccountToken:
    """A token that names one service account as its issuer: the document has `x-google-issuer: <account>`.

    credentials: a path. Of the account's own key, which then signs here; or of another identity (workload identity
    federation), in whose name Google signs as `account`. "": this machine's own, from the metadata server.
    """

    audience: str
    account: str = ""
    credentials: str = ""
    iam: str = IAM

    def __call__(self) -> str:
        told = _read(self.credentials)
        if told.get("type") == "service_account":
            return _signed(told, self.audience)
        now = int(time.time())
        account = _needed(self.account)
        claims = {"iss": account, "sub": account, "aud": self.audience, "iat": now, "exp": now + LIFE}
        return _as_account(self.iam, account, "signJwt", {"payload": json.dumps(claims)}, told)["signedJwt"]


@dataclass(frozen=True, slots=True)
class IdToken:
    """A Google ID token: its issuer is Google, whoever asks.

    credentials: a path. Of a service account's key, exchanged for the token; or of another identity, for which Google
    makes one of `account`. "": this machine's own, from the metadata server, or `account`'s.
    """

    audience: str
    account: str = ""
    credentials: str = ""
    iam: str = IAM

    def __call__(self) -> str:
        told = _read(self.credentials)
        if told.get("type") == "service_account":
            return _exchanged(told, self.audience)
        if not self.credentials and not self.account:
            return _metadata("identity", {"audience": self.audience, "format": "full"})
        wanted = {"audience": self.audience, "includeEmail": True}
        return _as_account(self.iam, _needed(self.account), "generateIdToken", wanted, told)["token"]


def _needed(account: str) -> str:
    if not account:
        raise ValueError("say which service account: account=")
    return account


def _read(path: str) -> dict[str, Any]:
    """A file of credentials; {} for none."""
    if not path:
        return {}
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError(f"{path} holds no JSON object")
    return told


def _metadata(what: str, query: Mapping[str, str]) -> str:
    """cloud.google.com/compute/docs/instances/verifying-instance-identity; never by a proxy."""
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{what}?{urlencode(query)}"
    answer = _Request(proxied=False)(url, headers={"metadata-flavor": "Google"})
    if answer.status != 200 or answer.headers.get("metadata-flavor") != "Google":
        raise OSError(f"the metadata server answered {answer.status}")
    return answer.data.decode().strip()


def _as_account(
    iam: str, account: str, verb: str, body: Mapping[str, object], told: Mapping[str, Any]
) -> dict[str, str]:
    """cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts"""
    bearer = _access_token(told) if told else str(json.loads(_metadata("token", {}))["access_token"])
    url = f"{iam}/v1/projects/-/serviceAccounts/{account}:{verb}"
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    answer = _Request()(url, "POST", json.dumps(body).encode(), headers)
    if answer.status != 200:
        raise OSError(f"{verb} as {account}: {answer.status} {_message(answer)}")
    found: dict[str, str] = json.loads(answer.data)
    return found


def _message(answer: _Response) -> str:
    try:
        return str(json.loads(answer.data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


# ---------------------------------------------------------------------------------------- with google-auth


def _signed(key: Mapping[str, Any], audience: str) -> str:
    from google.auth import crypt, jwt

    now, account = int(time.time()), key["client_email"]
    claims = {"iss": account, "sub": account, "aud": audience, "iat": now, "exp": now + LIFE}
    signer = crypt.RSASigner.from_service_account_info(key)  # type: ignore[no-untyped-call]
    token: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    return token.decode()


def _exchanged(key: Mapping[str, Any], audience: str) -> str:
    from google.oauth2 import service_account

    found = service_account.IDTokenCredentials.from_service_account_info(key, target_audience=audience)  # type: ignore[no-untyped-call]
    return _refreshed(found)


def _access_token(told: Mapping[str, Any]) -> str:
    """Of an identity outside Google (cloud.google.com/iam/docs/workload-identity-federation)."""
    from google.auth import aws, identity_pool

    if told.get("type") != "external_account":
        raise ValueError(f"credentials of type {told.get('type')!r}: expected service_account or external_account")
    kind = aws.Credentials if "environment_id" in told["credential_source"] else identity_pool.Credentials
    return _refreshed(kind.from_info(told, scopes=[SCOPE]))  # type: ignore[no-untyped-call]


def _refreshed(credentials: Any) -> str:
    credentials.refresh(_Request())
    return str(credentials.token)


class _Request:
    """google.auth.transport.Request on top of httpcore, so that requests is not needed too."""

    def __init__(self, *, proxied: bool = True) -> None:
        self._proxied = proxied

    def __call__(
        self, url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> _Response:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE)
        content = body.encode() if isinstance(body, str) else body
        told = [*(headers or {}).items(), ("accept-encoding", "identity")]
        with pool(url, 1, proxied=self._proxied) as one, within(PATIENCE):
            return _Response(one.request(method, url, headers=told, content=content, extensions={"timeout": timeout}))


class _Response:
    def __init__(self, response: httpcore.Response) -> None:
        self.status = response.status
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}
        self.data = response.content
