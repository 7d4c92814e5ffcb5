"""GitHub's side of git: the real `git http-backend` on loopback, for who has a token of Cloud Build's connection."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class GitHub:
    """One bare repository behind HTTP. `token()` is the password that is taken; `rules` a pre-receive hook's text.

    `shown` are the command lines of all processes while a request was answered: no password may be on one.
    """

    def __init__(self, directory: Path, token: Callable[[], str]) -> None:
        self.bare = directory / "acme" / "resumes.git"
        self.bare.mkdir(parents=True)
        self._directory, self._token = directory, token
        self.git("init", "-q", "--bare", "-b", "main")
        self.git("config", "http.receivepack", "true")
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.before_push: Callable[[], None] = lambda: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/acme/resumes.git"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def git(self, *arguments: str) -> str:
        environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self._directory)}
        done = subprocess.run(["git", *arguments], cwd=self.bare, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refuse(self, words: str) -> None:
        """From now on the branches are protected."""
        hook = self.bare / "hooks" / "pre-receive"
        hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        hook.chmod(0o755)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """As any web server runs it (git-http-backend(1))."""
        parts = urlsplit(path)
        self.asked.append(f"{method} {path}")
        self.shown += _commands()
        basic = base64.b64encode(f"x-access-token:{self._token()}".encode()).decode()
        if headers.get("authorization") != f"Basic {basic}":
            return 401, {"WWW-Authenticate": 'Basic realm="GitHub"'}, b""
        if method == "POST" and parts.path.endswith("git-receive-pack"):
            self.before_push()
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self._directory),
            "GIT_PROJECT_ROOT": str(self._directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "x-access-token",
            "REQUEST_METHOD": method,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=environ, input=body, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        said = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return int(said.pop("Status", "200").split()[0]), said, content


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def _handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, said, content = github.answer(self.command, self.path, headers, self._body(headers))
            self.send_response(status)
            for name, value in {**said, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name that http.server asks for

        def _body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", "0")))
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    return Handler


@contextmanager
def github(directory: Path, token: Callable[[], str]) -> Iterator[GitHub]:
    directory.mkdir()
    made = GitHub(directory, token)
    try:
        yield made
    finally:
        made.close()
