"""Images as uv environments: one directory per key, made once, in the sandbox, from a lock."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mawasu.errors import CancelledError, PlatformError, StepError
from mawasu.home import Home
from mawasu.platforms.local import linux, processes
from mawasu.platforms.local.files import locked, replace
from mawasu.platforms.local.limits import Limiter, Limits
from mawasu.platforms.local.logs import Printed
from mawasu.platforms.local.mirrors import Mirrors
from mawasu.platforms.local.processes import End
from mawasu.platforms.local.sandbox import Bind, Sandbox, interpreter
from mawasu.platforms.local.workspaces import remove, workspace
from mawasu.ports import Cancel, Log
from mawasu.words import Digest, Image, ImageSpec

_COMPLETE = ".complete"
_LIMITS = Limits(memory=4 * 2**30, processes=2048)
_TIMEOUT = 1800.0  # seconds for each command of uv
_INSIDE = Path("/mawasu")

# The locked packages and nothing else: no project (its files are not here), no development groups.
_SYNC = ("sync", "--frozen", "--no-install-project", "--no-install-workspace", "--no-default-groups")
_PIP_SYNC = ("pip", "sync", "--require-hashes")

_NEEDS_BUILD = re.compile(
    r"--no-build|building from source is disabled|source distributions is disabled", re.IGNORECASE
)
_HINTS = (
    (r"hash mismatch", "the index has other bytes than were locked; if that is meant, lock again"),
    (r"incompatible with the project's Python", "mawasu's own Python makes images: widen requires-python, or run mawasu"
     " with another Python"),
    (r"must have (their versions pinned|a hash)|--require-hashes", "pin with hashes: uv pip compile --generate-hashes"),
    (r"dns error|error sending request|failed to fetch|timed out", "is the package index reachable from here? uv's own"
     " settings (UV_DEFAULT_INDEX, SSL_CERT_FILE, HTTPS_PROXY) count"),
    (r"no solution found|unsatisfiable", "lock again with uv, on this kind of machine and Python"),
)  # fmt: skip


def python(image: Image) -> Path:
    """The interpreter of an image."""
    return Path(image.ref) / "bin" / "python"


class LocalImages:
    """Implements `ports.Images`."""

    def __init__(self, home: Home, sandbox: Sandbox, limiter: Limiter) -> None:
        self._home = home
        self._sandbox = sandbox
        self._limiter = limiter

    def has(self, key: Digest) -> bool:
        return (self._path(key) / _COMPLETE).is_file()

    def ensure(self, spec: ImageSpec, log: Log, cancel: Cancel) -> Image:
        """Make the image unless it is there; of several who ask at once, one makes it.

        Raises StepError with what uv said, CancelledError, PlatformError.
        """
        path = self._path(spec.key)
        if spec.dockerfile and not spec.lock:
            hint = "give a `lock` beside it; Google Cloud goes on taking the Dockerfile"
            raise StepError(f"{spec.dockerfile}: one machine has no engine that makes images of Dockerfiles", hint)
        if not self.has(spec.key):
            with locked(self._home.images / ".locks" / path.name, cancel=cancel):
                if not self.has(spec.key):
                    self._make(spec, path, log, cancel)
        return Image(spec.key, str(path))

    def _make(self, spec: ImageSpec, path: Path, log: Log, cancel: Cancel) -> None:
        try:
            with workspace(self._home.workspaces) as scratch:
                _Making(self._home.uv_cache, self._sandbox, self._limiter, log, cancel).make(spec, path, scratch)
            linux.flush(path)  # or a power cut could leave a mark of completeness on files that are not
            replace(path / _COMPLETE, f"{spec.name}\n".encode())  # last of all
        except OSError as error:
            remove(path)
            raise PlatformError(f"cannot make the image in {path}: {error.strerror}", "is the disk full?") from error
        except BaseException:
            remove(path)
            raise

    def _path(self, key: Digest) -> Path:
        return self._home.images / key.removeprefix("sha256:")


class _Making:
    """One making of one image. Two ways, so that no code of a package can touch what other images are made from:
    wheels only (none of their code runs) with the shared cache; and, only where a package has no wheel, with builds
    and a cache of its own that is thrown away.
    """

    def __init__(self, cache: Path, sandbox: Sandbox, limiter: Limiter, log: Log, cancel: Cancel) -> None:
        self._cache = cache
        self._sandbox = sandbox
        self._limiter = limiter
        self._log = log
        self._cancel = cancel
        self._mirrors = Mirrors.of(os.environ)

    def make(self, spec: ImageSpec, path: Path, scratch: Path) -> None:
        """Fill `path`, using the empty directory `scratch`."""
        inside = scratch / "inside"
        for name in ("project", "home", "cache"):
            (inside / name).mkdir(parents=True)
        _lay_out(spec, inside / "project")
        self._mirrors.copy_config(inside / "config")
        if not self._cache.exists():
            self._cache.mkdir(parents=True)
            self._give(self._cache)
        self._give(inside)
        said = self._attempt(spec, path, inside, self._cache, ["--no-build"])
        if said is not None and _NEEDS_BUILD.search(said):
            self._log.write("a package has no wheel: building it, with a cache that is thrown away")
            said = self._attempt(spec, path, inside, None, [])
        if said is not None:
            raise _refusal(spec, said)
        if spec.lock:
            self._compile(path)

    def _give(self, path: Path) -> None:
        path.chmod(0o755)
        self._sandbox.own(path)

    def _attempt(
        self, spec: ImageSpec, path: Path, inside: Path, cache: Path | None, options: Sequence[str]
    ) -> str | None:
        """Make the environment from nothing; None, or what uv said when it failed. No `cache`: a private one."""
        remove(path)
        path.mkdir(parents=True)
        self._give(path)
        shown = self._sandbox.shown(inside, _INSIDE)
        environ = {
            **self._mirrors.environ,
            "HOME": str(shown / "home"),
            "TMPDIR": str(shown / "home"),
            "XDG_CONFIG_HOME": str(shown / "config"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": str(cache or shown / "cache"),
            "UV_LINK_MODE": "copy",  # no bytes shared between the cache and what code of packages may write
            "UV_NO_PROGRESS": "1",
            "UV_PROJECT_ENVIRONMENT": str(path),
            "UV_PYTHON_DOWNLOADS": "never",
        }
        cwd = (shown / "project" / spec.lock).parent if spec.lock else shown / "project"
        writable: list[Path | Bind] = [Bind(inside, shown), path, *([cache] if cache else [])]
        for command in _commands(spec, path, options):
            status, said = self._run(command, cwd, environ, writable, network=True)
            if status != 0:
                return said
        return None

    def _compile(self, path: Path) -> None:
        """Bytecode, so that no job has to; without `site`, whose .pth files are code of packages. Tests of packages,
        a third of some, can wait until somebody imports them.
        """
        options = ["-qq", "-j", "0", "-x", "/tests/"]
        command = [str(interpreter()), "-I", "-S", "-m", "compileall", *options, str(path / "lib")]
        self._run(command, path, {"LANG": "C.UTF-8"}, [path], network=False)  # what is no valid Python stays as it is

    def _run(
        self,
        argv: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        writable: Sequence[Path | Bind],
        *,
        network: bool,
    ) -> tuple[int, str]:
        """The status of a command in the sandbox, and what it printed. Raises StepError, CancelledError."""
        heard = _Heard(self._log)
        printed = Printed(heard, self._mirrors.secrets)
        wrapped = self._sandbox.wrap(
            argv,
            cwd=cwd,
            read_only=[uv(), *self._mirrors.paths],
            writable=writable,
            environ=environ,
            network=network,
            memory=_LIMITS.memory,
        )
        ended = processes.run(
            wrapped,
            environ=environ,
            group=self._limiter.around(_LIMITS),
            timeout=_TIMEOUT,
            cancel=self._cancel,
            output=printed.take,
        )
        printed.finish()
        if ended.end is End.CANCEL:
            raise CancelledError("making the image was given up")
        if ended.end is not End.EXIT:
            raise StepError(f"the image could not be made: {ended.end.value}", "see the log of the step")
        return ended.status, "\n".join(heard.lines)


class _Heard:
    """A log that remembers what went through it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.lines: list[str] = []

    @property
    def path(self) -> Path | None:
        return self._log.path

    def write(self, line: str) -> None:
        self.lines = [*self.lines[-200:], line]
        self._log.write(line)


def uv() -> Path:
    """The uv that mawasu depends on."""
    from uv import find_uv_bin

    return Path(find_uv_bin())


def _commands(spec: ImageSpec, path: Path, options: Sequence[str]) -> list[list[str]]:
    """What makes the environment `path`; run where the lock lies."""
    commands = [[str(uv()), "venv", "--quiet", "--python", str(interpreter()), str(path)]]
    name = PurePosixPath(spec.lock).name
    if name == "uv.lock":
        commands.append([str(uv()), *_SYNC, "--python", str(interpreter()), *options])
    elif name:
        commands.append([str(uv()), *_PIP_SYNC, "--python", str(path / "bin/python"), *options, name])
    return commands


def _lay_out(spec: ImageSpec, project: Path) -> None:
    for name, data in spec.files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise StepError(f"{name} is outside the repository", "a lock can only name files of the repository")
        (project / pure).parent.mkdir(parents=True, exist_ok=True)
        (project / pure).write_bytes(data)


def _refusal(spec: ImageSpec, said: str) -> StepError:
    """What uv said, as one line and a hint."""
    start = re.search(r"^\s*(error:|×)", said, re.MULTILINE)
    text = said[start.start() :] if start else "\n".join(said.splitlines()[-5:])
    text = " ".join(re.sub(r"^[\s×│├╰─▶┬·]*", "", line) for line in text.splitlines()).strip()
    hint = next(
        (hint for pattern, hint in _HINTS if re.search(pattern, text, re.IGNORECASE)), "see the log of the step"
    )
    return StepError(f"{spec.lock or 'the image'}: {text[:800]}", hint)
