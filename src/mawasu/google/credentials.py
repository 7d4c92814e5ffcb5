"""Who we are to Google: Application Default Credentials by google-auth, which speaks through our own transport.

cloud.google.com/docs/authentication/application-default-credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file,
the metadata server; in that order.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mawasu.errors import PlatformError

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TRIES, WAIT = 4, 0.2  # at the token endpoint, when it cannot be reached; seconds, doubled each time
ID_TOKEN_LIFE = 3300.0  # seconds; Google's live for an hour
_SIGN_IN = "sign in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
_ID_TOKENS = (
    "identity tokens need a service account: run it in Cloud Build, or impersonate one: "
    "`gcloud auth application-default login --impersonate-service-account …`"
)


class Credentials(Protocol):
    """What the client needs: tokens for Google's APIs, and identity tokens for private services."""

    def token(self) -> str: ...

    def renew(self, token: str) -> None:
        """Forget this token: the server says that it is no good. A newer one is kept."""

    def id_token(self, audience: str) -> str: ...

    def quota_project(self) -> str:
        """Whose quota calls count against, if not their own project's; "" for none said. Known after `token`."""


class DefaultCredentials:
    """Found as google.auth.default finds them. Safe for threads: they wait for one request for a token.

    With an `endpoint` (see client.ENDPOINT) tokens are asked for there too: `<endpoint>/oauth2.googleapis.com/token`.
    """

    def __init__(self, http: httpx.Client, endpoint: str = "") -> None:
        self._request = _Request(http, endpoint)
        self._lock = threading.Lock()
        self._found: Any = None
        self._identities: dict[str, Any] = {}

    def token(self) -> str:
        with self._lock:
            found = self._default()
            if not found.valid:
                _refreshed(lambda: found.refresh(self._request), "Google does not take these credentials", _SIGN_IN)
            return str(found.token)

    def renew(self, token: str) -> None:
        with self._lock:
            if self._found is not None and self._found.token == token:
                self._found.token = None

    def quota_project(self) -> str:
        return str(getattr(self._found, "quota_project_id", None) or "")

    def id_token(self, audience: str) -> str:
        """An OpenID Connect token for a private Cloud Run service, whose URL is the audience."""
        with self._lock:
            source = self._default()
            found = self._identities.get(audience)
            if found is None:
                found = self._identities[audience] = _identity(source, audience, self._request)
            if not found.valid:
                _refreshed(lambda: found.refresh(self._request), f"no identity token for {audience}", _ID_TOKENS)
            return str(found.token)

    def _default(self) -> Any:
        import google.auth.exceptions

        if self._found is None:
            # google-auth advises its developers there (no project, no quota project): faults.py tells ours.
            logging.getLogger("google.auth").setLevel(logging.ERROR)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._found = _load(self._request)
            except google.auth.exceptions.GoogleAuthError as error:
                raise PlatformError(f"Google credentials: {_first(error)}", _SIGN_IN) from error
        return self._found


def _load(request: _Request) -> Any:
    """As google.auth.default, which would run gcloud (a second or two) for the name of a project that nobody needs."""
    import google.auth
    import google.auth.credentials
    import google.auth.exceptions

    given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    config = os.environ.get("CLOUDSDK_CONFIG", "")
    gcloud = (Path(config) if config else Path.home() / ".config" / "gcloud") / "application_default_credentials.json"
    if given or os.access(gcloud, os.R_OK):  # False, not an error, below a home that is somebody else's
        path = given or str(gcloud)
        _check(path)
        found, _ = google.auth.load_credentials_from_file(path, request=request)  # type: ignore[no-untyped-call]
        return google.auth.credentials.with_scopes_if_required(found, [SCOPE])  # type: ignore[no-untyped-call]
    try:
        return google.auth.default(scopes=[SCOPE], request=request)[0]  # type: ignore[arg-type]
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise PlatformError("no Google credentials are to be found here", _SIGN_IN) from error


def _check(path: str) -> None:
    """google-auth takes for granted that the file is there and holds an object."""
    try:
        fine = isinstance(json.loads(Path(path).read_text()), dict)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise PlatformError(f"no Google credentials can be read from {path}: {why}", _SIGN_IN) from error
    except ValueError as error:
        raise PlatformError(f"Google credentials: {path}: {_first(error)}", _SIGN_IN) from error
    if not fine:
        raise PlatformError(f"Google credentials: {path} holds no JSON object", _SIGN_IN)


def _refreshed(refresh: Callable[[], None], what: str, hint: str) -> None:
    """Ask for a token, again while the way to it is broken. Asking twice does no harm."""
    import google.auth.exceptions

    for attempt in range(TRIES):
        try:
            return refresh()
        except google.auth.exceptions.GoogleAuthError as error:
            away = isinstance(error, google.auth.exceptions.TransportError) or error.retryable
            if not away:
                raise PlatformError(f"{what}: {_first(error)}", hint) from error
            if attempt == TRIES - 1:
                raise PlatformError(
                    f"cannot sign in: {_first(error)}", "is the network up, and the proxy right?"
                ) from error
            time.sleep(WAIT * 2**attempt)
    return None


def _identity(source: Any, audience: str, request: _Request) -> Any:
    """Credentials whose token is an identity token. Raises PlatformError for those who cannot have one (people)."""
    from google.auth import impersonated_credentials
    from google.oauth2 import service_account

    if isinstance(source, service_account.Credentials):
        return service_account.IDTokenCredentials(  # type: ignore[no-untyped-call]
            source.signer, source.service_account_email, source._token_uri, target_audience=audience
        )
    if isinstance(source, impersonated_credentials.Credentials):
        return _Impersonated(source, audience)
    if type(source).__module__.startswith("google.auth.compute_engine"):
        from google.auth import compute_engine

        return compute_engine.IDTokenCredentials(  # type: ignore[no-untyped-call]
            request, audience, use_metadata_identity_endpoint=True
        )
    raise PlatformError(f"no identity token for {audience}: these credentials are not a service account's", _ID_TOKENS)


class _Impersonated:
    """An identity token of an impersonated account (iamcredentials, projects.serviceAccounts.generateIdToken).

    google-auth's own class for it opens a connection of its own, past our transport and its endpoint.
    """

    def __init__(self, source: Any, audience: str) -> None:
        self._source, self._audience = source, audience
        self._until = 0.0
        self.token = ""

    @property
    def valid(self) -> bool:
        return time.time() < self._until

    def refresh(self, request: _Request) -> None:
        import google.auth.exceptions

        person, account = self._source._source_credentials, self._source.service_account_email
        if not person.valid:
            person.refresh(request)
        url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateIdToken"
        body = json.dumps({"audience": self._audience, "includeEmail": True}).encode()
        headers = {"authorization": f"Bearer {person.token}", "content-type": "application/json"}
        answer = request(url, "POST", body, headers)
        if answer.status != 200:
            text = answer.data.decode(errors="replace")
            raise google.auth.exceptions.RefreshError(text)  # type: ignore[no-untyped-call]
        self.token = json.loads(answer.data)["token"]
        self._until = time.time() + ID_TOKEN_LIFE


class _Response:
    """google.auth.transport.Response on top of httpx's."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.data = response.content


class _Request:
    """google.auth.transport.Request on top of httpx."""

    def __init__(self, http: httpx.Client, endpoint: str) -> None:
        self._http = http
        self._endpoint = endpoint

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Response:
        import google.auth.exceptions
        import httpx

        if self._endpoint:
            url = re.sub(r"^https://([a-z0-9-]+\.googleapis\.com)/", rf"{self._endpoint}/\1/", url)
        try:
            return _Response(self._http.request(method, url, content=body, headers=headers, timeout=timeout or 30))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise google.auth.exceptions.TransportError(f"{url}: {error}") from error  # type: ignore[no-untyped-call]


def _first(error: Exception) -> str:
    text = str(error) if isinstance(error, ValueError) or not error.args else str(error.args[0])
    return " ".join(text.split())[:300]
