"""Where code of a push runs: in bubblewrap, as its own user, seeing what was declared and nothing else.

Seen from inside: the system's programs and libraries read-only, the interpreter of images, a private /tmp, /dev and
/proc, and the given paths. No other process, no network unless asked for, no home, no setuid.
"""

from __future__ import annotations

import abc
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mawasu.errors import PlatformError, StepError

USER = 64007
"""The user of sandboxed code: no person and no service of a distribution has it (Debian policy 9.2.2: 60000-64999)."""

_ETC = Path(__file__).parent / "etc"  # passwd, group and hosts as code in the sandbox sees them
_SYSTEM = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "ssl/certs", "ssl/openssl.cnf")
_CERTIFICATES = ("ca-certificates", "pki/tls", "pki/ca-trust/extracted")  # where Debian and Fedora keep the rest
_ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEFAULT_TMP = 2**30

# Read by the dynamic loader and by libc before a program's first line, so also by bwrap and setpriv, which are root.
_LOADER = re.compile(r"LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_.*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Bind(NamedTuple):
    """A path of the machine and where code in the sandbox finds it."""

    source: Path
    target: Path


class Sandbox(abc.ABC):
    """How a command is started. `name` is for people and records; `closed` says whether it keeps anything out."""

    name: str
    closed: bool

    @abc.abstractmethod
    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        read_only: Sequence[Path | Bind],
        writable: Sequence[Path | Bind],
        environ: Mapping[str, str],
        network: bool,
        memory: int | None,
    ) -> list[str]:
        """The command that does `argv` in the sandbox: to be executed with exactly `environ` as its environment
        (which is not in the returned list, since everybody may read a command line), from a thread that lives as long
        as the command: the sandbox ends with it. `memory` in bytes bounds /tmp. Raises StepError for variables
        that would reach programs outside the sandbox.
        """

    @abc.abstractmethod
    def own(self, path: Path) -> None:
        """Make `path` and all below it the property of the code's user, before code runs there."""

    @abc.abstractmethod
    def shown(self, source: Path, target: Path) -> Path:
        """Where code finds `source` when it is bound to `target`."""

    @staticmethod
    def detect(trust_pushers: bool) -> Sandbox:
        """The sandbox of this machine, tried once per process. Raises PlatformError if there is none and pushers are
        not trusted.
        """
        return Direct() if trust_pushers else _found()


class Direct(Sandbox):
    """No sandbox: whoever can push is trusted like the user who runs mawasu."""

    name = "none (pushers are trusted)"
    closed = False

    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        read_only: Sequence[Path | Bind],
        writable: Sequence[Path | Bind],
        environ: Mapping[str, str],
        network: bool,
        memory: int | None,
    ) -> list[str]:
        _judge(environ, loader=False)
        return ["/bin/sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", str(cwd), *argv]

    def own(self, path: Path) -> None:
        """It is ours already."""

    def shown(self, source: Path, target: Path) -> Path:
        return source


class Bubblewrap(Sandbox):
    """bubblewrap (bwrap(1), 0.7 or newer). Run by root, code gets its own user; otherwise a user namespace."""

    name = "bubblewrap"
    closed = True

    def __init__(self, bwrap: str, *, root: bool) -> None:
        self._bwrap = bwrap
        self._root = root

    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        read_only: Sequence[Path | Bind],
        writable: Sequence[Path | Bind],
        environ: Mapping[str, str],
        network: bool,
        memory: int | None,
    ) -> list[str]:
        _judge(environ, loader=True)
        size = str((memory or 2 * _DEFAULT_TMP) // 2)
        mounts = _Mounts(_base(network))
        mounts.add("--perms", "1777", "--size", size, "--tmpfs", "/tmp")  # noqa: S108 - one of its own
        mounts.add("--perms", "1777", "--size", size, "--tmpfs", "/dev/shm")  # noqa: S108 - semaphores live here
        for prefix in interpreter_paths():
            mounts.bind("--ro-bind", Bind(prefix, prefix))
        for path in read_only:
            mounts.bind("--ro-bind", _bind(path))
        for path in writable:
            mounts.bind("--bind", _bind(path))
        mounts.add("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(cwd))
        return [self._bwrap, *self._namespaces(network), *mounts.options, "--", *self._as_user(), *argv]

    def own(self, path: Path) -> None:
        if not self._root:
            return
        os.chown(path, USER, USER, follow_symlinks=False)
        for top, directories, files in os.walk(path):
            for name in (*directories, *files):
                os.chown(os.path.join(top, name), USER, USER, follow_symlinks=False)  # noqa: PTH118 - thousands of them

    def shown(self, source: Path, target: Path) -> Path:
        return target

    def _namespaces(self, network: bool) -> list[str]:
        options = ["--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        options += ["--hostname", "mawasu"]
        if not network:
            options.append("--unshare-net")
        if self._root:  # mounts are made by root, who then becomes somebody else for good
            return [*options, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        return [*options, "--unshare-user", "--uid", str(USER), "--gid", str(USER)]

    def _as_user(self) -> list[str]:
        if not self._root:
            return []
        user = ["--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
        return ["/usr/bin/setpriv", *user, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"]


class _Mounts:
    """Options of bwrap in their order. Parents of a mount are made first, open to all: bwrap would give them the
    mode of what is bound, and code has another user.
    """

    def __init__(self, options: Iterable[str]) -> None:
        self.options = list(options)
        self._there = {Path("/"), Path("/usr"), Path("/etc"), Path("/tmp"), Path("/dev"), Path("/proc")}  # noqa: S108

    def add(self, *options: str) -> None:
        self.options += options

    def bind(self, how: str, bind: Bind) -> None:
        for parent in reversed(bind.target.parents):
            if parent not in self._there and not parent.is_relative_to("/usr"):
                self.add("--perms", "0755", "--dir", str(parent))
                self._there.add(parent)
        self.add(how, str(bind.source), str(bind.target))


@functools.cache
def _base(network: bool) -> tuple[str, ...]:
    """The system: programs, libraries, and of /etc what they cannot do without."""
    options = ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/etc"]
    for root in _ROOTS:
        path = Path("/") / root
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    options += ["--perms", "0755", "--dir", "/etc/ssl", "--perms", "0755", "--dir", "/etc/pki"]
    for name in (*_SYSTEM, *_CERTIFICATES):
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ("passwd", "group"):
        options += ["--ro-bind", str(_ETC / name), f"/etc/{name}"]
    if network:
        for name in ("resolv.conf", "hosts", "nsswitch.conf"):
            options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    else:
        options += ["--ro-bind", str(_ETC / "hosts"), "/etc/hosts"]
    return tuple(options)


@functools.cache
def interpreter() -> Path:
    """The Python that images are made from: the one mawasu's own environment stands on."""
    found: str = getattr(sys, "_base_executable", None) or sys.executable
    return Path(found).resolve()


@functools.cache
def interpreter_paths() -> tuple[Path, ...]:
    """What that Python needs outside /usr."""
    prefixes = [Path(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix)]
    prefixes += [prefix.resolve() for prefix in prefixes] + [interpreter().parent.parent]
    return tuple(dict.fromkeys(prefix for prefix in prefixes if not prefix.is_relative_to("/usr")))


def _bind(path: Path | Bind) -> Bind:
    return path if isinstance(path, Bind) else Bind(path, path)


def _judge(environ: Mapping[str, str], *, loader: bool) -> None:
    for name in environ:
        if not _NAME.fullmatch(name):
            raise StepError(f"{name!r} is no name for a variable", "use letters, digits and _")
        if loader and _LOADER.fullmatch(name):
            raise StepError(
                f"the variable {name} may not be set from outside the sandbox",
                f"set it in the command itself: {name}=… python …",
            )


@functools.cache
def _found() -> Sandbox:
    return tried(shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin"))


def tried(bwrap: str | None) -> Sandbox:
    """The sandbox that this bwrap gives, once a command has run in it: being installed says little, kernels and
    containers forbid namespaces. Raises PlatformError with what it said.
    """
    otherwise = "or start with `mawasu up --trust-pushers`: whoever can push then runs code as you"
    if bwrap is None:
        raise PlatformError("bubblewrap is not installed", f"`apt-get install bubblewrap`, {otherwise}")
    sandbox = Bubblewrap(bwrap, root=os.getuid() == 0)
    test = ["/bin/sh", "-c", "read -r line </etc/passwd"]
    argv = sandbox.wrap(test, cwd=Path("/"), read_only=(), writable=(), environ={}, network=False, memory=None)
    done = subprocess.run(argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        hint = f"allow user namespaces or run as root, {otherwise}"
        raise PlatformError(f"bubblewrap does not work here: {said}", hint)
    return sandbox
