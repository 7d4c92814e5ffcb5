"""Who we are to Google: Application Default Credentials by google-auth, which speaks through our own transport."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mawasu.errors import PlatformError

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SIGN_IN = "sign in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"


class Credentials(Protocol):
    """What the client needs: tokens for Google's APIs, and identity tokens for private services."""

    def token(self) -> str: ...

    def renew(self) -> None:
        """Forget the token: the server says that it is no good."""

    def id_token(self, audience: str) -> str: ...


class DefaultCredentials:
    """Found as google.auth.default finds them: a file, gcloud's own, or the metadata server. Safe for threads."""

    def __init__(self, http: httpx.Client) -> None:
        self._request = _Request(http)
        self._lock = threading.Lock()
        self._found: Any = None
        self._identities: dict[str, Any] = {}

    def token(self) -> str:
        import google.auth
        import google.auth.exceptions

        with self._lock:
            try:
                if self._found is None:
                    self._found, _ = google.auth.default(scopes=[SCOPE], request=self._request)  # type: ignore[arg-type]
                if not self._found.valid:
                    self._found.refresh(self._request)
            except google.auth.exceptions.DefaultCredentialsError as error:
                raise PlatformError("no Google credentials are to be found here", _SIGN_IN) from error
            except google.auth.exceptions.GoogleAuthError as error:
                raise PlatformError(f"Google does not take these credentials: {_first(error)}", _SIGN_IN) from error
            return str(self._found.token)

    def renew(self) -> None:
        with self._lock:
            if self._found is not None:
                self._found.token = None

    def id_token(self, audience: str) -> str:
        """An OpenID Connect token for a private Cloud Run service, whose URL is the audience."""
        import google.auth.exceptions
        from google.oauth2 import id_token

        with self._lock:
            try:
                found = self._identities.get(audience)
                if found is None:
                    found = self._identities[audience] = id_token.fetch_id_token_credentials(  # type: ignore[no-untyped-call]
                        audience, self._request
                    )
                if not found.valid:
                    found.refresh(self._request)
            except google.auth.exceptions.GoogleAuthError as error:
                hint = "identity tokens need a service account: run it in Cloud Build, or impersonate one"
                raise PlatformError(f"no identity token for {audience}: {_first(error)}", hint) from error
            return str(found.token)


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
        except httpx.HTTPError as error:
            raise google.auth.exceptions.TransportError(error) from error  # type: ignore[no-untyped-call]


def _first(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())[:300]
