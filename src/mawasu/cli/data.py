"""`mawasu data lock`: pin the data sets that live outside the repository."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    data = verbs.group("data", "Pin data sets in data.lock.")
    data.add("lock", lock, "Write the digest of every data set with a `path` to data.lock; commit it.").json()


def lock(as_json: bool) -> None:
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
