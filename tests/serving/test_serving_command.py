"""Any HTTP server of the user's behind ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mawasu.words import Caching
from tests.serving.replica import RELEASE, Replica, eventually, request

PYTHON = """
import http.server, json, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        if self.path == "/healthz":
            return self.reply(200 if os.path.exists("healthy") else 500, b"")
        if self.path == "/pid":
            return self.reply(200, b"%d" % os.getpid())
        if self.path == "/die":
            os._exit(3)
        if self.path == "/hang":
            open("asked", "a").write("x")
            try:
                self.rfile.read(1)  # until the other side leaves
            finally:
                open("left", "w").close()
        if self.path == "/half":
            self.send_response(200); self.send_header("content-length", "100"); self.end_headers()
            self.wfile.write(b"half"); self.wfile.flush(); self.close_connection = True
            return
        if self.path == "/chunks":
            self.send_response(200); self.send_header("transfer-encoding", "chunked"); self.end_headers()
            for piece in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        self.reply(200, json.dumps([self.path, dict(self.headers), os.environ.get("MAWASU_MODEL")]).encode())
    def do_POST(self):
        if "content-length" in self.headers:
            body = self.rfile.read(int(self.headers["content-length"]))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.reply(201, body[::-1])
    def reply(self, status, body):
        self.send_response(status); self.send_header("content-length", str(len(body)))
        self.send_header("x-mine", "yes"); self.send_header("connection", "x-hop"); self.send_header("x-hop", "1")
        self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

NODE = """
const fs = require('fs');
require('http').createServer((request, response) => {
  if (request.url === '/healthz') {
    response.statusCode = fs.existsSync('healthy') ? 200 : 500;
    return response.end('fine');
  }
  if (request.url === '/slow') {
    fs.writeFileSync('asked', '');
    const timer = setInterval(() => {
      if (fs.existsSync('gate')) { clearInterval(timer); response.end('slow'); }
    }, 5);
    return;
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify([request.url, request.headers, process.env.MAWASU_MODEL]));
}).listen(process.env.PORT, '127.0.0.1');
"""

LANGUAGES = {"python3": PYTHON, "node": NODE}


@pytest.fixture
def site(replica: Replica, tmp_path: Path) -> Replica:
    (replica.directory / "site.py").write_text(PYTHON)
    (replica.directory / "healthy").touch()
    return replica.ready(command="exec python3 -S site.py", model=tmp_path, deadline=2.0)


def test_requests_and_answers_pass_unchanged(site: Replica, tmp_path: Path) -> None:
    answer = request(site.listen, "GET", "/a%2Fb//c/../d?x=%20y", headers={"X-Test": "1"})
    path, headers, model = answer.json
    assert (path, headers["x-test"], model) == ("/a%2Fb//c/../d?x=%20y", "1", str(tmp_path))
    assert headers["host"] == "localhost"
    assert answer.headers["x-mine"] == "yes"
    assert answer.headers["mawasu-release"] == RELEASE
    posted = request(site.listen, "POST", "/", b"x" * 1_000_000 + b"y")
    assert (posted.status, posted.body) == (201, b"y" + b"x" * 1_000_000)


def test_a_body_of_unknown_length_passes(site: Replica) -> None:
    answer = request(site.listen, "POST", "/", iter([b"abc", b"def"]))  # type: ignore[arg-type]
    assert (answer.status, answer.body) == (201, b"fedcba")


def test_a_caller_who_still_sends_is_told_that_nobody_is_there(site: Replica) -> None:
    assert site.worker is not None
    site.worker.kill()
    site.worker.wait()
    answer = request(site.listen, "POST", "/", b"x" * 10_000_000)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_headers_of_one_hop_stay_on_it(site: Replica) -> None:
    answer = request(
        site.listen, "GET", "/", headers={"Connection": "x-secret", "X-Secret": "1", "TE": "trailers", "Upgrade": "h2c"}
    )
    assert not {"x-secret", "te", "upgrade"} & set(answer.json[1])
    assert "x-hop" not in answer.headers


def test_a_streamed_answer_is_streamed(site: Replica) -> None:
    assert request(site.listen, "GET", "/chunks").body == b"one two three"


def test_half_an_answer_is_never_passed_as_a_whole_one(site: Replica) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(site.listen))
        connection.sendall(b"GET /half HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert b"content-length: 100" in answer
    assert answer.endswith(b"half")


def test_it_is_healthy_when_its_healthz_says_so(site: Replica) -> None:
    (site.directory / "healthy").unlink()
    assert not site.is_ready()
    (site.directory / "healthy").touch()
    assert site.is_ready()


def test_a_silent_server_is_given_up_at_the_deadline(site: Replica) -> None:
    assert request(site.listen, "GET", "/hang").status == 504
    assert site.is_ready()


def test_a_caller_is_told_when_its_time_is_up_and_nobody_works_on_for_it(site: Replica) -> None:
    answer = request(site.listen, "GET", "/hang", headers={"Mawasu-Deadline": "50"})
    assert (answer.status, answer.json["message"]) == (504, "the API did not begin to answer while its caller waits")
    assert answer.headers["mawasu-release"] == RELEASE
    eventually(lambda: (site.directory / "left").exists())
    assert request(site.listen, "GET", "/", headers={"Mawasu-Deadline": "soon"}).status == 400
    assert request(site.listen, "GET", "/", headers={"Mawasu-Deadline": "9000"}).status == 200


def test_a_caller_who_leaves_is_left_by_the_server_behind_too(site: Replica) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(site.listen))
        connection.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: (site.directory / "asked").exists())
    eventually(lambda: (site.directory / "left").exists())


def test_the_worker_ends_when_its_command_does(site: Replica) -> None:
    assert site.worker is not None
    answer = request(site.listen, "GET", "/die")
    assert (answer.status, answer.headers.get("retry-after")) == (502, None), "it had the request"
    assert site.worker.wait(5) == 3
    assert not site.is_ready()
    nobody = request(site.listen, "GET", "/")
    assert (nobody.status, nobody.headers["retry-after"]) == (503, "1")
    site.start_worker()
    eventually(site.is_ready)
    assert request(site.listen, "GET", "/").status == 200


def test_a_server_that_hangs_is_ended_so_that_another_takes_its_place(replica: Replica) -> None:
    """Also one that is not ready says something, so it is left alone."""
    (replica.directory / "site.py").write_text(PYTHON)
    (replica.directory / "healthy").touch()
    replica.ready(command="exec python3 -S site.py", worker=["--silence", "0.6"], deadline=1.0)
    assert replica.worker is not None
    (replica.directory / "healthy").unlink()
    with pytest.raises(subprocess.TimeoutExpired):
        replica.worker.wait(2)
    pid = int(request(replica.listen, "GET", "/pid").body)
    os.kill(pid, signal.SIGSTOP)
    assert replica.worker.wait(10) == 128 + signal.SIGKILL
    assert "the command said nothing for 0.6 s; ending it" in replica.log.read_text()
    (replica.directory / "healthy").touch()
    replica.start_worker()
    eventually(replica.is_ready)
    assert int(request(replica.listen, "GET", "/pid").body) != pid


def test_the_command_ends_when_its_worker_is_told_to(site: Replica) -> None:
    assert site.worker is not None
    pid = int(request(site.listen, "GET", "/pid").body)
    site.worker.terminate()
    assert site.worker.wait(5) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_servers_of_any_language_are_served(replica: Replica, tmp_path: Path, language: str) -> None:
    (replica.directory / "site").write_text(LANGUAGES[language])
    (replica.directory / "healthy").touch()
    replica.ready(command=f"{language} site", model=tmp_path, cache=Caching(60.0))
    for status in ("mawasu; fwd=uri-miss; stored", "mawasu; hit; ttl="):
        answer = request(replica.listen, "GET", "/x?y=1")
        assert (answer.json[0], answer.json[2]) == ("/x?y=1", str(tmp_path))
        assert answer.headers["cache-status"].startswith(status)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(replica.listen))
        connection.sendall(b"GET /z HTTP/1.1\r\nhost: x\r\ncache-control: no-store\r\n\r\n")
        head = connection.recv(65536).partition(b"\r\n\r\n")[0].lower()
    lines = [line for line in head.split(b"\r\n") if line.startswith((b"content-length:", b"transfer-encoding:"))]
    assert len(lines) == 1, "Envoy refuses an answer that has its length twice"
    assert head.count(b"\ndate:") == 1


def test_a_server_in_node_is_asked_for_its_health_counted_and_drained(replica: Replica) -> None:
    (replica.directory / "site").write_text(NODE)
    replica.start(command="exec node site", operations=("GET /{id}",))
    eventually(lambda: replica.health() == 503)
    (replica.directory / "healthy").touch()
    eventually(replica.is_ready)
    assert request(replica.listen, "GET", "/x").status == 200
    said = request(replica.listen, "GET", "/-/metrics").body.decode()
    assert 'mawasu_requests_total{operation="GET /{id}",status="200"} 1\n' in said
    assert replica.server is not None
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(request, replica.listen, "GET", "/slow")
        eventually(lambda: (replica.directory / "asked").exists())
        replica.server.terminate()
        eventually(lambda: not replica.listen.exists())
        (replica.directory / "gate").touch()
        answer = asked.result()
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"slow", "close")
    assert replica.server.wait(5) == 0
