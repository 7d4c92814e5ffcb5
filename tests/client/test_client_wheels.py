"""What callers install: little, and beside mawasu without a quarrel."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from mawasu.client.testing import FakeApi

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "mawasu" / "client"
LIGHT = {"anyio", "certifi", "h11", "httpcore", "idna", "mawasu-client", "sniffio", "typing-extensions"}

CALL = """
import asyncio, sys
from mawasu.client import Api, AsyncApi
url, told = sys.argv[1], {"key": "k", "timeout": 10}
with Api(url, **told) as api:
    print(api.predict({"x": 1}).value)
async def main():
    async with AsyncApi(url, **told) as api:
        print((await api.predict({"x": 2})).value)
asyncio.run(main())
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"httpx", "redis", "google", "msgspec", "requests"}))
print(sorted(name for name in sys.modules if name.startswith("mawasu.") and not name.startswith("mawasu.client")))
"""


class Environment:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.uv("venv", "-q", str(path), "--python", sys.executable)

    def uv(self, *words: str) -> str:
        told = {**os.environ, "VIRTUAL_ENV": str(self.path)}
        return subprocess.run([find_uv_bin(), *words], env=told, check=True, capture_output=True, text=True).stdout

    def python(self, *words: str) -> str:
        """As anybody would: nothing of this checkout is on the path."""
        told = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(self.path / "bin" / "python"), *words]
        return subprocess.run(command, env=told, cwd=self.path, check=True, capture_output=True, text=True).stdout

    def packages(self) -> set[str]:
        return {line.partition("==")[0] for line in self.uv("pip", "freeze").splitlines()}


def built(folder: Path, to: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(to), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = to.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(FOLDER, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("whole"))


def test_the_client_alone_is_light_and_calls(client: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env")
    environment.uv("pip", "install", "-q", str(client))
    assert {name for name in environment.packages() if not name.startswith("mawasu-client @")} <= LIGHT
    with FakeApi(lambda item: item["x"]) as fake:
        said = environment.python("-c", CALL, fake.url).splitlines()
        assert fake.calls[0].headers["user-agent"].startswith("mawasu-client/")
    assert said == ["1", "2", "[]", "[]"]


def test_extras_bring_what_their_parts_need(client: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env")
    with pytest.raises(subprocess.CalledProcessError):
        environment.python("-c", "import google.auth")
    environment.uv("pip", "install", "-q", f"mawasu-client[google] @ {client.as_uri()}")
    use = (
        "from mawasu.client import Api, Redis; from mawasu.client.google import IdToken; import google.auth.crypt\n"
        "Api('http://a', cache=Redis('redis://localhost'), token=IdToken('b'))\n"
        "from google.auth import aws, identity_pool, jwt; from google.oauth2 import service_account\n"
    )
    environment.python("-c", use)
    assert "requests" not in environment.packages()


def test_no_file_is_in_both_wheels(client: Path, whole: Path) -> None:
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in (client, whole)]
    assert not names[0] & names[1]
    assert "mawasu/client/py.typed" in names[0]
    assert "mawasu/__init__.py" in names[1]
    assert not [name for name in names[1] if name.startswith("mawasu/client/")]


def test_both_live_in_one_environment_and_each_leaves_the_other_in_peace(
    client: Path, whole: Path, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "env")
    environment.uv("pip", "install", "-q", str(client))
    environment.uv("pip", "install", "-q", "--no-deps", str(whole))
    both = "import mawasu, mawasu.errors, mawasu.client; print(mawasu.__version__)"
    assert environment.python("-c", both).strip()
    environment.uv("pip", "uninstall", "-q", "mawasu")
    environment.python("-c", "import mawasu.client")
    environment.uv("pip", "install", "-q", "--no-deps", str(whole))
    environment.uv("pip", "uninstall", "-q", "mawasu-client")
    environment.python("-c", "import mawasu.errors")


def test_both_have_one_version_and_one_licence() -> None:
    whole, client = (tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (ROOT, FOLDER))
    assert whole["version"] == client["version"]
    assert whole["requires-python"] == client["requires-python"]
    assert (FOLDER / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
