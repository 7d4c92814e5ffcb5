"""`mawasu verify`: every stored object and every link of every ledger."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("verify", verify, "Check every object against its digest and every link of the ledgers.")
    verb.json()


def verify(as_json: bool) -> None:
    import msgspec

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say, size
    from mawasu.cli.progress import progress
    from mawasu.errors import CorruptError
    from mawasu.ledger.verify import verify as check

    with progress("verifying", quiet=as_json) as tick:
        report = check(home(), tick)
    if as_json:
        emit(msgspec.to_builtins(report))
    else:
        for fault in report.faults:
            say(str(fault))
        say(f"{report.objects} objects ({size(report.size)}) and {report.entries} ledger entries were read")
    if report.faults:
        raise CorruptError(f"{len(report.faults)} of them are broken", "each line above says what to do")
