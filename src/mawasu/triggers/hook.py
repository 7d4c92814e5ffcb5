"""What git runs in a project's repository while somebody pushes (githooks(5)). Standard library only: it starts fast.

`pre-receive` refuses names that cannot be shown or used, and everything when the project follows another remote.
`post-receive` tells the daemon what has moved and prints what it answers. By then the push is stored: nothing that
goes wrong here loses it, since the daemon compares heads when it starts and from time to time.

Wire format, JSON lines over the daemon's socket. One request:
`{"op": "push", "project": "x", "updates": [["<old>", "<new>", "refs/heads/main"], …]}` (zeros: no commit).
Answers: `{"say": "text"}` to print, `{"follow": "command"}` how to see the rest after leaving, `{"done": true}` at the
end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

from mawasu.git.refs import safe_branch, shown

FOLLOWS = "watch.json"
"""The file in a project's repository that says which remote it follows."""

FOLLOW_SECONDS = 60.0
_LONGEST_FOLLOW = 24 * 3600.0
_GRACE = 6  # seconds, above the 5 for reaching the daemon

_BRANCHES = "refs/heads/"
_TAGS = "refs/tags/"
_DOWN = "mawasu is not running: your push is safe and will be picked up by `mawasu up`"
_GONE = "mawasu has stopped: your push is safe and will be picked up by `mawasu up`"

Update = tuple[str, str, str]


def main() -> None:
    """`hook.py PACKAGE KIND SOCKET`, in the bare repository, `old new ref` lines on standard input."""
    kind, daemon = sys.argv[2:4]
    lines = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines()
    updates = [(old, new, ref) for old, new, ref in (line.split(" ", 2) for line in lines)]
    try:
        status = pre_receive(updates) if kind == "pre-receive" else post_receive(updates, daemon, time.monotonic())
    except BrokenPipeError:
        status = 0  # whoever pushed has gone; what he pushed is stored
    # Standard output is flushed line by line; leaving at once keeps Python from complaining about the broken pipe.
    os._exit(status)


def pre_receive(updates: list[Update]) -> int:
    """0 to take the push, 1 to refuse all of it with the reasons printed."""
    if os.path.exists(FOLLOWS):  # noqa: PTH110 (pathlib would be a third of the start-up)
        say("refused: this project follows another remote; push there")
        return 1
    faults = [fault for _, new, ref in updates if (fault := refusal(ref, deleted=not new.strip("0")))]
    for fault in faults:
        say(f"refused: {fault}")
    return 1 if faults else 0


def refusal(ref: str, *, deleted: bool) -> str | None:
    """Why a ref is not taken; None if it is. A name that should not be there may always be deleted."""
    if deleted:
        return None
    for start, kind in ((_BRANCHES, "branch"), (_TAGS, "tag")):
        if ref.startswith(start):
            name = ref.removeprefix(start)
            reason = safe_branch(name)
            return reason and f"the {kind} name {shown(name)}: {reason}; rename it with `git {kind}`"
    return f"{shown(ref)} is neither a branch nor a tag"


def post_receive(updates: list[Update], daemon: str, started: float) -> int:
    """Always 0: the push is stored. Returns when the daemon is done, gone or silent, or when the time is over."""
    moved = [update for update in updates if update[2].startswith(_BRANCHES)]
    if not moved:
        return 0
    seconds = follow_seconds()
    # When the client is gone or stands still, git stops reading what a hook prints, and printing would wait for ever.
    signal.alarm(int(seconds) + _GRACE)
    # A hang-up of the terminal must not come between the push and telling the daemon.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5.0)
        try:
            connection.connect(daemon)
            connection.sendall(json.dumps({"op": "push", "project": project(), "updates": moved}).encode() + b"\n")
        except OSError:
            say(_DOWN)
            return 0
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if seconds > 0:
            listen(connection, started + seconds)
    return 0


def listen(connection: socket.socket, until: float) -> None:
    """Print what the daemon says until it is done or the time is over; then say how to follow."""
    follow = "mawasu status"
    try:
        for answer in answers(connection, until):
            if answer.get("done"):
                return
            follow = str(answer.get("follow", follow))
            if "say" in answer:
                say(str(answer["say"]))
    except TimeoutError:
        say(f"still at work; follow it with: {follow}")
    except (OSError, ValueError):
        say(_GONE)


def answers(connection: socket.socket, until: float) -> Iterator[dict[str, object]]:
    """The daemon's answers one by one. Raises TimeoutError at `until`, OSError when the daemon hangs up first."""
    rest = b""
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if isinstance(answer, dict):
                yield answer


def follow_seconds() -> float:
    """How long the push may wait: `git push -o nofollow`, `-o follow=SECONDS`, else a minute."""
    seconds = FOLLOW_SECONDS
    for number in range(int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0"))):
        option, _, value = os.environ.get(f"GIT_PUSH_OPTION_{number}", "").partition("=")
        if option == "nofollow":
            seconds = 0.0
        elif option == "follow" and value.isascii() and value.isdigit():
            seconds = min(float(value), _LONGEST_FOLLOW)
        else:
            say(f"unknown push option {shown(option)}: there are `-o follow=SECONDS` and `-o nofollow`")
    return seconds


def project() -> str:
    """The project whose repository git has made the working directory."""
    return os.path.basename(os.getcwd()).removesuffix(".git")  # noqa: PTH109, PTH119


def say(text: str) -> None:
    """One or more lines to whoever pushed; git shows them as `remote:` lines. Nothing but printable characters."""
    for line in text.splitlines() or [""]:
        sys.stdout.buffer.write("".join(char if char.isprintable() else "?" for char in line).encode() + b"\n")
        sys.stdout.buffer.flush()
