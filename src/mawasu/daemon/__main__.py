"""`python -m mawasu.daemon HOME TRUST FD`: the daemon's process; tells FD in one JSON line how it went."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mawasu.daemon.daemon import Daemon
from mawasu.errors import MawasuError
from mawasu.home import Home


def main() -> int:
    home, trust, fd = sys.argv[1:]
    try:
        daemon = Daemon(Home(Path(home)), trust == "trust")
        daemon.start()
    except MawasuError as error:
        _tell(int(fd), {"error": error.message, "hint": error.hint, "exit_status": error.exit_status})
        return error.exit_status
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stopped.set())
    gateway = daemon.platform.gateway
    _tell(int(fd), {"url": gateway.url, "warnings": gateway.warnings(), "pid": os.getpid()})
    daemon.stopped.wait()
    daemon.stop()
    # Builds under way are resumed by the next start, exactly as after a kill; waiting for them would help nobody.
    os._exit(0)


def _tell(fd: int, value: dict[str, object]) -> None:
    os.write(fd, json.dumps(value).encode() + b"\n")
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
