"""`mawasu verify`: every stored object and every link of every ledger."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("verify", verify, "Check every object against its digest and every link of the ledgers.")
    verb.records()
    verb.json()


def verify(records: str | None, as_json: bool) -> None:
    import msgspec

    from mawasu.cli import context
    from mawasu.cli.output import emit, say, size
    from mawasu.cli.progress import progress
    from mawasu.errors import CorruptError
    from mawasu.executor.records import CloudRecords
    from mawasu.ledger.verify import verify as check
    from mawasu.ledger.verify import verify_bucket

    at = context.records(records)
    with progress("verifying", quiet=as_json) as tick:
        report = verify_bucket(at.bucket, tick) if isinstance(at, CloudRecords) else check(context.home(), tick)
    if as_json:
        emit(msgspec.to_builtins(report))
    else:
        for fault in report.faults:
            say(str(fault))
        looked = "were listed" if isinstance(at, CloudRecords) else "were read"
        objects = f"{report.objects} objects ({size(report.size)}) {looked}"
        say(f"{objects}, and {report.entries} ledger entries read")
    if report.faults:
        raise CorruptError(f"{len(report.faults)} of them are broken", "each line above says what to do")
