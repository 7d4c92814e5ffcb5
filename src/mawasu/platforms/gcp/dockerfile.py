"""The Dockerfile of a lock, and the build context of every image, in memory. Pure.

Nothing of the user's code is in a rendered image: code is laid beside it when a job or a service starts. So a push that
changes code alone changes no layer, no image and no key.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from mawasu.errors import StepError
from mawasu.words import Digest, ImageSpec, Value, digest_of

DOCKERFILE = "Dockerfile"
UV = "ghcr.io/astral-sh/uv"
PLACE = "/opt/image"  # of the environment, in the image
USER = 65532
"""Whom a rendered image and the runner run as: one number, so that they can share a socket; "nonroot" elsewhere too."""

# As the local platform: the locked packages and nothing else, no project (its files are not here), no groups.
_SYNC = "uv sync --frozen --no-install-project --no-install-workspace --no-default-groups"
_PIP_SYNC = f"uv pip sync --python {PLACE}/bin/python --require-hashes"

SYSTEM = "libgomp1"
"""What wheels of this field expect of the system (LightGBM and XGBoost load OpenMP) and `slim` images lack."""


class Context(Value, frozen=True):
    """What an image is built from: files by path, and which of them is the Dockerfile."""

    dockerfile: str
    files: Mapping[str, bytes]
    rendered: bool = True  # the Dockerfile is mawasu's own: its lines say nothing to users


def context(spec: ImageSpec, python: str, uv: str) -> Context:
    """`python` is X.Y.Z; `uv` the version that installs. Raises StepError for a path outside the repository."""
    for name in spec.files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise StepError(f"{name} is outside the repository", "an image can only hold files of the repository")
    if spec.dockerfile:
        if spec.dockerfile not in spec.files:
            raise StepError(f"{spec.dockerfile} is not in the commit", "is it committed, and `dockerfile:` right?")
        return Context(spec.dockerfile, spec.files, rendered=False)
    if not spec.lock:
        return Context(DOCKERFILE, {DOCKERFILE: render((), python, uv).encode()})
    # Under names of our own: the Dockerfile has no path of the user's, whatever characters that holds.
    lock = _called(spec.lock)
    files = {lock: spec.files[spec.lock]}
    if lock == "uv.lock":
        beside = str(PurePosixPath(spec.lock).with_name("pyproject.toml"))
        files |= {"pyproject.toml": spec.files[beside]} if beside in spec.files else {}
    return Context(DOCKERFILE, {DOCKERFILE: render(tuple(sorted(files)), python, uv).encode(), **files})


def render(files: tuple[str, ...], python: str, uv: str) -> str:
    """The Dockerfile that installs what a lock says; `files` are the lock and what it needs, () for no packages.

    Two stages: compilers and uv stay in the first one. Layers go from what changes least to what changes most, so that
    another lock costs only its own packages.
    """
    install = _install(files)
    stages = [
        f"FROM python:{python} AS packages",
        f"COPY --from={UV}:{uv} /uv /usr/local/bin/uv",
        f"ENV UV_PROJECT_ENVIRONMENT={PLACE} UV_PYTHON=/usr/local/bin/python UV_PYTHON_DOWNLOADS=never \\",
        "    UV_NO_CACHE=1 UV_NO_PROGRESS=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1",
        f"RUN uv venv {PLACE}",
        *install,
        "",
        *base(python, SYSTEM),
        f"COPY --from=packages {PLACE} {PLACE}",
        f"USER {USER}:{USER}",
    ]
    return "\n".join(stages) + "\n"


def base(python: str, *packages: str) -> list[str]:
    """The beginning of a final stage: the interpreter, Debian packages, a user, the environment's variables."""
    return [
        f"FROM python:{python}-slim",
        "RUN apt-get update \\",
        f"    && apt-get install --yes --no-install-recommends {' '.join(packages)} \\",
        "    && rm -rf /var/lib/apt/lists/*",
        f"RUN useradd --uid {USER} --user-group --create-home --home-dir /home/mawasu mawasu",
        f"ENV PATH={PLACE}/bin:$PATH VIRTUAL_ENV={PLACE} HOME=/home/mawasu PYTHONUNBUFFERED=1 LANG=C.UTF-8",
        "WORKDIR /home/mawasu",
    ]


def pack(context: Context) -> tuple[Digest, bytes]:
    """The context as a tar.gz, and its name: the digest of the tar (gzip's bytes differ between its versions).

    A commit's modes do not come here (`ImageSpec.files` has bytes), so a file is executable if its first line says
    what runs it.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(context.files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(data))
    plain = out.getvalue()
    return digest_of(plain), gzip.compress(plain, mtime=0)


def _called(lock: str) -> str:
    """uv tells the kinds of locks apart by their names."""
    name = PurePosixPath(lock).name
    if name == "uv.lock" or re.fullmatch(r"pylock\.(\w+\.)?toml", name):
        return name
    return "requirements.txt"


def _install(files: tuple[str, ...]) -> list[str]:
    if not files:
        return []
    lock = next((name for name in files if name != "pyproject.toml"), "")
    command = _SYNC if lock == "uv.lock" else f"{_PIP_SYNC} {lock}"
    return ["WORKDIR /lock", f"COPY {' '.join(files)} ./", f"RUN {command} --compile-bytecode"]
