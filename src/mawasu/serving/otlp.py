"""Sending spans to an OpenTelemetry collector: OTLP/HTTP in JSON (opentelemetry.io/docs/specs/otlp), on a thread.

Written here because OpenTelemetry's own library takes 200 µs for the spans of a request that costs us 25 µs in all
(decisions/0030). Whatever the collector does, no answer waits for it: what it does not take is lost, and counted.
"""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from mawasu.serving.metrics import Family, counter

WAITING = 8192  # spans that wait at most
TOGETHER = 1024  # that are sent at once
EVERY = 1.0  # seconds until those that came are sent
PATIENCE = 5.0  # seconds that the collector has to take them
LEAVE = 2.0  # seconds that the last ones have
INTERNAL, SERVER = 1, 2
ERROR = 2

NONE = msgspec.Raw(b"[]")


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int = 0
    message: str = ""


UNSET, FAILED = Status(), Status(ERROR)


class Span(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """As OTLP has it: ids in hexadecimal digits, times in nanoseconds since the epoch, in decimal digits."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: msgspec.Raw = NONE
    status: Status = UNSET


def attributes(values: Mapping[str, str | int]) -> msgspec.Raw:
    """As OTLP has them in JSON: a number is text there too, which holds 64 bits."""
    told = [
        {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}
        for key, value in values.items()
    ]
    return msgspec.Raw(msgspec.json.encode(told))


class Exporter:
    """Sends to `url` what is put in, as the spans of one resource."""

    def __init__(self, url: str, resource: Mapping[str, str]) -> None:
        self.sent = 0
        self._full = self._lost = 0  # each counted by one thread
        self._resource = attributes(resource)
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._leaving = False
        self._path = urlsplit(url).path
        self._connection = connect(url)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        if len(self._waiting) >= WAITING:
            self._full += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == TOGETHER:
            self._wake.set()

    def close(self) -> None:
        """Sends what is left, for as long as it may take."""
        self._leaving = True
        self._wake.set()
        self._thread.join(LEAVE)

    @property
    def dropped(self) -> int:
        return self._full + self._lost

    def measure(self) -> list[Family]:
        return [
            counter("spans_sent", "Spans that the collector took.", self.sent),
            counter("spans_dropped", "Spans that it did not take, or was too slow for.", self.dropped),
        ]

    # ------------------------------------------------------------------------------------ the thread's

    def _run(self) -> None:
        leaving = False
        while not leaving:
            self._wake.wait(EVERY)
            self._wake.clear()
            leaving = self._leaving  # asked before the last look at what waits
            while self._waiting:
                spans = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                if self._send(spans):
                    self.sent += len(spans)
                else:
                    self._lost += len(spans)
        self._connection.close()

    def _send(self, spans: list[Span]) -> bool:
        scope = {"scope": {"name": "mawasu"}, "spans": spans}
        told = {"resource": {"attributes": self._resource}, "scopeSpans": [scope]}
        body = msgspec.json.encode({"resourceSpans": [told]})
        kept = self._connection.sock is not None
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not kept or isinstance(error, TimeoutError):
                return False
        try:  # it had closed a connection that was not in use
            return self._post(body)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False

    def _post(self, body: bytes) -> bool:
        self._connection.request("POST", self._path, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        answer.read(65536)
        if not answer.isclosed():
            self._connection.close()
        return 200 <= answer.status < 300


def connect(url: str) -> http.client.HTTPConnection:
    """Not before the first request. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https URL")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=PATIENCE)
