"""Sends calls: a token, patience with 429 and 5xx, never a second effect, and errors that say what to do."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mawasu.errors import CancelledError, PlatformError
from mawasu.google.call import Call
from mawasu.google.faults import NotFoundError, fault_of
from mawasu.ports import Cancel

if TYPE_CHECKING:
    import httpx

    from mawasu.google.credentials import Credentials

ENDPOINT = "MAWASU_GOOGLE_ENDPOINT"
"""Where requests go instead of Google: `<endpoint>/<host>/<path>` (a private gateway; the tests' double)."""

TRIES = 6
FIRST_WAIT = 0.5  # seconds; doubled each time, up to the longest, each with full jitter
LONGEST_WAIT = 20.0
TIMEOUT = 60.0
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
        self._first_wait = first_wait
        self._http: httpx.Client | None = None
        self._making = threading.RLock()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up its connections. It may be used again afterwards."""
        if self._http is not None:
            self._http.close()
            self._http = None

    @property
    def http(self) -> httpx.Client:
        with self._making:
            if self._http is None:
                import httpx

                limits = httpx.Limits(max_connections=32)
                self._http = httpx.Client(timeout=TIMEOUT, limits=limits, follow_redirects=False)
            return self._http

    @property
    def credentials(self) -> Credentials:
        with self._making:
            if self._credentials is None:
                from mawasu.google.credentials import DefaultCredentials

                self._credentials = DefaultCredentials(self.http)
            return self._credentials

    def send(self, call: Call, cancel: Cancel | None = None) -> Any:
        """The answer's JSON value ({} for an empty one). Raises GoogleError, PlatformError, CancelledError."""
        content = None if call.body is None else json.dumps(call.body, separators=(",", ":")).encode()
        headers = {} if content is None else {"content-type": "application/json"}
        response = self.request(call, content=content, headers=headers, cancel=cancel)
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            raise PlatformError(f"{call.method} {call.host}{call.path}: the answer is not JSON") from error

    def find(self, call: Call, cancel: Cancel | None = None) -> Any | None:
        """As `send`; None for what is not there."""
        try:
            return self.send(call, cancel)
        except NotFoundError:
            return None

    def pages(self, call: Call, items: str) -> Iterator[Any]:
        """All items of a list call, page by page."""
        query = dict(call.query)
        while True:
            answer = self.send(msgspec.structs.replace(call, query=query))
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

        renewed = False
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            if cancel is not None and cancel.is_set():
                raise CancelledError(f"{call.method} {call.host}{call.path} was given up")
            try:
                response = self._once(call, content, headers or {}, stream)
            except httpx.HTTPError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if last or not (unsent or call.repeatable):
                    raise self._lost(call, error, unsent) from error
                self.pause(attempt, 0.0, cancel)
                continue
            if fine(response.status_code):
                return response
            if stream:
                response.read()
                response.close()
            if response.status_code == 401 and not renewed:
                renewed = True
                self.credentials.renew()
                continue
            again = response.status_code in UNDONE or (response.status_code in AGAIN and call.repeatable)
            if last or not again:
                raise fault_of(call, response.status_code, _body(response))
            self.pause(attempt, _asked(response.headers.get("retry-after", "")), cancel)
        raise AssertionError("the last attempt returns or raises")

    def id_token(self, audience: str) -> str:
        return self.credentials.id_token(audience)

    def _once(
        self, call: Call, content: bytes | Callable[[], Any] | None, headers: Mapping[str, str], stream: bool
    ) -> httpx.Response:
        base = f"{self._endpoint}/{call.host}" if self._endpoint else f"https://{call.host}"
        request = self.http.build_request(
            call.method,
            base + call.path,
            params=dict(call.query) or None,
            content=content() if callable(content) else content,
            headers={**headers, "authorization": f"Bearer {self.credentials.token()}", "user-agent": "mawasu"},
        )
        return self.http.send(request, stream=stream)

    def pause(self, attempt: int, asked: float = 0.0, cancel: Cancel | None = None) -> None:
        """Exponential backoff with full jitter (cloud.google.com/storage/docs/retry-strategy)."""
        wait = max(asked, random.uniform(0, min(LONGEST_WAIT, self._first_wait * 2**attempt)))  # noqa: S311
        if cancel is None:
            time.sleep(wait)
        else:
            cancel.wait(wait)

    def _lost(self, call: Call, error: Exception, unsent: bool) -> PlatformError:
        what = f"{call.method} {call.host}{call.path}"
        if unsent:
            return PlatformError(f"{what}: cannot connect ({error})", "is the network up, and the proxy right?")
        return LostError(f"{what}: the answer was lost ({error})", "run it again: what was done is found and kept")


class LostError(PlatformError):
    """A call that must not be sent twice got no answer: it may have acted. Look before trying again."""

    code = "lost"


def _asked(header: str) -> float:
    """Seconds of a Retry-After header, at most the longest wait; 0 for a date or nothing."""
    return min(float(header), LONGEST_WAIT) if header.isdigit() else 0.0


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
