"""`mawasu status`: what each environment should serve (its branch's head) against what it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mawasu.executor.records import Records
    from mawasu.ledger.fold import BuildState, EnvironmentState, Serving, State
    from mawasu.words import RevisionStatus

COLOURS = {
    "in sync": "green",
    "building": "blue",
    "blocked": "yellow",
    "failed": "red",
    "degraded": "red",
    "down": "red",
}


def register(verbs: Verbs) -> None:
    verb = verbs.add("status", status, "Show every environment: in sync, building, blocked (why), degraded.")
    verb.records()
    verb.json()


def status(records: str | None, as_json: bool) -> None:
    from mawasu.cli import context
    from mawasu.cli.output import emit, say, warn
    from mawasu.executor.records import LocalRecords

    at = context.records(records)
    here = isinstance(at, LocalRecords)
    states = _states(at)
    rows = judged(states, _running() if here else None)
    up = context.is_up() if here else None
    if as_json:
        where = {"up": up, "home": str(context.home().path)} if here else {"records": at.place}
        emit({**where, "environments": rows, "refresh": refreshed(states)})
        return
    say(_place(up) if here else f"by the records in {at.place}; they do not tell how the services are")
    for line in (up or {}).get("warnings", []):
        warn(line)
    for look in refreshed(states):
        if look["trouble"]:
            warn(f"{look['feature']}: data set {look['data']} is not refreshed: {look['trouble']}")
    _table(rows)


def _states(records: Records) -> dict[str, State]:
    """Of every feature."""
    from concurrent.futures import ThreadPoolExecutor

    names = records.features()
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda name: records.ledger(name).state(), names), strict=True))


def judged(states: Mapping[str, State], running: Mapping[str, RevisionStatus] | None) -> list[dict[str, Any]]:
    """Every environment. `running`: the revisions that run, by name; None where that is not known."""
    return [
        {"feature": name, **judge(state, environment, running)}
        for name, state in states.items()
        for environment in state.environments.values()
        if not environment.gone
    ]


def refreshed(states: Mapping[str, State]) -> list[dict[str, Any]]:
    """The last look at the source of every data set with `refresh`, and what went wrong ("": nothing)."""
    return [
        {"feature": feature, "data": name.partition("/")[0], "branch": name.partition("/")[2], "looked": look.at}
        | {"digest": look.digest, "trouble": look.trouble}
        for feature, state in states.items()
        for name, look in sorted(state.looks.items())
    ]


def _place(up: dict[str, Any] | None) -> str:
    from mawasu.cli.context import home
    from mawasu.daemon.lock import is_held

    if up:
        return f"up: {up['url']} · process {up['pid']} · sandbox {up['sandbox']} · limits by {up['limiter']}"
    if is_held(home()):
        return "the daemon does not answer (`mawasu down` ends it)"
    return "mawasu is not up (`mawasu up` starts it)"


def _table(rows: list[dict[str, Any]]) -> None:
    from mawasu.cli.output import ago, colour, table

    table(
        ["feature", "environment", "state", "serves", "since", "why"],
        [
            [
                r["feature"],
                r["environment"],
                colour(r["state"], COLOURS[r["state"]]),
                r["serves"] or "—",
                ago(r["since"]),
                r["why"],
            ]
            for r in rows
        ],
        "nothing has been pushed yet",
    )


def judge(state: State, environment: EnvironmentState, running: Mapping[str, RevisionStatus] | None) -> dict[str, Any]:
    """Desired against actual for one environment; without `running`, against what the ledger says is served."""
    from mawasu.words import short

    last = _last_build(state, environment.name)
    serving = environment.serving
    switched = state.builds.get(serving.build) if serving else None
    word, why = _state(last, serving, running)
    return {
        "environment": environment.name,
        "state": word,
        "why": why,
        "branch": environment.branch,
        "desired": short(last.push.new or "") if last else "",
        "serves": short(switched.push.new or "") if switched else "",
        "release": serving.release if serving else None,
        "revision": serving.revision if serving else None,
        "since": serving.since if serving else None,
    }


def _state(
    last: BuildState | None, serving: Serving | None, running: Mapping[str, RevisionStatus] | None
) -> tuple[str, str]:
    """In one word, and why: what is broken now comes before what did not get there."""
    from mawasu.words import Health, Result

    if last is not None and last.result is None:
        return "building", f"build {last.number}: {_current(last)}"
    if serving is not None and running is not None:
        health = running.get(serving.revision)
        if health is None:
            return "down", "its processes are not running"
        if health.health is not Health.READY:
            return "degraded", f"{health.ready} of {health.replicas} replicas ready {health.message}".rstrip()
    if last is not None and last.result in (Result.BLOCKED, Result.FAILED):
        return str(last.result), f"build {last.number}: {last.reason}"
    return "in sync", ""


def _last_build(state: State, environment: str) -> BuildState | None:
    from mawasu.words import Result

    skipped = (Result.SUPERSEDED,)
    newest = (state.builds[number] for number in sorted(state.builds, reverse=True))
    builds = (b for b in newest if b.environment == environment and b.result not in skipped)
    return next(builds, None)


def _current(build: BuildState) -> str:
    started = [step.name for step in build.steps if step.started and step.outcome is None]
    return started[-1] if started else "waiting"


def _running() -> dict[str, RevisionStatus]:
    from mawasu.cli.context import home, services
    from mawasu.platforms.local.process import is_there

    return {status.revision: status for status in services().running()} if is_there(home()) else {}
