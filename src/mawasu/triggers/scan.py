"""Which branches have moved: by comparing heads (nothing is ever lost) and by what hooks deliver (nothing twice)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mawasu.git.command import is_object_name
from mawasu.git.refs import safe_branch
from mawasu.git.repository import heads
from mawasu.words import Commit, Push

_BRANCHES = "refs/heads/"


def changes(project: str, known: Mapping[str, str], now: Mapping[str, Commit], by: str = "scan") -> list[Push]:
    """What moved between the heads that were last taken (branch → commit, "" for a deleted one) and those there are.

    Deleted branches first, so that what they served is gone before a new branch may want its place; then by name.
    """
    was = {branch: Commit(commit) for branch, commit in known.items() if commit}
    gone = [Push(project, branch, was[branch], None, by) for branch in sorted(was) if branch not in now]
    moved = [
        Push(project, branch, was.get(branch), now[branch], by)
        for branch in sorted(now)
        if now[branch] != was.get(branch) and safe_branch(branch) is None
    ]
    return gone + moved


def scan(project: str, repo: Path, known: Mapping[str, str]) -> list[Push]:
    """`changes` of a project's repository as it is now."""
    return changes(project, known, heads(repo))


def delivered(project: str, updates: Iterable[Sequence[str]], by: str = "hook") -> list[Push]:
    """The pushes in a hook's message (`[old, new, ref]` each; zeros: no commit). What is no branch is left out."""
    pushes = []
    for update in updates:
        if len(update) != 3:
            continue
        old, new, ref = update
        branch = ref.removeprefix(_BRANCHES)
        sound = is_object_name(old) and is_object_name(new) and ref.startswith(_BRANCHES)
        if sound and (safe_branch(branch) is None or not new.strip("0")):
            pushes.append(Push(project, branch, _commit(old), _commit(new), by))
    return pushes


def fresh(pushes: Iterable[Push], known: Mapping[str, str], now: Mapping[str, Commit]) -> list[Push]:
    """The pushes of one project that were not taken yet, in order.

    `known` are the heads last taken, `now` those of the repository. The same delivery ten times is one push; one that
    comes late, after a newer push of its branch, is none; A, B and C in quick succession are three.
    """
    taken = dict(known)
    new = []
    for push in pushes:
        last, commit = taken.get(push.branch, ""), push.new or ""
        if commit == last:
            continue
        follows = (push.old or "") == last
        if follows or commit == now.get(push.branch, ""):
            new.append(push)
            taken[push.branch] = commit
    return new


def _commit(name: str) -> Commit | None:
    return Commit(name) if name.strip("0") else None
