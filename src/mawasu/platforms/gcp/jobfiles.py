"""A job's files in the bucket: what it is given, below `jobs/<job>/`, and what it gives back.

The job's account may write there, so nothing that is read back is trusted: names are judged, bytes verified.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from mawasu.errors import PlatformError, StepError
from mawasu.git.checkout import checkout
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp import enter
from mawasu.ports import Store
from mawasu.store.cloud import CloudStore
from mawasu.words import Digest, JobSpec, Mount, Output, Source

THREADS: Final = 16
T = TypeVar("T")


class Given(msgspec.Struct, frozen=True):
    """The two objects a job is started with, and the sha256 of each in hex."""

    enter: str
    enter_sha256: str
    specification: str
    specification_sha256: str


class Delivered(msgspec.Struct, frozen=True):
    """A file that a job wrote."""

    sha256: str
    size: int
    executable: bool = False


class Written(msgspec.Struct, frozen=True):
    """What a job wrote to one output: files by path ("" for an output that is a file), and empty directories."""

    files: dict[str, Delivered]
    empty: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """`outcome.json`, as `enter.py` writes it: how the command ended."""

    end: str  # exit, memory, timeout, told, refused
    status: int
    last: str = ""
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    blas: str = ""
    outputs: dict[str, Written] = {}


# ---------------------------------------------------------------------------------------------------- in


def stage(job: JobSpec, bucket: Bucket, store: CloudStore, below: str, scratch: Path) -> Given:
    """Put everything that `job` declares below `below`; again does no harm.

    Raises StepError for files that cannot be laid out (links out of the repository, submodules, Git LFS pointers).
    """
    source = _source(job.source, bucket, f"{below}/source/", scratch / "source")
    mounts = at_once(lambda mount: _mount(mount, bucket, store, below), job.mounts)
    code = Path(enter.__file__).read_bytes()
    specification = msgspec.json.encode(_specification(job, source, mounts), order="sorted")
    given = Given(f"{below}/enter.py", _sha256(code), f"{below}/spec.json", _sha256(specification))
    bucket.put(given.enter, code)
    bucket.put(given.specification, specification)
    return given


def _specification(job: JobSpec, source: Mapping[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "step": step_of(job),
        "command": job.command,
        "root": job.source.root,
        "source": source,
        "mounts": mounts,
        "outputs": [msgspec.structs.asdict(output) for output in job.outputs],
        "params": job.params,
        "environ": job.environ,
        "secrets": job.secrets,
        "seed": job.seed,
        "threads": max(1, math.ceil(job.resources.cpu)),
        "timeout": job.resources.timeout,
    }


def _source(source: Source, bucket: Bucket, prefix: str, scratch: Path) -> dict[str, Any]:
    """Checked out first, so that the same files are refused as on any other platform."""
    checkout(source.repo, source.tree, scratch)
    links = {path: str((scratch / path).readlink()) for path in source.tree.files if (scratch / path).is_symlink()}

    def upload(path: str) -> tuple[str, dict[str, Any]]:
        file = scratch / path
        bucket.upload(prefix + path, file)
        executable = os.access(file, os.X_OK) and bool(file.stat().st_mode & 0o100)
        return path, {"sha256": _sha256(file.read_bytes()), "executable": executable}

    return {"files": dict(at_once(upload, [path for path in source.tree.files if path not in links])), "links": links}


def _mount(mount: Mount, bucket: Bucket, store: CloudStore, below: str) -> dict[str, Any]:
    where = "/".join(part for part in (enter.directory(mount.variable), mount.name) if part)
    files = {
        file.path: {"sha256": file.digest.removeprefix("sha256:"), "executable": file.executable}
        for file in store.copy_tree(mount.digest, f"{below}/{where}", bucket)
    }
    return {
        "variable": mount.variable,
        "name": mount.name,
        "below": where,
        "files": files,
        "empty": store.manifest(mount.digest).empty,
    }


# ---------------------------------------------------------------------------------------------------- out


def told(bucket: Bucket, out: str) -> Told | None:
    """What the job said at its end; None if it did not come so far. Raises PlatformError if it cannot be read."""
    data = bucket.read(f"{out}/outcome.json")
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Told)
    except msgspec.DecodeError as error:
        raise PlatformError(f"gs://{bucket.name}/{out}/outcome.json is not what a job writes: {error}") from error


def ingest(job: JobSpec, outcome: Told, bucket: Bucket, store: Store, out: str, scratch: Path) -> dict[str, Digest]:
    """The job's outputs, verified, in the store. Raises StepError for what is missing or has no plain name."""
    collected: dict[str, Digest] = {}
    for output in job.outputs:
        written = outcome.outputs.get(output.variable)
        if written is None:
            if output.required:
                raise nothing_written(job, output)
            continue
        fault = _fault(output, written)
        if fault:
            raise StepError(f"{step_of(job)} wrote to {output.variable} what cannot be stored: {fault}")
        path = scratch / enter.directory(output.variable)
        _download(written, bucket, f"{out}/{output.variable}", path)
        collected[output.variable] = store.put_tree(path) if output.kind == "directory" else store.put_file(path)
    return collected


def nothing_written(job: JobSpec, output: Output) -> StepError:
    hint = f"write it to the {output.kind} that the variable {output.variable} names"
    return StepError(f"{step_of(job)} wrote nothing to {output.variable}", hint)


def _fault(output: Output, written: Written) -> str:
    """Why these names must not be laid out on our disk; "" if they may."""
    if output.kind == "file":
        return "" if list(written.files) == [""] and not written.empty else "it is not one file"
    for name in (*written.files, *written.empty):
        if any(part in ("", ".", "..") for part in name.split("/")) or re.search(r"[\x00-\x1f\x7f]", name):
            return f"a file with the strange name {name[:80]!r}"
    parents = {name[:end] for name in (*written.files, *written.empty) for end in _slashes(name)}
    clash = parents & written.files.keys()
    return f"{min(clash)[:80]!r} is both a file and a directory" if clash else ""


def _slashes(name: str) -> list[int]:
    return [index for index, char in enumerate(name) if char == "/"]


def _download(written: Written, bucket: Bucket, prefix: str, path: Path) -> None:
    def one(name: str) -> None:
        file, wanted = (path / name, written.files[name]) if name else (path, written.files[name])
        source = f"{prefix}/{name}" if name else prefix
        bucket.download(source, file)
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != wanted.sha256:
            hint = "who else writes below jobs/ in the bucket? run it again"
            raise PlatformError(f"gs://{bucket.name}/{source} is not what the job wrote", hint)
        file.chmod(0o755 if wanted.executable else 0o644)

    for name in (*written.files, *(f"{name}/" for name in written.empty)):
        (path / name if name.endswith("/") else (path / name).parent).mkdir(parents=True, exist_ok=True)
    at_once(one, written.files)


# ---------------------------------------------------------------------------------------------------- small


def step_of(job: JobSpec) -> str:
    """What people call the job: the last word of its name."""
    return job.name.rpartition("/")[2]


def at_once(do: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(do, items))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
