"""Projects: one bare repository each, which people push to or which follows another remote."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import msgspec

import mawasu
from mawasu.errors import PlatformError, UsageError
from mawasu.git.refs import shown
from mawasu.git.repository import init_bare
from mawasu.home import Home
from mawasu.triggers.hook import FOLLOWS
from mawasu.words import Value

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_SUFFIX = ".git"

# `-I` and `-S`: nothing of the pushing user's environment or site reaches the hook, and it starts faster; so the
# directory of the package has to be said. Only the first hook can refuse a push; after the second it is stored.
_HOOK = """\
#!/bin/sh
# Written by mawasu, again at every `mawasu up`: changes are lost.
python={python}
package={package}
start='import sys; sys.path.insert(0, sys.argv[1]); from mawasu.triggers.hook import main; main()'
if [ -x "$python" ] && [ -f "$package/mawasu/triggers/hook.py" ]; then
  exec "$python" -I -S -c "$start" "$package" {kind} {socket}
fi
echo "mawasu is no longer installed in $package: {otherwise}"
exit {status}
"""
_KINDS = {
    "pre-receive": (1, "run mawasu up, which repairs this, and push again"),
    "post-receive": (0, "your push is safe and will be picked up by mawasu up"),
}


class Watch(Value, frozen=True):
    """What a project follows, and how often it looks, in seconds."""

    url: str
    interval: float = 60.0


class Project(Value, frozen=True):
    """`repo` is the path of its bare repository; `watch` is None for a project that people push to."""

    name: str
    repo: str
    watch: Watch | None = None


def create_project(home: Home, name: str) -> Path:
    """The project's bare repository, made unless it is there, its hooks as they should be.

    A name is 1 to 63 of a-z, 0-9 and . _ - (these three not first or last). Raises UsageError for any other.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((_SUFFIX, ".lock")):
        raise UsageError(
            f"{shown(name)} cannot be the name of a project",
            "use a-z, 0-9 and . _ - between them, at most 63 characters",
        )
    repo = home.repos / f"{name}{_SUFFIX}"
    init_bare(repo)
    install_hooks(home, repo)
    return repo


def project_name(folder: str) -> str:
    """The name a project gets from a folder's or a repository's: what is allowed of it."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:63].strip("-")
    return name or "project"


def install_hooks(home: Home, repo: Path) -> None:
    """Write the hooks for this interpreter, this installation and this home. Also done at every start of the daemon."""
    package = Path(mawasu.__file__).parent.parent.absolute()
    for kind, (status, otherwise) in _KINDS.items():
        script = _HOOK.format(
            python=_quoted(sys.executable),
            package=_quoted(os.fspath(package)),
            kind=kind,
            socket=_quoted(os.fspath(home.daemon_socket)),
            status=status,
            otherwise=otherwise,
        )
        _write(repo / "hooks" / kind, script.encode(), 0o755)


def projects(home: Home) -> list[Project]:
    """All projects of the home, by name. Raises PlatformError for a record that cannot be read."""
    if not home.repos.is_dir():
        return []
    found = sorted(path for path in home.repos.iterdir() if path.suffix == _SUFFIX and (path / "HEAD").is_file())
    return [
        Project(path.name.removesuffix(_SUFFIX), os.fspath(path), _watch(path))
        for path in found
        if not path.name.startswith(".")
    ]


def watch_project(home: Home, name: str, watch: Watch) -> Project:
    """Make a project follow a remote (whose URL `watch.check_url` has taken); again: the new record stands."""
    repo = create_project(home, name)
    _write(repo / FOLLOWS, msgspec.json.encode(watch), 0o600)
    return Project(name, os.fspath(repo), watch)


def unwatch_project(home: Home, name: str) -> bool:
    """Stop following; the repository and its branches stay. False if the project followed nothing."""
    record = home.repos / f"{name}{_SUFFIX}" / FOLLOWS
    try:
        record.unlink()
    except FileNotFoundError:
        return False
    return True


def _watch(repo: Path) -> Watch | None:
    try:
        return msgspec.json.decode((repo / FOLLOWS).read_bytes(), type=Watch)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise PlatformError(f"{repo / FOLLOWS} cannot be read: {error}", "run `mawasu watch URL` again") from error


def _quoted(text: str) -> str:
    """One word of sh, whatever stands in it (shlex.quote leaves harmless words bare; in a script all look alike)."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file at once: a push that runs now sees the old or the new one."""
    path.parent.mkdir(exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    Path(unfinished).replace(path)
