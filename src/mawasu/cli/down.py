"""`mawasu down`: stop the daemon, and with it what it serves."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("down", down, "Stop mawasu: the daemon, the services and the gateway.")
    verb.flag("--keep-serving", dest="keep_serving", help="Stop the daemon alone; what is served is served on.")
    verb.json()


def down(keep_serving: bool, as_json: bool) -> None:
    import shutil

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say
    from mawasu.daemon.lock import is_held
    from mawasu.gateway.edge import CERTIFICATE
    from mawasu.platforms.local.process import is_there, shut_down

    up = is_held(home())
    if up:
        _stop()
    served = is_there(home())
    if served and not keep_serving:
        shut_down(home())
        # What ran is written down with its secrets, for a supervisor that is killed; now nothing is to come back by
        # itself, and `mawasu up` starts what the ledgers say.
        shutil.rmtree(home().run / "processes", ignore_errors=True)
        (home().gateway / CERTIFICATE).unlink(missing_ok=True)  # it holds the private key
    if as_json:
        emit({"daemon": up, "served": served, "serves_on": served and keep_serving})
    elif not up and not served:
        say("mawasu was not up")
    elif keep_serving:
        say("the daemon is down; what it served is served on")
    else:
        say("mawasu is down; nothing is lost: `mawasu up` goes on where it stopped")


def _stop() -> None:
    """Ask the daemon to stop; one that does not answer is ended. Builds are resumed by the next start either way."""
    import os
    import signal

    from mawasu.cli.context import ask, home, is_up
    from mawasu.daemon.lock import holder
    from mawasu.errors import PlatformError

    if is_up() is not None:
        list(ask({"op": "stop"}))
        if _gone(15.0):
            return
    pid = holder(home())
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None:
            os.kill(pid, number)
        if _gone(5.0):
            return
    raise PlatformError(f"the daemon (process {pid or 'unknown'}) does not stop", f"see {home().path}/daemon.log")


def _gone(patience: float) -> bool:
    """Whether the home is free within so many seconds."""
    import time

    from mawasu.cli.context import home
    from mawasu.daemon.lock import is_held

    until = time.monotonic() + patience
    while is_held(home()):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
