"""`mawasu up`: start the daemon in the background, and make the repository one stands in a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mawasu.cli.arguments import Verbs, whole


def register(verbs: Verbs) -> None:
    verb = verbs.add("up", up, "Start mawasu here; in a git repository, also make it a place to push to.")
    verb.add_argument("--project", help="Make an empty project of this name (on a server).")
    verb.add_argument("--port", type=whole(1, 65535), help="The gateway's port on loopback (8080; remembered).")
    verb.add_argument("--builds", type=whole(1), help="How many builds at once (2; remembered).")
    help = "A directory below which data sets with a `path:` may lie (remembered); may be said again."
    verb.add_argument("--data", type=Path, action="append", help=help)
    help = "Where answers are kept for all replicas, as redis://[user:password@]host (remembered; `none`: nowhere)."
    verb.add_argument("--redis", metavar="URL", help=help)
    help = "A port on loopback where Prometheus reads the metrics of all replicas (remembered; 0: none)."
    verb.add_argument("--metrics", metavar="PORT", type=whole(0, 65535), help=help)
    verb.flag("--trust-pushers", dest="trust_pushers", help="Run pushed code without a sandbox.")
    verb.json()


def up(
    project: str | None,
    port: int | None,
    builds: int | None,
    data: list[Path] | None,
    redis: str | None,
    metrics: int | None,
    trust_pushers: bool,
    as_json: bool,
) -> None:
    from mawasu.cli.context import home, is_up
    from mawasu.cli.output import emit, say
    from mawasu.errors import UsageError

    running = is_up()
    started = running is None
    if running is not None and any(told is not None for told in (port, builds, data, redis, metrics)):
        raise UsageError("mawasu is up already, with what it was told then", "`mawasu down --keep-serving` first")
    found = running or start(port, builds, data, redis, metrics, trust_pushers)
    remote = _project(project)
    if as_json:
        emit({**found, "home": str(home().path), "started": started, "remote": str(remote) if remote else None})
        return
    say(f"mawasu is up{'' if started else ' already'}: {found['url']}  (home {home().path})")
    if remote is not None:
        say(f"push to it:  git push {_name_of_remote(remote)}")
    else:
        say("in a repository with a mawasu.yaml, `mawasu up` makes it a project; `mawasu init NAME` writes a first one")


def start(
    port: int | None,
    builds: int | None,
    data: list[Path] | None,
    redis: str | None,
    metrics: int | None,
    trust_pushers: bool,
) -> dict[str, Any]:
    """Start the daemon detached from this terminal; return what it says when it is ready."""
    import json
    import os
    import subprocess
    import sys

    from mawasu.cli.context import home
    from mawasu.daemon.settings import Settings, load, save
    from mawasu.errors import MawasuError, PlatformError

    at = home()
    known = load(at)
    roots = tuple(str(path.absolute()) for path in data) if data else known.data
    kept = known.redis if redis is None else _redis(redis)
    save(
        at,
        Settings(
            port or known.port, builds or known.builds, roots, kept, known.metrics if metrics is None else metrics
        ),
    )
    reading, writing = os.pipe()
    log = (at.path / "daemon.log").open("ab")
    trust = "trust" if trust_pushers else "sandbox"
    argv = [sys.executable, "-m", "mawasu.daemon", str(at.path), trust, str(writing)]
    subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writing], start_new_session=True, cwd=at.path
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        line = pipe.readline()
    if not line:
        raise PlatformError("the daemon ended before it was ready", f"see {at.path}/daemon.log")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        error = MawasuError(said["error"], said["hint"])
        error.exit_status = said["exit_status"]
        raise error
    return said


def _redis(url: str) -> str:
    from mawasu.errors import UsageError
    from mawasu.serving.redis import Address

    if url == "none":
        return ""
    try:
        Address(url)
    except (ValueError, OSError) as error:
        raise UsageError(f"--redis: {error}", "for example redis://:password@10.0.0.3:6379/0") from None
    return url


def _project(name: str | None) -> Path | None:
    """The bare repository to push to: of the checkout one stands in (which gets it as a remote), or by name."""
    from mawasu.cli.context import checkout_root, home
    from mawasu.errors import UsageError
    from mawasu.triggers.projects import create_project, project_name

    if name is not None:
        return create_project(home(), name)
    try:
        root = checkout_root()
    except UsageError:
        return None
    if not any(root.glob("mawasu.yaml")) and not any(root.glob("*/mawasu.yaml")):
        return None
    bare = create_project(home(), project_name(root.name))
    _add_remote(root, bare)
    return bare


def _add_remote(root: Path, bare: Path) -> None:
    import subprocess

    remotes = subprocess.run(["git", "-C", root, "remote"], capture_output=True, text=True, check=True).stdout.split()
    verb = "set-url" if "mawasu" in remotes else "add"
    subprocess.run(["git", "-C", root, "remote", verb, "mawasu", bare], check=True)


def _name_of_remote(bare: Path) -> str:
    from mawasu.cli.context import checkout_root
    from mawasu.errors import UsageError

    try:
        checkout_root()
    except UsageError:
        return f"{bare} BRANCH"
    return "mawasu BRANCH"
