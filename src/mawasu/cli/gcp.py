"""`mawasu gcp`: the Google Cloud project that runs pushes, from what every mawasu.yaml of the checkout says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mawasu.errors import MawasuError
    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra.apply import Report
    from mawasu.platforms.gcp.infra.converge import Plan
    from mawasu.platforms.gcp.infra.image import OwnRunner
    from mawasu.platforms.gcp.infra.words import Change, Wanted


def register(verbs: Verbs) -> None:
    gcp = verbs.group("gcp", "The Google Cloud project that runs pushes: plan, apply, status, destroy.")
    gcp.add("plan", plan, "Show what the project needs, what was changed by hand, and what costs while idle.").json()
    verb = gcp.add("apply", apply, "Show the plan, ask, and make the project so; safe to run again.")
    verb.flag("--yes", "-y", dest="yes", help="Do not ask.")
    verb.json()
    gcp.add("status", status, "Show what is there, where APIs answer, and secrets without a value.").json()
    verb = gcp.add(
        "destroy", destroy, "List all that is mawasu's in the project, ask, and delete it; never what is not."
    )
    verb.add_argument("--yes", metavar="PROJECT", default="", help="The project's id, for machines: do not ask.")
    verb.flag("--records", dest="records", help="The bucket too: ledger, models, data. They are gone for good.")
    verb.json()


def plan(as_json: bool) -> None:
    from mawasu.cli.output import emit, safe, say
    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra import show

    with Client() as client:
        found = _look(client, _features())
    if as_json:
        emit(show.as_json(found))
        return
    for line in show.lines(found):
        say(safe(line))


def apply(yes: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, safe, say
    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra import show
    from mawasu.platforms.gcp.infra.converge import converge, refused

    features = _features()
    with Client() as client:
        planned = _look(client, features)
        if not as_json:
            for line in show.lines(planned):
                say(safe(line))
        if planned.changes and not yes:
            _ask(f"Make {planned.place.scope.project} so? (yes)", "yes", "--yes")
        tell = _untold if as_json else _tell
        report = converge(client, features, _runner(client, features), planned=planned, tell=tell)
    if as_json:
        emit({**show.as_json(planned), **_told(report)})
    elif planned.changes:
        say(f"{len(report.done)} of {len(planned.changes)} done")
    if error := report.error or refused(report):
        raise error


def status(as_json: bool) -> None:
    from mawasu.cli.output import emit, safe, say, table
    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra import show
    from mawasu.platforms.gcp.infra.read import services
    from mawasu.platforms.gcp.names import gateway

    with Client() as client:
        found = _look(client, _features())
        hosts = {one.name: str(one.body.get("uri", "")) for one in services(client, found.place.cloud)}
    rows = [(one.feature.name, hosts.get(gateway(one.feature.name), "")) for one in found.features]
    there = sorted(one.id for one in found.actual.found if one.ours and one.kind not in ("apis", "policy"))
    if as_json:
        emit({**show.as_json(found), "there": there, "hosts": dict(rows)})
        return
    say(f"{found.place.scope.project} · {found.place.scope.region} · gs://{found.place.scope.bucket}")
    table(["feature", "host"], [[name, host or "not served yet"] for name, host in rows], "no features")
    for line in show.status_lines(found, there):
        say(safe(line))


def destroy(yes: str, records: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, safe, say
    from mawasu.errors import UsageError
    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra import show
    from mawasu.platforms.gcp.infra.converge import destroy as take_down
    from mawasu.platforms.gcp.infra.converge import everything
    from mawasu.platforms.gcp.infra.settings import agree

    scope = agree(_features())
    if yes and yes != scope.project:
        raise UsageError(f"--yes says {yes}, mawasu.yaml says {scope.project}", "nothing was deleted")
    with Client() as client:
        found = everything(client, scope, records=records)
        if not as_json:
            for line in show.removal_lines(found):
                say(safe(line))
        if found.changes and not yes:
            _ask(f"Type {scope.project} to delete all of this:", scope.project, f"--yes {scope.project}")
        report = take_down(client, found, tell=_untold if as_json else _tell)
    if as_json:
        emit({"project": scope.project, "kept": found.kept, **_told(report)})
    else:
        say(f"{len(report.done)} of {len(found.changes)} deleted")
    if error := report.error:
        raise error


def _features() -> list[Wanted]:
    """Every feature of the checkout. Raises SpecError with the faults of all files."""
    from mawasu.cli.tree import working_features
    from mawasu.errors import SpecError
    from mawasu.platforms.gcp.infra.words import Wanted

    faults: list[object] = []
    found = []
    for file, at in working_features():
        if isinstance(at, SpecError):
            faults += at.faults
        else:
            found.append(Wanted(file, at.feature))
    if faults:
        raise SpecError(tuple(faults))
    return found


def _look(client: Client, features: Sequence[Wanted]) -> Plan:
    from mawasu.platforms.gcp.infra.converge import look

    return look(client, features, _runner(client, features))


def _runner(client: Client, features: Sequence[Wanted]) -> OwnRunner:
    from mawasu.platforms.gcp.infra.image import OwnRunner
    from mawasu.platforms.gcp.infra.settings import agree

    agree(features)
    gcp = features[0].feature.gcp
    assert gcp is not None, "they agree on one"
    return OwnRunner(client, gcp, _Notes())


class _Notes:
    """The log of making the runner image, for who watches."""

    path = None

    def write(self, line: str) -> None:
        from mawasu.cli.output import note, safe

        note(safe(f"  {line}"))


def _tell(change: Change, error: MawasuError | None) -> None:
    from mawasu.cli.output import note, safe

    done = {"create": "made", "update": "changed", "delete": "deleted", "refuse": ""}[change.verb]
    note(safe(f"  {'failed' if error else done}: {change.id}"))


def _untold(change: Change, error: MawasuError | None) -> None:
    """Machines read the report."""


def _told(report: Report) -> dict[str, object]:
    return {
        "done": [f"{one.verb} {one.id}" for one in report.done],
        "failed": {f"{change.verb} {change.id}": str(error) for change, error in report.failed},
        "refused": {one.id: one.why for one in report.refused},
    }


def _ask(question: str, answer: str, flag: str) -> None:
    import sys

    from mawasu.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask", f"say {flag}")
    if input(f"{question} ").strip() != answer:
        raise UsageError("nothing was done", f"answer `{answer}`, or say {flag}")
