"""`mawasu run`: the plan of the working tree in the foreground, with the user's own terminal, recorded as dirty."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("run", help="Run this working tree's plan here, up to the verdict; prints and debuggers work.")(run)


def run(
    feature: Annotated[str | None, typer.Argument(help="One feature only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: the end of each build.")] = False,
) -> None:
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
            ends.append(_run(file, at.feature.name, tree, quiet=as_json))
    if as_json:
        emit(ends)
    if any(end["result"] not in (Result.OK, Result.NOTHING) for end in ends):
        raise typer.Exit(4)


def _run(file: str, feature: str, tree: WorkingTree, quiet: bool) -> dict[str, Any]:
    """One feature: a dirty build in a ledger of the checkout's own, below `.git`."""
    import threading

    from mawasu.cli.output import say
    from mawasu.executor.build import Build, Shop
    from mawasu.executor.follow import lines
    from mawasu.executor.sites import NoSites
    from mawasu.home import Home
    from mawasu.ledger import Ledger
    from mawasu.ledger.entries import BuildQueued
    from mawasu.platforms.local.foreground import ForegroundPlatform
    from mawasu.words import Commit, Push

    home = Home(tree.repo / "mawasu").create()
    platform = ForegroundPlatform(home, images=Home())
    ledger = Ledger(home.ledger, feature, home.checkpoints)
    number = max(ledger.state().builds, default=0) + 1
    push = Push("", tree.branch or "HEAD", None, Commit(tree.commit or "0" * 40), by="run", dirty=True)
    start = ledger.append(BuildQueued(number, push, "", file)).number
    shop = Shop(home, platform, NoSites(), platform.secrets.resolve)
    build = Build(shop, ledger, ledger.state().builds[number], repo=str(tree.repo), tree=tree.tree)

    def show(body: object) -> None:
        if not quiet:
            for line in lines(body, platform.store):
                say(line)

    del start, show
    ended = build.run(threading.Event())
    return {"feature": feature, "build": number, "result": ended.result, "reason": ended.reason}
