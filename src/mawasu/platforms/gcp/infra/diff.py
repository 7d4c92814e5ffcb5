"""What lies between wanted and found, field by field, and whether somebody changed it by hand. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mawasu.platforms.gcp.infra.words import Change, Edit, Found, Resource, Stage

WHOLE = {
    "bucket": frozenset({"lifecycle.rule[].condition", "lifecycle.rule[].action"}),
    "policy": frozenset({"grants"}),
    "repository": frozenset({"cleanupPolicies"}),
    "trigger": frozenset({"build.steps[]", "substitutions", "build.substitutions", "repositoryEventConfig.push"}),
}
"""Maps that are mawasu's whole: a key that it did not put there goes. Of other maps it looks at its own keys only,
because Google fills in the rest."""

FIXED = {
    "bucket": frozenset({"location"}),
    "redis": frozenset({"tier", "authorizedNetwork", "connectMode"}),
    "repository": frozenset({"format"}),
    "secret": frozenset({"replication"}),
    "account": frozenset({"email"}),
    "link": frozenset({"name", "remoteUri"}),
}
"""Fields that cannot be changed once the thing is there."""

DELETED = frozenset({"trigger", "secret", "redis"})
"""Kinds of which something may no longer be wanted. The others are the same for every checkout."""

OWNERLESS = "it is there, and does not carry mawasu's mark"


def diff(
    desired: Sequence[Resource], found: Sequence[Found], applied: Mapping[str, str], owners: frozenset[str]
) -> list[Change]:
    """Every change that is needed.

    `applied`: the mark of each resource when it was last applied. `owners`: the repository that this is about, by all
    its names; what was made for another one is never deleted.
    """
    there = {one.id: one for one in found}
    changes = [change for one in desired if (change := _change(one, there.get(one.id), applied)) is not None]
    wanted = {one.id for one in desired}
    changes += [_deletion(one) for one in found if one.id not in wanted and _goes(one, owners)]
    return changes


def _change(wanted: Resource, found: Found | None, applied: Mapping[str, str]) -> Change | None:
    same_mind = applied.get(wanted.id) == wanted.mark
    if found is None:
        edits = tuple(edits_between(wanted.kind, wanted.body, {}))
        return Change("create", wanted.kind, wanted.name, wanted.why, wanted.stage, edits, wanted.id in applied)
    edits = tuple(edits_between(wanted.kind, wanted.body, found.body))
    if reason := _refusal(wanted, found, edits):
        return Change("refuse", wanted.kind, wanted.name, reason, wanted.stage, edits)
    if not edits:
        return None
    return Change("update", wanted.kind, wanted.name, wanted.why, wanted.stage, edits, same_mind)


def _refusal(wanted: Resource, found: Found, edits: Sequence[Edit]) -> str:
    if not found.ours:
        return OWNERLESS
    if found.owner and wanted.owner and found.owner != wanted.owner:
        return f"it belongs to the repository {found.owner}"
    stuck = [edit for edit in edits if _top(edit.path) in FIXED.get(wanted.kind, frozenset())]
    if stuck:
        return f"{stuck[0].path} is {stuck[0].before} and cannot become {stuck[0].after} while it is there"
    return ""


def _goes(found: Found, owners: frozenset[str]) -> bool:
    """Whether something that nobody wants is ours to delete: made for this repository, not for another one."""
    return found.kind in DELETED and found.ours and found.owner in owners


def _deletion(found: Found) -> Change:
    stage: Stage = "features" if found.kind == "trigger" else "foundation"
    return Change("delete", found.kind, found.name, "no feature of this checkout wants it any more", stage)


# ---------------------------------------------------------------------------------------------- fields


def edits_between(kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Edit]:
    yield from _edits("", wanted, found, WHOLE.get(kind, frozenset()))


def fields(edits: Sequence[Edit]) -> list[str]:
    """The top-level fields that must be sent."""
    return sorted({_top(edit.path) for edit in edits})


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _edits(path: str, wanted: Any, found: Any, whole: frozenset[str]) -> Iterator[Edit]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping | None):
        found = found or {}
        extra = found.keys() if re.sub(r"\[\d+\]", "[]", path) in whole else ()
        for key in dict.fromkeys([*wanted, *extra]):
            yield from _edits(f"{path}.{key}" if path else key, wanted.get(key), found.get(key), whole)
    elif _lists_of_maps(wanted, found):
        for index, (want, have) in enumerate(zip(wanted, found, strict=True)):
            yield from _edits(f"{path}[{index}]", want, have, whole)
    elif _plain(wanted) != _plain(found):
        yield Edit(path, found, wanted)


def _lists_of_maps(wanted: Any, found: Any) -> bool:
    return (
        isinstance(wanted, list)
        and isinstance(found, list)
        and len(wanted) == len(found) > 0
        and all(isinstance(one, Mapping) for one in (*wanted, *found))
    )


def _plain(value: Any) -> Any:
    """What is not said, false, zero and empty are one to Google, which leaves them out; so are 3600s and 3600.0s."""
    if value in (None, False, 0, "", [], {}):
        return None
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?s", value):
        return float(value[:-1])
    return value
