"""`mawasu logs`: what the steps of a build wrote, live with -f."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from mawasu.executor.records import Records
    from mawasu.ledger.ledger import Ledger


def register(verbs: Verbs) -> None:
    verb = verbs.add("logs", logs, "Print the logs of a build's steps; -f follows it to its end.")
    verb.add_argument("build", nargs="?", type=int, help="Its number (default: the newest).")
    verb.add_argument("--step", "-s", help="One step only.")
    verb.add_argument("--feature", help="The feature (default: this checkout's, or the only one).")
    verb.flag("-f", "--follow", dest="live", help="Go on until the build is finished.")
    verb.add_argument("--environment", "-e", help="What serves this environment, instead of a build.")
    verb.records()
    verb.json("One JSON object a line.")


def logs(
    build: int | None,
    step: str | None,
    feature: str | None,
    live: bool,
    environment: str | None,
    records: str | None,
    as_json: bool,
) -> None:
    import json

    from mawasu.cli import context
    from mawasu.cli.output import colour, safe, say
    from mawasu.errors import UsageError
    from mawasu.executor.tail import tail

    at = context.records(records)
    ledger = context.ledger(at, feature)
    if environment is not None:
        for line in _served(at, ledger, environment):
            say(json.dumps({"step": environment, "line": line}, ensure_ascii=False) if as_json else safe(line))
        return
    number = build if build is not None else max(ledger.state().builds, default=0)
    if number not in ledger.state().builds:
        raise UsageError(f"{ledger.feature} has no build {number}", "`mawasu builds` lists them")
    for where, line in tail(at, ledger, number, step, live):
        if as_json:
            say(json.dumps({"step": where, "line": line}, ensure_ascii=False))
        else:
            say(f"{colour(where, 'dim')} {safe(line)}")


def _served(records: Records, ledger: Ledger, environment: str) -> list[str]:
    """What the processes of an environment's revision wrote last: tracebacks of the handler among it."""
    from mawasu.cli.context import services
    from mawasu.errors import UsageError
    from mawasu.executor.records import LocalRecords

    known = ledger.state().environments
    if environment not in known:
        raise UsageError(f"no environment `{environment}`", "there are " + (", ".join(known) or "none yet: push first"))
    serving = known[environment].serving
    if serving is None:
        raise UsageError(f"{environment} serves nothing", "`mawasu status` says why")
    if not isinstance(records, LocalRecords):
        hint = f"gcloud logging read 'labels.revision_name=\"{serving.revision}\"' — or its page in Cloud Run"
        raise UsageError(f"what {environment} prints is kept by Cloud Logging, not with the records", hint)
    return services().logs(serving.revision)
