"""`mawasu up`: start the daemon in the background, and make the repository one stands in a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mawasu.cli.arguments import Verbs, whole

if TYPE_CHECKING:
    from mawasu.home import Home


def register(verbs: Verbs) -> None:
    verb = verbs.add("up", up, "Start mawasu here; in a git repository, also make it a place to push to.")
    verb.add_argument("--project", help="Make an empty project of this name (on a server).")
    verb.add_argument("--builds", type=whole(1), help="How many builds at once (2; remembered).")
    help = "A directory, or gs://BUCKET/PREFIX, below which data sets with a `path:` may lie (remembered); repeatable."
    verb.add_argument("--data", action="append", metavar="PLACE", help=help)
    help = "Where answers are kept for all replicas, as redis://[user:password@]host (remembered; `none`: nowhere)."
    verb.add_argument("--redis", metavar="URL", help=help)
    help = "A port on loopback where Prometheus reads the metrics of all replicas (remembered; 0: none)."
    verb.add_argument("--metrics", metavar="PORT", type=whole(0, 65535), help=help)
    help = "The collector that every request's trace is sent to, by OTLP/HTTP (remembered; `none`: nobody)."
    verb.add_argument("--traces", metavar="URL", help=help)
    verb.flag("--trust-pushers", dest="trust_pushers", help="Run pushed code without a sandbox.")
    verb.json()
    gateway = verb.add_argument_group("the gateway, all remembered")
    gateway.add_argument("--port", type=whole(1, 65535), help="Its port (8080).")
    gateway.add_argument(
        "--host", metavar="ADDRESS", help="Its IP address (127.0.0.1); any other than loopback needs TLS."
    )
    help = "Its certificate and chain, in PEM; read again when it changes."
    gateway.add_argument("--tls-cert", dest="tls_cert", type=Path, metavar="FILE", help=help)
    gateway.add_argument("--tls-key", dest="tls_key", type=Path, metavar="FILE", help="The certificate's private key.")
    help = "No TLS, whatever the address: for one behind a load balancer that ends TLS."
    gateway.add_argument("--plain", action="store_true", help=help)
    help = "Tell browsers to come by TLS alone for so long (0: say nothing)."
    gateway.add_argument("--hsts", type=whole(0), metavar="SECONDS", help=help)
    help = "How many load balancers in front append to X-Forwarded-For (0)."
    gateway.add_argument("--trusted-hops", dest="trusted_hops", type=whole(0), metavar="N", help=help)
    help = "The servers outside mawasu that OpenAPI documents may name as back ends (none), by commas; replaces all."
    gateway.add_argument("--back-ends", dest="back_ends", metavar="HOST[:PORT],…", help=help)


def up(project: str | None, trust_pushers: bool, as_json: bool, **options: Any) -> None:
    """`options`: what is remembered, by the names of `Said`."""
    from mawasu.cli.context import home, is_up
    from mawasu.cli.output import emit, say, warn
    from mawasu.errors import UsageError

    running = is_up()
    started = running is None
    if running is not None and any(value is not None and value is not False for value in options.values()):
        raise UsageError("mawasu is up already, with what it was told then", "`mawasu down --keep-serving` first")
    found = running or start(trust_pushers, **options)
    remote = _project(project)
    if as_json:
        emit({**found, "home": str(home().path), "started": started, "remote": str(remote) if remote else None})
        return
    say(f"mawasu is up{'' if started else ' already'}: {found['url']}  (home {home().path})")
    for line in found["warnings"]:
        warn(line)
    if remote is not None:
        say(f"push to it:  git push {_name_of_remote(remote)}")
    else:
        say("in a repository with a mawasu.yaml, `mawasu up` makes it a project; `mawasu init NAME` writes a first one")


def start(trust_pushers: bool, **options: Any) -> dict[str, Any]:
    """Start the daemon detached from this terminal; return what it says when it is ready."""
    import json
    import os
    import subprocess
    import sys

    from mawasu.cli.context import home
    from mawasu.errors import MawasuError, PlatformError

    at = home()
    _remember(at, options)
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


def _remember(at: Home, options: dict[str, Any]) -> None:
    """Keep what was said for the daemon that starts now and for later ones; nothing is kept that could not work."""
    from mawasu.daemon.settings import Said, load, save, told
    from mawasu.platforms.local.tls import read

    paths: dict[str, Any] = {
        name: str(path.absolute()) for name in ("tls_cert", "tls_key") if (path := options.pop(name))
    }
    roots = tuple(_root(place) for place in options.pop("data") or ()) or None
    if (url := options.pop("redis")) is not None:
        options["redis"] = _redis(url)
    if options["traces"] == "none":
        options["traces"] = ""
    names = options.pop("back_ends")
    back_ends = None if names is None else tuple(name for name in names.split(",") if name)
    settings = told(load(at), Said(data=roots, back_ends=back_ends, **paths, **options))
    if paths and settings.tls:
        read(settings.tls)
    save(at, settings)


def _root(place: str) -> str:
    from mawasu.data.reach import is_cloud
    from mawasu.errors import UsageError
    from mawasu.spec.units import Refused, outside

    if not is_cloud(place):
        return str(Path(place).absolute())
    try:
        return outside(place.rstrip("/"))
    except Refused as refused:
        raise UsageError(f"--data {place}: expected {refused.expected}", refused.hint) from refused


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
