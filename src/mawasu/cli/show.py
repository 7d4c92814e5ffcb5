"""`mawasu show`: one build, with its plan, its steps and its verdict."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verb = verbs.add("show", show, "Show one build: plan, steps, verdict, release.")
    verb.add_argument("build", nargs="?", type=int, help="Its number (default: the newest).")
    verb.add_argument("--feature", "-f", help="The feature (default: this checkout's, or the only one).")
    verb.records()
    verb.json()


def show(build: int | None, feature: str | None, records: str | None, as_json: bool) -> None:
    import msgspec

    from mawasu.cli import context
    from mawasu.cli.output import emit, safe, say
    from mawasu.errors import UsageError
    from mawasu.executor.follow import follow
    from mawasu.plan import Plan

    at = context.records(records)
    ledger = context.ledger(at, feature)
    name, state = ledger.feature, ledger.state()
    number = build if build is not None else max(state.builds, default=0)
    if number not in state.builds:
        raise UsageError(f"{name} has no build {number}", "`mawasu builds` lists them")
    one = state.builds[number]
    if as_json:
        plan = msgspec.to_builtins(msgspec.json.decode(at.store.read(one.plan), type=Plan)) if one.plan else None
        release = state.releases.get(one.release) if one.release else None
        emit(
            {"feature": name, "build": msgspec.to_builtins(one), "plan": plan, "release": msgspec.to_builtins(release)}
        )
        return
    for line in follow(ledger, at.store, number, wait=False):
        say(safe(line))
    for step in one.steps:
        verdict = step.outcome.facts.get("verdict") if step.outcome else None
        if verdict:
            say(safe(f"  verdict: {verdict['decision']} — {verdict['reason']}"))
    if one.release and one.release in state.releases:
        release = state.releases[one.release]
        say(f"  release: {release.name} ({release.release})")
        for part, digest in release.parts.items():
            say(f"    {part}: {digest}")
