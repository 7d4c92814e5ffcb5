"""`mawasu run`: the plan of the working tree in the foreground, with the user's own terminal, recorded as dirty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from mawasu.executor.commit import CommitOf
    from mawasu.git.worktree import WorkingTree


def register(verbs: Verbs) -> None:
    verb = verbs.add("run", run, "Run this working tree's plan here, up to the verdict; prints and debuggers work.")
    verb.add_argument("feature", nargs="?", help="One feature only.")
    verb.json("For machines: the end of each build.")


def run(feature: str | None, as_json: bool) -> None:
    from mawasu.cli.output import emit
    from mawasu.cli.tree import working_features, working_tree
    from mawasu.errors import MawasuError
    from mawasu.words import Result

    tree = working_tree()
    ends = []
    for file, at in working_features(tree):
        if isinstance(at, MawasuError):
            raise at
        if feature in (None, at.feature.name):
            ends.append(_run(file, at, tree, quiet=as_json))
    if as_json:
        emit(ends)
    if any(end["result"] not in (Result.OK, Result.NOTHING) for end in ends):
        raise SystemExit(4)


def _run(file: str, at: CommitOf, tree: WorkingTree, quiet: bool) -> dict[str, Any]:
    """One feature: a dirty build in a ledger of the checkout's own, below `.git`, where nothing is served."""
    import threading

    from mawasu.cli.output import safe, say
    from mawasu.executor.build import Build, Shop
    from mawasu.executor.follow import lines
    from mawasu.executor.records import LocalRecords
    from mawasu.home import Home
    from mawasu.ledger.entries import AnyBody, BuildQueued
    from mawasu.platforms.local.sandbox import Direct
    from mawasu.platforms.local.workshop import LocalWorkshop
    from mawasu.words import Commit, Push

    feature = at.feature.name
    home = Home(tree.repo / "mawasu").create()
    workshop = LocalWorkshop(home, Direct(), shared=Home().create(), terminal=not quiet)
    records = LocalRecords(home)
    ledger = records.ledger(feature)
    number = max(ledger.state().builds, default=0) + 1
    push = Push("", tree.branch or "HEAD", None, Commit(tree.commit or "0" * 40), by="run", dirty=True)

    def told(body: AnyBody) -> None:
        for line in lines(body, workshop.store, feature) if not quiet else ():
            say(safe(line))

    queued = BuildQueued(number, push, "", file)
    ledger.append(queued)
    told(queued)
    shop = Shop(home, records, workshop, None, workshop.secrets.resolve, told=told)
    ended = Build(shop, ledger, ledger.state().builds[number], at).run(threading.Event())
    return {"feature": feature, "build": number, "result": ended.result, "reason": ended.reason}
