"""Sends calls: a token, patience with 429 and 5xx, never a second effect, and errors that say what to do."""

from __future__ import annotations

import email.utils
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mawasu.errors import CancelledError, PlatformError, UsageError
from mawasu.google.call import Call
from mawasu.google.faults import NotFoundError, fault_of
from mawasu.ports import Cancel

if TYPE_CHECKING:
    import httpx

    from mawasu.google.credentials import Credentials

ENDPOINT = "MAWASU_GOOGLE_ENDPOINT"
"""Where requests go instead of Google: `<endpoint>/<host>/<path>` (a private gateway; the tests' double)."""

TRIES = 7
FIRST_WAIT = 0.5  # seconds; doubled each time, up to the longest, each with full jitter
LONGEST_WAIT = 30.0
TIMEOUT = 60.0
CONNECTIONS = 32
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
UNDONE = frozenset({429})
"""The server says so before it does anything: every call may be sent again after these."""


class Client:
    """Safe for many threads. Creating one touches nothing."""

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        endpoint: str | None = None,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self._credentials = credentials
        self._endpoint = (os.environ.get(ENDPOINT, "") if endpoint is None else endpoint).rstrip("/")
        if self._endpoint and not self._endpoint.startswith(("http://", "https://")):
            raise UsageError(f"{ENDPOINT} is {self._endpoint!r}", "it is a URL: https://…")
        self._first_wait = first_wait
        self._http: httpx.Client | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up its connections, for good."""
        with self._lock:
            if self._http is not None:
                self._http.close()

    @property
    def http(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                self._http = _http()
            return self._http

    @property
    def credentials(self) -> Credentials:
        with self._lock:
            if self._credentials is None:
                from mawasu.google.credentials import DefaultCredentials

                self._credentials = DefaultCredentials(self.http, self._endpoint)
            return self._credentials

    def send(self, call: Call, cancel: Cancel | None = None) -> Any:
        """The answer's JSON value ({} for an empty one). Raises GoogleError, PlatformError, CancelledError."""
        content = None if call.body is None else json.dumps(call.body, separators=(",", ":")).encode()
        headers = {} if content is None else {"content-type": "application/json"}
        response = self.request(call, content=content, headers=headers, cancel=cancel)
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            hint = "does something between here and Google answer in its place (a proxy, a sign-in page)?"
            raise PlatformError(f"{call.method} {call.host}{call.path}: the answer is not JSON", hint) from error

    def find(self, call: Call, cancel: Cancel | None = None) -> Any | None:
        """As `send`; None for what is not there."""
        try:
            return self.send(call, cancel)
        except NotFoundError:
            return None

    def pages(self, call: Call, items: str, cancel: Cancel | None = None) -> Iterator[Any]:
        """All items of a list call, page by page."""
        query = dict(call.query)
        while True:
            answer = self.send(msgspec.structs.replace(call, query=query), cancel)
            yield from answer.get(items, [])
            if not (token := answer.get("nextPageToken")):
                return
            query["pageToken"] = token

    def request(
        self,
        call: Call,
        *,
        content: bytes | Callable[[], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        cancel: Cancel | None = None,
        fine: Callable[[int], bool] = lambda status: status < 300,
        stream: bool = False,
    ) -> httpx.Response:
        """Send bytes, get the whole response; `fine` tells which statuses are no errors. `call.body` is not looked at.

        `content` as a function is called for each attempt. With `stream` the caller reads and closes the response.
        """
        import httpx

        renewed, attempt = False, 0
        while True:
            last = attempt == TRIES - 1
            if cancel is not None and cancel.is_set():
                raise CancelledError(f"{call.method} {call.host}{call.path} was given up")
            token = self.credentials.token()
            try:
                response = self._once(call, content, headers or {}, token, stream)
                if stream and not fine(response.status_code):
                    _finished(response)
            except httpx.HTTPError as error:
                if last or not (_unsent(error) or call.repeatable) or _never(error):
                    raise _lost(call, error) from error
                self.pause(attempt, 0.0, cancel)
            else:
                status = response.status_code
                if fine(status):
                    return response
                if status == 401 and not renewed:
                    renewed = True
                    self.credentials.renew(token)
                    continue
                if last or not (status in UNDONE or (status in AGAIN and call.repeatable)):
                    raise fault_of(call, status, _body(response))
                self.pause(attempt, _asked(response.headers.get("retry-after", "")), cancel)
            attempt += 1

    def id_token(self, audience: str) -> str:
        """An identity token for a private service. Raises PlatformError when these credentials cannot have one."""
        return self.credentials.id_token(audience)

    def _once(
        self,
        call: Call,
        content: bytes | Callable[[], Any] | None,
        headers: Mapping[str, str],
        token: str,
        stream: bool,
    ) -> httpx.Response:
        base = f"{self._endpoint}/{call.host}" if self._endpoint else f"https://{call.host}"
        ours = {"authorization": f"Bearer {token}", "user-agent": "mawasu"}
        if payer := self.credentials.quota_project():
            ours["x-goog-user-project"] = payer
        request = self.http.build_request(
            call.method,
            base + call.path,
            params=dict(call.query) or None,
            content=content() if callable(content) else content,
            headers={**headers, **ours},
        )
        return self.http.send(request, stream=stream)

    def pause(self, attempt: int, asked: float = 0.0, cancel: Cancel | None = None) -> None:
        """Exponential backoff with full jitter (cloud.google.com/storage/docs/retry-strategy)."""
        wait = max(asked, random.uniform(0, min(LONGEST_WAIT, self._first_wait * 2**attempt)))  # noqa: S311
        if cancel is None:
            time.sleep(wait)
        else:
            cancel.wait(wait)


class LostError(PlatformError):
    """A call that must not be sent twice got no answer: it may have acted. Look before trying again."""

    code = "lost"


def _http() -> httpx.Client:
    import httpx

    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    try:
        return httpx.Client(timeout=httpx.Timeout(TIMEOUT, pool=None), limits=limits, follow_redirects=False)
    except (ValueError, httpx.InvalidURL) as error:  # a proxy that is no URL
        raise PlatformError(
            f"HTTPS_PROXY (or HTTP_PROXY, ALL_PROXY): {error}", "it is a URL: http://host:port"
        ) from error


def _unsent(error: Exception) -> bool:
    """Did the request not leave? Then sending it again does no harm."""
    import httpx

    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)


def _never(error: Exception) -> bool:
    """Would it go wrong in the same way again?"""
    import httpx

    return isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)


def _lost(call: Call, error: Exception) -> PlatformError:
    what, why = f"{call.method} {call.host}{call.path}", str(error) or type(error).__name__
    if _unsent(error) or _never(error):
        return PlatformError(f"{what}: cannot connect ({why})", "is the network up, and the proxy right?")
    return LostError(f"{what}: the answer was lost ({why})", "run it again: what was done is found and kept")


def _finished(response: httpx.Response) -> None:
    """Reads what is left of an answer that its caller will not see."""
    try:
        response.read()
    finally:
        response.close()


def _asked(header: str) -> float:
    """Seconds of a Retry-After header (RFC 9110: a number or a date), at most the longest wait."""
    if header.isdecimal():
        return min(float(header), LONGEST_WAIT)
    try:
        then = email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return 0.0
    return max(0.0, min(then - time.time(), LONGEST_WAIT))


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
