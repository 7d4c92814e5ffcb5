"""HTTP/2 as a test wants it: whole requests by the package h2, and frames as they would never leave a good client."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from tests.gateway.machinery import Answer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Headers = Sequence[tuple[str, str]]


def fields(method: str, path: str, more: Headers = (), scheme: str = "http") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", scheme), (":authority", "gateway"), (":path", path), *more]


class Http2:
    """One connection of a well-behaved client; `context` makes it TLS with ALPN."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # windows are small, their updates smaller
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._scheme = "http" if context is None else "https"
        self._state = h2.connection.H2Connection(h2.config.H2Configuration())
        self._state.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, more: Headers = (), body: bytes = b"", trailers: Headers = ()) -> Answer:
        """One request to its end. Status 0: the stream was reset or the connection closed without an answer."""
        status, said = 0, b""
        headers: dict[str, str] = {}
        for event in self.events(method, path, more, body, trailers):
            if isinstance(event, h2.events.ResponseReceived):
                headers = {name.decode(): value.decode() for name, value in event.headers or ()}
                status = int(headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                said += event.data or b""
        return Answer(status, headers, said.decode())

    def events(
        self, method: str, path: str, more: Headers = (), body: bytes = b"", trailers: Headers = ()
    ) -> Iterator[h2.events.Event]:
        """Send one request; everything that happens to it, as it happens, up to its end."""
        stream = self._state.get_next_available_stream_id()
        # The gateway may have answered and reset what it does not want to read whole.
        with contextlib.suppress(h2.exceptions.StreamClosedError, BrokenPipeError, ConnectionResetError):
            self._send(stream, fields(method, path, more, self._scheme), body, trailers)
        yield from self._until_end(stream)

    def _send(self, stream: int, headers: Headers, body: bytes, trailers: Headers) -> None:
        self._state.send_headers(stream, headers, end_stream=not body and not trailers)
        self._flush()
        sent = 0
        while sent < len(body):
            window = min(self._state.local_flow_control_window(stream), self._state.max_outbound_frame_size)
            if not window:
                self._early += self._read()
                continue
            piece, sent = body[sent : sent + window], sent + window
            self._state.send_data(stream, piece, end_stream=sent >= len(body) and not trailers)
            self._flush()
        if trailers:
            self._state.send_headers(stream, trailers, end_stream=True)
            self._flush()

    def _until_end(self, stream: int) -> Iterator[h2.events.Event]:
        while True:
            happened, self._early = [*self._early, *self._read()], []
            for event in happened:
                if getattr(event, "stream_id", stream) == stream:
                    yield event
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset) and event.stream_id == stream:
                    return
                if isinstance(event, h2.events.ConnectionTerminated):
                    return

    _early: list[h2.events.Event] = []  # noqa: RUF012 - replaced, never changed in place

    def _read(self) -> list[h2.events.Event]:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return [h2.events.ConnectionTerminated()]
        happened = self._state.receive_data(data)
        for event in happened:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        self._flush()
        return happened

    def _flush(self) -> None:
        if data := self._state.data_to_send():
            self.socket.sendall(data)


# ------------------------------------------------------------------------------------------------ raw frames


def opening() -> bytes:
    return PREFACE + SettingsFrame(0).serialize()


def headers_frame(stream: int, headers: Headers, *, end_stream: bool = True, end_headers: bool = True) -> bytes:
    """One HEADERS frame, whatever the fields hold; a compressor of its own, so that no state is shared."""
    flags = [name for name, on in (("END_STREAM", end_stream), ("END_HEADERS", end_headers)) if on]
    return HeadersFrame(stream, Encoder().encode(list(headers), huffman=False), flags=flags).serialize()


def data_frame(stream: int, data: bytes, *, end_stream: bool = True) -> bytes:
    return DataFrame(stream, data, flags=["END_STREAM"] if end_stream else []).serialize()


def reset_frame(stream: int) -> bytes:
    return RstStreamFrame(stream, h2.errors.ErrorCodes.CANCEL).serialize()


def exchange(port: int, data: bytes, *, until_closed: bool = False) -> list[Frame]:
    """Send bytes; the frames that come back until the connection or any stream has ended, or is said to."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return list(read_frames(connection, until_closed))


def read_frames(connection: socket.socket, until_closed: bool = False) -> Iterator[Frame]:
    got = b""
    while True:
        while len(got) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(got[:9]))
            if len(got) < 9 + length:
                break
            frame.parse_body(memoryview(got[9 : 9 + length]))
            got = got[9 + length :]
            yield frame
            ended = isinstance(frame, RstStreamFrame | GoAwayFrame) or "END_STREAM" in frame.flags
            if ended and not until_closed:
                return
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return
        if not piece:
            return
        got += piece


def status_of(frames: Sequence[Frame]) -> int:
    """The status of the only answer among frames; 0 when there is none."""
    from hpack import Decoder

    decoder = Decoder()
    found = [dict(decoder.decode(frame.data, raw=True)) for frame in frames if isinstance(frame, HeadersFrame)]
    return int(found[0][b":status"]) if found else 0
