"""The plan as lines for people, and as JSON for machines. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.converge import Everything, Plan
from mawasu.platforms.gcp.infra.words import Change, Edit

GROUPS = (
    ("APIs", ("apis",)),
    ("service accounts", ("account",)),
    ("who may do what", ("policy",)),
    ("storage", ("bucket", "repository", "redis")),
    ("pushes", ("link", "trigger")),
    ("secrets", ("secret",)),
    ("time", ("job", "schedule")),
    ("served", ("service", "endpoints")),
)
MARKS = {"create": "+", "update": "~", "delete": "-", "refuse": "!"}
_WIDEST = 100


def lines(plan: Plan) -> Iterator[str]:
    """What would be done and why, what people must do, and what costs money when idle."""
    scope = plan.place.scope
    yield f"{scope.project} · {scope.region} · gs://{scope.bucket}"
    yield from change_lines(plan.changes)
    yield from _people(plan)
    yield "costs while idle:"
    yield from (f"  {line}" for line in plan.idle)
    yield summary(plan.changes)


def status_lines(plan: Plan, there: Sequence[str]) -> Iterator[str]:
    """What is there, what was changed by hand, and what waits for people."""
    yield f"{len(there)} things are mawasu's; {summary(plan.changes)}"
    yield from (f"  changed by hand: {change.id}" for change in plan.changes if change.by_hand)
    yield from _people(plan)


def removal_lines(everything: Everything) -> Iterator[str]:
    yield f"{everything.place.scope.project}: all that is mawasu's"
    yield from change_lines(everything.changes)
    yield from (f"  stays: {line}" for line in everything.kept)


def _people(plan: Plan) -> Iterator[str]:
    """What only people can do."""
    for step in plan.manual:
        yield f"  by hand: {step.what}"
        yield f"    {step.how}"
    for name in plan.actual.empty:
        yield f"  no value yet: {name}"
        yield f"    {value_command(name, plan.place.scope.project)}"


def change_lines(changes: Sequence[Change]) -> Iterator[str]:
    for title, kinds in GROUPS:
        chosen = [one for one in changes if one.kind in kinds]
        if chosen:
            yield f"  {title}"
            for change in chosen:
                yield from (f"    {line}" for line in _change(change))


def summary(changes: Sequence[Change]) -> str:
    if not changes:
        return "nothing to do: the project is as the features want it"
    counts = [
        (sum(one.verb == verb for one in changes), word)
        for verb, word in (("create", "to create"), ("update", "to change"), ("delete", "to delete"))
    ]
    said = [f"{count} {word}" for count, word in counts if count]
    by_hand = sum(one.by_hand for one in changes)
    in_the_way = sum(one.verb == "refuse" for one in changes)
    said += [f"{by_hand} of them changed by hand"] if by_hand else []
    said += [f"{in_the_way} in the way"] if in_the_way else []
    return ", ".join(said)


def value_command(secret: str, project: str) -> str:
    return f"printf %s VALUE | gcloud secrets versions add {secret} --data-file=- --project={project}"


def as_json(plan: Plan) -> dict[str, Any]:
    return {
        "project": plan.place.scope.project,
        "region": plan.place.scope.region,
        "bucket": plan.place.scope.bucket,
        "runner": plan.place.cloud.runner,
        "changes": [msgspec.to_builtins(one) for one in plan.changes],
        "manual": [msgspec.to_builtins(one) for one in plan.manual],
        "secrets_without_value": plan.actual.empty,
        "idle_costs": plan.idle,
    }


def _change(change: Change) -> Iterator[str]:
    mark = MARKS[change.verb]
    if change.kind in ("policy", "apis") and change.verb in ("create", "update"):
        name = change.name.replace("/", " ", 1) if change.kind == "policy" else "enable"
        yield f"{mark} {name}: {change.why}{_by_hand(change)}"
        yield from (f"    {line}" for line in map(_member, change.edits))
        return
    yield f"{mark} {_noun(change.kind)}{change.name}: {change.why}{_by_hand(change)}"
    if change.verb == "update":
        yield from (f"    {line}" for line in map(_edit, change.edits))


def _noun(kind: str) -> str:
    return "" if kind in ("account", "secret") else f"{kind} "


def _by_hand(change: Change) -> str:
    if not change.by_hand:
        return ""
    return " (removed by hand)" if change.verb == "create" else " (changed by hand: apply restores it)"


def _member(edit: Edit) -> str:
    """A grant or an API that comes, goes, or has another condition."""
    name = edit.path.partition(".")[2]
    if edit.before is None:
        reason = grants.PROJECT.get(name.partition(": ")[0].removeprefix("mawasu-"), {}).get(name.partition(": ")[2])
        return f"+ {name}" + (f" ({reason})" if reason else "")
    return f"- {name}" if edit.after is None else f"~ {name}: {_said(edit.before)} → {_said(edit.after)}"


def _edit(edit: Edit) -> str:
    return f"{edit.path}: {_said(edit.before)} → {_said(edit.after)}"


def _said(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
