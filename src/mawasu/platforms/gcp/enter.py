"""What runs in a job's container: lays out a workspace, sets the contract's variables (design §4), runs the command.

Runs in the user's image, so: one file, standard library only, Python 3.9 or later. It finds its files in the bucket
that Vertex AI mounts at `/gcs/<bucket>` (cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system) and works
on local disk: nothing asks the mount for locks, links or renames. What the bucket gives is checked against the digests
in the specification, whose own digest came with the job.

    enter.py SPECIFICATION SHA256 OUT

`SPECIFICATION` is a file beside `source/`, `data/` and what else is mounted; `OUT` is the directory that outputs are
written to, and at last `outcome.json`.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

CAP = 10_000_000  # bytes of output kept
LONGEST_LINE = 65_536  # a line without end is cut here
SHORTEST_SECRET = 4  # shorter values would blacken ordinary words
END = "[mawasu: end of log]"
THREADS = 16
PIECE = 2**20
LONGEST_NAME = 1024  # bytes of an object's name in Cloud Storage
TERM_GRACE = 20.0  # seconds that the command has to end by itself once the container is told to
REFUSED = 70  # our own exit status when the command could not be started (sysexits.h: EX_SOFTWARE)

Spec = dict[str, Any]


class Refused(Exception):  # noqa: N818
    """Something is not as it must be: one line, and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# ---------------------------------------------------------------------------------------------------- laying out


def lay_out(spec: Spec, bucket: Path, place: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Make the workspace below `place`: the contract's variables, and where each output is to be written."""
    environ: dict[str, str] = {}
    fetch(bucket / "source", place / "files", spec["source"])
    for path, target in spec["source"].get("links", {}).items():
        (place / "files" / path).symlink_to(target)
    (place / "files" / spec["root"]).mkdir(parents=True, exist_ok=True)
    (place / "tmp").mkdir()
    for mount in spec["mounts"]:
        base = place / directory(mount["variable"])
        fetch(bucket / mount["below"], base / mount["name"], mount)
        environ[mount["variable"]] = str(base)
    outputs: dict[str, Path] = {}
    for output in spec["outputs"]:
        variable = output["variable"]
        path = place / directory(variable)
        path.mkdir()
        if output["kind"] == "file":
            path = path / directory(variable)
        outputs[variable] = path
        environ.update(dict.fromkeys([variable, *output["also"]], str(path)))
    if spec["params"] is not None:
        params = place / "params.json"
        params.write_text(json.dumps(spec["params"], sort_keys=True), encoding="utf-8")
        environ["MAWASU_PARAMS"] = str(params)
    return environ, outputs


def workspace() -> Path:
    """`/mawasu`, as on a machine of one's own: a path of a run in a model would make it different from run to run."""
    for place in (Path("/mawasu"), Path(tempfile.gettempdir()) / "mawasu"):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue  # the image has a user who may not
        if os.access(place, os.W_OK) and not any(place.iterdir()):
            return place
    return Path(tempfile.mkdtemp(prefix="mawasu-"))


def fetch(source: Path, target: Path, wanted: Spec) -> None:
    """Copy the files that `wanted` names, many at once, each verified."""
    target.mkdir(parents=True, exist_ok=True)
    files = wanted["files"]
    for path in {os.path.dirname(path) for path in files} | set(wanted.get("empty", [])):  # noqa: PTH120
        (target / path).mkdir(parents=True, exist_ok=True)
    at_once(lambda path: fetch_file(source / path, target / path, files[path]), files)


def fetch_file(source: Path, target: Path, wanted: Spec) -> None:
    sha256 = again(lambda: copy(source, target), source)
    if sha256 != wanted["sha256"]:
        raise Refused(f"{source} is not what was stored: its sha256 is {sha256}", "run it again")
    target.chmod(0o755 if wanted.get("executable") else 0o644)


def again(do: Callable[[], str], path: Path) -> str:
    """Mounted buckets fail for a moment now and then."""
    for attempt in range(3):
        try:
            return do()
        except OSError as error:
            if attempt == 2 or error.errno in (errno.ENOENT, errno.ENOSPC, errno.EACCES):
                hint = "give it more gcp.training.disk" if error.errno == errno.ENOSPC else "run it again"
                raise Refused(f"cannot copy {path}: {error.strerror}", hint) from error
            time.sleep(1 + attempt)
    raise AssertionError("the last attempt returns or raises")


def copy(source: Path, target: Path) -> str:
    """One file, from its beginning to its end; the sha256 of what was copied, in hex."""
    sha256 = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(PIECE):
            sha256.update(piece)
            writer.write(piece)
    return sha256.hexdigest()


def at_once(do: Callable[[str], Any], items: Iterable[str]) -> None:
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(do, item) for item in items]:
            done.result()


# ---------------------------------------------------------------------------------------------------- environment


def settings(spec: Spec, place: Path) -> dict[str, str]:
    """What every command is told, whatever it is for."""
    return {
        "HOME": str(place / "tmp"),
        "TMPDIR": str(place / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "MAWASU_SEED": str(spec["seed"]),
        **pins(spec["threads"]),
    }


def pins(threads: int) -> dict[str, str]:
    """Threads, and the BLAS kernels that every machine of an architecture has, so that sums are taken in one order."""
    found = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], str(threads))
    machine = os.uname().machine
    if machine == "x86_64" and " avx2 " in read("/proc/cpuinfo"):
        found.update({"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2"})
    elif machine == "x86_64":
        found.update({"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "COMPATIBLE"})
    elif machine == "aarch64":
        found.update({"OPENBLAS_CORETYPE": "ARMV8"})
    return found


def is_chief() -> bool:
    """Whether this is the one replica of worker pool 0 (CLUSTER_SPEC: distributed training's guide)."""
    task = json.loads(os.environ.get("CLUSTER_SPEC") or "{}").get("task", {})
    return str(task.get("type", "workerpool0")) == "workerpool0"


def secrets_of(references: dict[str, str]) -> dict[str, str]:
    """Values from Secret Manager, as the job's service account."""
    if not references:
        return {}
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    token = ask(url, {"Metadata-Flavor": "Google"}, "a token of the job's service account")["access_token"]
    endpoint = os.environ.get("MAWASU_GOOGLE_ENDPOINT", "").rstrip("/")
    base = f"{endpoint}/secretmanager.googleapis.com" if endpoint else "https://secretmanager.googleapis.com"
    found = {}
    for name, reference in references.items():
        answer = ask(f"{base}/v1/{reference}:access", {"Authorization": f"Bearer {token}"}, f"the secret {name}")
        found[name] = base64.b64decode(answer["payload"]["data"]).decode()
    return found


def ask(url: str, headers: dict[str, str], what: str) -> Any:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    for attempt in range(4):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in (429, 500, 502, 503, 504) or attempt == 3:
                    hints = {
                        403: "give mawasu-training roles/secretmanager.secretAccessor on it",
                        404: "give it a value",
                    }
                    raise Refused(f"cannot read {what}: status {error.code}", hints.get(error.code, "")) from error
        except OSError as error:
            if attempt == 3:
                raise Refused(f"cannot read {what}: {error}") from error
        time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


# ---------------------------------------------------------------------------------------------------- what is printed


class Printed:
    """Takes pieces of output, prints whole lines: without secrets, and only so much. `last` is the last full one.

    As `mawasu.platforms.local.logs` does it, which cannot be imported here.
    """

    def __init__(self, secrets: Iterable[str], cap: int = CAP) -> None:
        values = {line.strip().encode() for secret in secrets for line in secret.split("\n")}
        found = sorted((value for value in values if len(value) >= SHORTEST_SECRET), key=len, reverse=True)
        self._secret = re.compile(b"|".join(map(re.escape, found))) if found else None
        self._reach = len(found[0]) if found else 0
        self._room = self._cap = cap
        self._rest = b""
        self.last = ""

    def take(self, piece: bytes) -> None:
        """One piece, cut anywhere. What comes past the cap is dropped: the command must not wait for its log."""
        if self._room < 0:
            return
        self._rest += piece[: self._room]
        self._room -= len(piece)
        end = self._rest.rfind(b"\n") + 1
        if len(self._rest) - end > LONGEST_LINE:
            self._rest = self._hide(self._rest)
            end = len(self._rest) - self._reach  # what is kept may be the begin of a secret
        ready, self._rest = self._rest[:end], self._rest[end:]
        self._print(ready)
        if self._room < 0:
            self._rest = b""  # half a line; it might be half a secret
            say(f"[log capped at {self._cap / 1e6:g} MB]")

    def finish(self) -> None:
        ready, self._rest = self._rest, b""
        self._print(ready)

    def _print(self, data: bytes) -> None:
        if not data:
            return
        text = self._hide(data).decode(errors="replace")
        for raw in (text[:-1] if text.endswith("\n") else text).split("\n"):
            line = raw.rstrip("\r").rpartition("\r")[2]  # progress bars overwrite themselves
            self.last = line.strip() or self.last
            say(line)

    def _hide(self, data: bytes) -> bytes:
        return self._secret.sub(b"***", data) if self._secret else data


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------- running


class Command:
    """The user's command in a session of its own. `end` is exit, timeout or told (the container is to end)."""

    def __init__(self, command: str, cwd: Path, environ: dict[str, str], printed: Printed) -> None:
        self.end = "exit"
        self._printed = printed
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._told)

    def wait(self, timeout: float) -> int:
        """The shell's exit status. When it is over, every process that it started is, too."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                status = self._process.wait(max(0.0, min(1.0, deadline - time.monotonic())))
                break
            except subprocess.TimeoutExpired:
                if self.end == "exit" and time.monotonic() >= deadline:
                    self.end = "timeout"
                    self._signal(signal.SIGKILL)
        self._signal(signal.SIGKILL)
        if os.getpid() == 1:  # ours are all processes of the container, the ones that left their session too
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        self._reader.join(5)
        self._printed.finish()
        return status if status >= 0 else 128 - status

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 65_536):
            self._printed.take(piece)

    def _told(self, number: int, frame: object) -> None:
        self.end = "told"
        self._signal(number)
        killer = threading.Timer(TERM_GRACE, self._signal, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def killed_for_memory() -> int | None:
    """How many processes the kernel has killed for want of memory; None where it does not say."""
    match = re.search(r"^oom_kill (\d+)$", read("/proc/vmstat"), re.MULTILINE)
    return int(match[1]) if match else None


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


# ---------------------------------------------------------------------------------------------------- outputs


def judged(spec: Spec, outputs: dict[str, Path]) -> dict[str, Spec]:
    """What is to be copied, by variable. Raises Refused for what is missing or no plain file."""
    wanted: dict[str, Spec] = {}
    for output in spec["outputs"]:
        variable, path = output["variable"], outputs[output["variable"]]
        found = list(entries(spec["step"], variable, path))
        directory = output["kind"] == "directory"
        if not (any(path.iterdir()) if directory else path.is_file() and path.stat().st_size > 0):
            if output["required"]:
                hint = f"write it to the {output['kind']} that the variable {variable} names"
                raise Refused(f"{spec['step']} wrote nothing to {variable}", hint)
            continue
        empty = [name for name, is_directory in found if is_directory and name and not any((path / name).iterdir())]
        wanted[variable] = {"files": {name: {} for name, is_directory in found if not is_directory}, "empty": empty}
    return wanted


def entries(step: str, variable: str, path: Path) -> Iterator[tuple[str, bool]]:
    """Everything at and below `path`, by name from there (the file itself is ""); whether it is a directory."""
    found = [path] if path.is_symlink() or path.exists() else []
    for top, directories, files in os.walk(path):
        found += [Path(top) / name for name in (*directories, *files)]
    for one in found:
        name = "" if one == path else one.relative_to(path).as_posix()
        shown = os.fsencode(name).decode(errors="backslashreplace")
        mode = one.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
            raise Refused(f"{step} wrote {kind} to {variable}: {shown}", "write plain files and directories")
        if shown != name or re.search(r"[\x00-\x1f\x7f]", name):
            raise Refused(f"{step} wrote a file with a strange name to {variable}: {shown!r}", "give it a plain one")
        yield name, stat.S_ISDIR(mode)


def deliver(step: str, wanted: dict[str, Spec], outputs: dict[str, Path], out: Path) -> None:
    """Copy all outputs to the bucket, and write down their digests, sizes and executable bits in `wanted`."""
    for variable, found in wanted.items():
        source, target = outputs[variable], out / variable
        names = found["files"]
        for name in names:
            if len(os.fsencode(str(target / name))) > LONGEST_NAME:
                raise Refused(f"{step} wrote a name that is too long to {variable}: {name[:80]}…", "make it shorter")
        single = "" in names
        (target.parent if single else target).mkdir(parents=True, exist_ok=True)
        for path in sorted({os.path.dirname(name) for name in names}):  # noqa: PTH120
            if path:
                (target / path).mkdir(parents=True, exist_ok=True)

        def one(name: str, source: Path = source, target: Path = target, names: Spec = names) -> None:
            mine, theirs = (source / name, target / name) if name else (source, target)
            sha256 = again(lambda: copy(mine, theirs), theirs)
            facts = mine.stat()
            names[name] = {"sha256": sha256, "size": facts.st_size}
            if facts.st_mode & stat.S_IXUSR:
                names[name]["executable"] = True

        at_once(one, list(names))


def directory(variable: str) -> str:
    """A name in the workspace for what a variable tells: MAWASU_MODEL → model."""
    name = variable.lower()
    return name[len("mawasu_") :] if name.startswith("mawasu_") else name


# ---------------------------------------------------------------------------------------------------- all of it


def run(spec: Spec, bucket: Path, out: Path, chief: bool) -> dict[str, Any]:
    """Do the job; what `outcome.json` says of it."""
    place = workspace()
    contract, outputs = lay_out(spec, bucket, place)
    secrets = secrets_of(spec["secrets"])
    environ = {**os.environ, **spec["environ"], **secrets, **settings(spec, place), **contract}
    printed = Printed(secrets.values())
    killed = killed_for_memory()
    began = time.monotonic()
    command = Command(spec["command"], place / "files" / spec["root"], environ, printed)
    status = command.wait(spec["timeout"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome: dict[str, Any] = {
        "end": command.end,
        "status": status,
        "last": printed.last[:300],
        "seconds": round(time.monotonic() - began, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_memory": used.ru_maxrss * 1024,
        "blas": environ.get("OPENBLAS_CORETYPE", ""),
    }
    if status == 128 + signal.SIGKILL and command.end == "exit" and (killed is None or killed != killed_for_memory()):
        outcome["end"] = "memory"
    if outcome["end"] == "exit" and status == 0 and chief:
        try:
            wanted = judged(spec, outputs)
            deliver(spec["step"], wanted, outputs, out)
        except Refused as fault:
            return {**outcome, "end": "refused", "message": fault.message, "hint": fault.hint}
        outcome["outputs"] = wanted
    return outcome


def main(arguments: list[str]) -> int:
    specification, sha256, out = Path(arguments[0]), arguments[1], Path(arguments[2])
    chief = is_chief()
    told = out / "outcome.json"
    try:
        if chief and told.exists():  # Vertex AI starts a job again whose machine was lost
            told.unlink()
        text = specification.read_bytes()
        if hashlib.sha256(text).hexdigest() != sha256:
            raise Refused(f"{specification} is not what mawasu wrote", "run it again")
        outcome = run(json.loads(text), specification.parent, out, chief)
    except Refused as fault:
        outcome = {"end": "refused", "status": REFUSED, "message": fault.message, "hint": fault.hint}
    except OSError as error:
        outcome = {"end": "refused", "status": REFUSED, "message": f"the job could not be set up: {error}", "hint": ""}
    if outcome.get("message"):
        say(f"{outcome['message']} — {outcome['hint']}" if outcome["hint"] else outcome["message"])
    say(END)
    if chief:
        out.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps(outcome, sort_keys=True), encoding="utf-8")
    if outcome["end"] in ("exit", "memory", "refused"):
        return int(outcome["status"]) or (1 if outcome["end"] == "refused" else 0)
    return 124 if outcome["end"] == "timeout" else 143


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
