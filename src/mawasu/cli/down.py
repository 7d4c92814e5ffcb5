"""`mawasu down`: stop the daemon, and with it what it serves."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("down", down, "Stop mawasu: the daemon, the services and the gateway.")
    verb.flag("--keep-serving", dest="keep_serving", help="Stop the daemon alone; what is served is served on.")
    verb.json()


def down(keep_serving: bool, as_json: bool) -> None:
    import shutil
    import time

    from mawasu.cli.context import ask, home, is_up
    from mawasu.cli.output import emit, say
    from mawasu.daemon.lock import is_held
    from mawasu.errors import PlatformError
    from mawasu.platforms.local.process import is_there, shut_down

    up = is_up()
    if up is not None:
        list(ask({"op": "stop"}))
        for _ in range(300):
            if not is_held(home()):
                break
            time.sleep(0.05)
        else:
            raise PlatformError(f"the daemon (process {up['pid']}) does not stop", f"see {home().path}/daemon.log")
    served = is_there(home())
    if served and not keep_serving:
        shut_down(home())
        # What ran is written down with its secrets, for a supervisor that is killed; now nothing is to come back by
        # itself, and `mawasu up` starts what the ledgers say.
        shutil.rmtree(home().run / "processes", ignore_errors=True)
    if as_json:
        emit({"daemon": up is not None, "served": served, "serves_on": served and keep_serving})
    elif up is None and not served:
        say("mawasu was not up")
    elif keep_serving:
        say("the daemon is down; what it served is served on")
    else:
        say("mawasu is down; nothing is lost: `mawasu up` goes on where it stopped")
