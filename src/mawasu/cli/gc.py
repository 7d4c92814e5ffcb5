"""`mawasu gc`: remove what nothing references."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    help = "Remove stored objects and caches that nothing references. Released models stay."
    verb = verbs.add("gc", gc, help)
    verb.flag("--dry-run", dest="dry_run", help="Only say what would go.")
    verb.json()


def gc(dry_run: bool, as_json: bool) -> None:
    import msgspec

    from mawasu.cli.context import home, is_up
    from mawasu.cli.output import emit, say, size
    from mawasu.cli.progress import progress
    from mawasu.ledger.collect import collect

    in_use = None if is_up() else ()  # what a running build works on is known to the daemon alone
    with progress("collecting", quiet=as_json) as tick:
        report = collect(home(), in_use=in_use, dry_run=dry_run, progress=tick)
    if as_json:
        emit(msgspec.to_builtins(report))
        return
    verb = "would go" if dry_run else "are gone"
    say(f"{len(report.objects)} objects ({size(report.freed)}), {len(report.paths)} cached directories {verb}")
