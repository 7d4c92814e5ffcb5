"""`mawasu data lock`: pin the data sets that live outside the repository."""

from __future__ import annotations

from typing import Annotated

import typer

data = typer.Typer(help="Pin data sets in data.lock.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(data, name="data")


@data.callback()
def group() -> None:
    """Keeps `lock` a sub-command while it is the only one."""


@data.command("lock", help="Write the digest of every data set with a `path` to data.lock; commit it.")
def lock(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say
    from mawasu.cli.tree import working_features, working_tree
    from mawasu.data.sources import lock as snapshot
    from mawasu.errors import MawasuError
    from mawasu.spec.data_lock import format_data_lock
    from mawasu.store.directory import DirectoryStore

    tree = working_tree()
    written = {}
    for _, at in working_features(tree):
        if isinstance(at, MawasuError):
            raise at
        entries = snapshot(at.feature, DirectoryStore(home().create().store))
        if not entries:
            continue
        path = tree.top / at.feature.root / "data.lock"
        path.write_text(format_data_lock(entries))
        written[str(path)] = {name: entry.digest for name, entry in entries.items()}
        if not as_json:
            say(f"{path}: {', '.join(entries)} — commit it")
    if as_json:
        emit(written)
    elif not written:
        say("no data set of this checkout lives outside it: nothing to pin")
