"""What the pages show runs: docs/client.md as one program, the PHP of docs/http-contract.md on a site with a Redis."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.redis_server import RedisServer

from mawasu.client.testing import FakeApi
from tests.client.google_double import Google
from tests.docs.pages import ROOT, blocks

ADDRESS = "https://ml.example.com/flight-delay/production"
NONE = {"delay": None}
LATE = 5.0


def test_what_the_page_of_the_client_shows_runs(tmp_path: Path) -> None:
    shown = [block.text for block in blocks(ROOT / "docs" / "client.md", "python")]
    tests = re.findall(r"^def (test_\w+\(\))", "".join(shown), re.MULTILINE)
    assert tests
    program = tmp_path / "site.py"
    with FakeApi({"delay": 12}) as fake, Google() as google:
        program.write_text("\n".join([*shown, *tests]).replace(ADDRESS, fake.url))
        told = {**os.environ, "FLIGHT_DELAY_KEY": "k", "GCE_METADATA_HOST": google.host}
        done = subprocess.run([sys.executable, str(program)], env=told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (by_token,) = [call for call in fake.calls if call.unit == "visitor-4711"]
        assert "authorization" in by_token.headers
    assert "{'live': 1} None" in done.stdout


class Site:
    """PHP that has the page's function; each visit is a process, as the sturdiest of sites have it."""

    def __init__(self, directory: Path, url: str, redis: Path) -> None:
        (block,) = blocks(ROOT / "docs" / "http-contract.md", "php")
        self._file = directory / "page.php"
        told = "echo json_encode(predict(json_decode($argv[1], true), ['delay' => null], $argv[2]));"
        self._file.write_text(block.text + told)
        self._told = {**os.environ, "API": url, "KEY": "secret", "REDIS_HOST": str(redis), "REDIS_PORT": "0"}

    def visit(self, item: dict[str, Any], unit: str = "") -> object:
        command = ["php", str(self._file), json.dumps(item), unit]
        done = subprocess.run(command, env=self._told, capture_output=True, text=True, check=True, timeout=LATE)
        assert not done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory)) as one:
        yield one


def test_a_site_in_php_keeps_answers_as_long_as_the_api_says(fake: FakeApi, redis: RedisServer, tmp_path: Path) -> None:
    site = Site(tmp_path, fake.url, redis.path)
    fake.answer({"delay": 12}, cache_control="private, max-age=600, stale-if-error=60")
    assert [site.visit(item) for item in ({"b": 1, "a": 2}, {"a": 2, "b": 1})] == [{"delay": 12}] * 2
    (call,) = fake.calls
    assert (call.items, call.headers["x-api-key"], call.headers["mawasu-deadline"]) == (
        [{"a": 2, "b": 1}],
        "secret",
        "200",
    )
    (key,) = redis.held()
    assert 600 < int(redis.say("TTL", key)[1:-2]) <= 660
    fake.answer({"delay": 13}, cache_control="no-store")
    assert [site.visit({"a": 2, "b": 1}, "visitor-7") for _ in range(2)] == [{"delay": 13}] * 2
    assert [call.unit for call in fake.calls] == ["", "visitor-7", "visitor-7"]


def test_a_site_in_php_shows_what_it_knew_while_the_api_is_in_trouble(
    fake: FakeApi, redis: RedisServer, tmp_path: Path
) -> None:
    site = Site(tmp_path, fake.url, redis.path)
    fake.answer({"delay": 12}, cache_control="private, max-age=0, stale-if-error=60")
    assert site.visit({"a": 1}) == {"delay": 12}
    fake.fail(503, retry_after=30)
    assert (site.visit({"a": 1}), site.visit({"new": 1})) == ({"delay": 12}, NONE)
    assert len(fake.calls) == 2  # the second page did not ask: 30 s are not over
    redis.say("DEL", "delay:rest")
    fake.slow(60)
    began = time.monotonic()
    assert site.visit({"a": 1}) == {"delay": 12}
    redis.stall()
    assert site.visit({"a": 1}) == NONE
    assert time.monotonic() - began < LATE
