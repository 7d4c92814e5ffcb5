"""Where an operator's Prometheus reads this machine: `GET /metrics` on one port of loopback.

It is the daemon's, so a scrape that fails says that the daemon is down. Serving goes on without it.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mawasu.errors import UsageError
from mawasu.home import Home
from mawasu.platforms.local.metering import merged, read
from mawasu.serving.metrics import KIND


class Exporter:
    """Raises UsageError when the port is taken."""

    def __init__(self, home: Home, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # seconds that a request may take to come in
            server_version, sys_version = "mawasu", ""

            def do_GET(self) -> None:
                found = self.path.partition("?")[0] == "/metrics"
                body = merged(read(home)).encode() if found else b"the metrics are at /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("content-type", KIND if found else "text/plain")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """A scrape every few seconds is nothing to remember."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Who asked has left."""

        try:
            self._server = Server(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UsageError(
                f"--metrics: port {port}: {error.strerror}", "`mawasu up --metrics PORT`, 0 for none"
            ) from None
        self.port = self._server.server_port

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
