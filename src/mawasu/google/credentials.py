"""Who we are to Google: Application Default Credentials by google-auth, which speaks through our own transport.

cloud.google.com/docs/authentication/application-default-credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file,
the metadata server; in that order.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mawasu.errors import PlatformError

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TRIES, WAIT = 4, 0.2  # at the token endpoint, when it cannot be reached; seconds, doubled each time
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
    """Found as google.auth.default finds them. Safe for threads: they wait for one request for a token."""

    def __init__(self, http: httpx.Client) -> None:
        self._request = _Request(http)
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
        import google.auth
        import google.auth.exceptions

        if self._found is None:
            # google-auth advises its developers there (no project, no quota project): faults.py tells ours.
            logging.getLogger("google.auth").setLevel(logging.ERROR)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    self._found, _ = google.auth.default(scopes=[SCOPE], request=self._request)  # type: ignore[arg-type]
            except google.auth.exceptions.DefaultCredentialsError as error:
                missing = "not found" in str(error) and "File" not in str(error)
                what = (
                    "no Google credentials are to be found here" if missing else f"Google credentials: {_first(error)}"
                )
                raise PlatformError(what, _SIGN_IN) from error
            except google.auth.exceptions.GoogleAuthError as error:
                raise PlatformError(f"Google credentials: {_first(error)}", _SIGN_IN) from error
        return self._found


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
        return impersonated_credentials.IDTokenCredentials(  # type: ignore[no-untyped-call]
            source, target_audience=audience, include_email=True
        )
    if type(source).__module__.startswith("google.auth.compute_engine"):
        from google.auth import compute_engine

        return compute_engine.IDTokenCredentials(  # type: ignore[no-untyped-call]
            request, audience, use_metadata_identity_endpoint=True
        )
    raise PlatformError(f"no identity token for {audience}: these credentials are not a service account's", _ID_TOKENS)


class _Response:
    """google.auth.transport.Response on top of httpx's."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.data = response.content


class _Request:
    """google.auth.transport.Request on top of httpx."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

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

        try:
            return _Response(self._http.request(method, url, content=body, headers=headers, timeout=timeout or 30))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise google.auth.exceptions.TransportError(f"{url}: {error}") from error  # type: ignore[no-untyped-call]


def _first(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())[:300]
