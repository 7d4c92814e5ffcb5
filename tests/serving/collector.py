"""A real OpenTelemetry collector as far as spans go: it takes OTLP/HTTP, protobuf and JSON, and remembers."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent


class Span(NamedTuple):
    service: str
    name: str
    trace: str
    id: str
    parent: str
    start: int  # nanoseconds since the epoch
    end: int
    failed: bool
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


class Collector:
    """`url` is its endpoint; while `open` is not set it takes connections and says nothing."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.spans: list[Span] = []
        self.open = threading.Event()
        self.open.set()
        self.once = False  # a connection is closed after its first request, without a word
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10.0

            def do_POST(self) -> None:
                outer.open.wait(20)
                if self.path == "/v1/traces" and outer.status == 200:
                    outer.take(self.headers["content-type"], body_of(self))
                else:
                    body_of(self)
                with contextlib.suppress(OSError):  # who sent it has given up
                    self.send_response(outer.status)
                    self.send_header("content-length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")
                self.close_connection = outer.once

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Who sent something has left."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def take(self, kind: str, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest()
        if kind == "application/json":
            Parse(body, request)  # ids are base64 to it; OTLP has hexadecimal digits there
        else:
            assert kind == "application/x-protobuf"
            request.ParseFromString(body)
        for of in request.resource_spans:
            resource = values(of.resource.attributes)
            for scope in of.scope_spans:
                self.spans += [span(one, resource, digits=kind == "application/json") for one in scope.spans]

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    if length := handler.headers["content-length"]:
        return handler.rfile.read(int(length))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def span(sent: Sent, resource: dict[str, str | int], *, digits: bool) -> Span:
    def identity(raw: bytes) -> str:
        return base64.b64encode(raw).decode() if digits else raw.hex()  # back from what Parse took the digits for

    return Span(
        str(resource["service.name"]),
        sent.name,
        identity(sent.trace_id),
        identity(sent.span_id),
        identity(sent.parent_span_id),
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
        sent.status.code == 2,
        values(sent.attributes),
        resource,
    )


def values(found: Iterator[KeyValue]) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in found}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()
