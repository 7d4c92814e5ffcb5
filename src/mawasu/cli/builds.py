"""`mawasu builds`: what the pushes of a feature caused."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs, whole


def register(verbs: Verbs) -> None:
    verb = verbs.add("builds", builds, "List the builds of a feature, newest first.")
    verb.add_argument("feature", nargs="?", help="The feature (default: this checkout's, or the only one).")
    verb.add_argument("-n", dest="number", type=whole(1), default=20, help="How many (20).")
    verb.records()
    verb.json()


def builds(feature: str | None, number: int, records: str | None, as_json: bool) -> None:
    from mawasu.cli import context
    from mawasu.cli.output import ago, emit, table
    from mawasu.words import short

    ledger = context.ledger(context.records(records), feature)
    state = ledger.state()
    rows = [state.builds[one] for one in sorted(state.builds, reverse=True)[:number]]
    if as_json:
        emit([as_value(build) for build in rows])
        return
    table(
        ["build", "branch", "commit", "environment", "result", "when", "reason"],
        [
            [
                build.number,
                build.push.branch,
                short(build.push.new or "deleted"),
                build.environment or "—",
                build.result or "building",
                ago(build.finished or build.queued),
                build.reason,
            ]
            for build in rows
        ],
        f"no builds of {ledger.feature} yet",
    )


def as_value(build: object) -> object:
    """A build as JSON values."""
    import msgspec

    return msgspec.to_builtins(build)
