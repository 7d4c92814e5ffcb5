"""Where a branch goes, and the names of previews: a grammar that turns every branch into a name of its own.

A preview is `preview-<slug>`, which can be one label of a domain name (RFC 1035: at most 63 of `a-z0-9-`, no `-` at
either end). In a slug small letters, digits and a `-` before one of them stand for themselves; everything else is
written with `--` and a letter:

    --s /   --d .   --u _   --p +   --h -   --cx X (one capital)   --kxyz--k XYZ (a run of capitals)

so `feature/JIRA-12_b` is `feature--s--kjira--k-12--ub`, and `branch_of` reads it back. A branch whose slug would be too
long, or that holds other characters, gets what is readable of it and a digest: `--x` and 16 hex digits, which no other
slug can hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mawasu.spec import globs
from mawasu.spec.faults import quoted
from mawasu.spec.feature import Environment, Feature
from mawasu.words import Value, digest_of

PREVIEW = "preview-"
LONGEST_SLUG = 63 - len(PREVIEW)
LONGEST_BRANCH = 200

_DIGEST_DIGITS = 16
_CODES = {"/": "s", ".": "d", "_": "u", "+": "p", "-": "h"}
_CHARACTERS = {code: character for character, code in _CODES.items()}
_TOKEN = re.compile(r"(?P<run>[A-Z]{2,})|(?P<capital>[A-Z])|(?P<dash>(?<=.)-(?=[a-z0-9]))|(?P<other>.)", re.DOTALL)
_WRITTEN = re.compile(r"--k(?P<run>[a-z]{2,})--k|--c(?P<capital>[a-z])|--(?P<code>[sduph])|(?P<plain>[a-z0-9]|-(?!-))")


class Chosen(Value, frozen=True):
    """The environment of a branch. `name` is a stable one's own, or `preview-<slug>`."""

    name: str
    environment: Environment


def environment_of(feature: Feature, branch: str) -> Chosen | None:
    """Where the branch goes: the first stable environment in the order of the file, then a preview; None: nowhere."""
    for environment in sorted(feature.environments, key=lambda environment: environment.preview):
        if globs.match_branch(environment.branch, branch):
            return Chosen(PREVIEW + slug_of(branch) if environment.preview else environment.name, environment)
    return None


def refresh_branch(stable: Iterable[tuple[str, str]]) -> str | None:
    """The branch that commits of new data go to, of stable environments (name, branch): where changes are tried first.

    That is the one beside production, if there is exactly one, else production's own. A pattern is no branch. None
    where no branch can be told.
    """
    branches = {name: branch for name, branch in stable if globs.is_plain(branch)}
    others = [branch for name, branch in branches.items() if name != "production"]
    return others[0] if len(others) == 1 else branches.get("production")


def slug_of(branch: str) -> str:
    """The branch as at most 55 of `a-z0-9-`, different for every branch."""
    slug = "".join(_write(token) for token in _TOKEN.finditer(branch))
    if branch and len(slug) <= LONGEST_SLUG and re.fullmatch(r"[A-Za-z0-9._/+-]+", branch):
        return slug
    digest = digest_of(branch.encode("utf-8", "surrogatepass")).removeprefix("sha256:")[:_DIGEST_DIGITS]
    room = LONGEST_SLUG - _DIGEST_DIGITS - len("--x")
    readable = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:room].rstrip("-")
    return f"{readable}--x{digest}"


def branch_of(slug: str) -> str | None:
    """The branch that `slug_of` gave this slug; None for one with a digest, and for what is no slug."""
    branch, position = "", 0
    while position < len(slug):
        token = _WRITTEN.match(slug, position)
        if token is None:
            return None
        branch += _read(token)
        position = token.end()
    return branch if branch and slug_of(branch) == slug else None


def _write(token: re.Match[str]) -> str:
    text = token[0]
    if token["run"]:
        return f"--k{text.lower()}--k"
    if token["capital"]:
        return f"--c{text.lower()}"
    if token["dash"]:
        return text
    return f"--{_CODES[text]}" if text in _CODES else text


def _read(token: re.Match[str]) -> str:
    if token["code"]:
        return _CHARACTERS[token["code"]]
    return (token["run"] or token["capital"] or "").upper() or token["plain"]


def safe_branch(name: str) -> str | None:
    """Why a branch of this name is refused, None if it is safe to show and to hand to programs.

    Narrower than git's own rules (git-check-ref-format).
    """
    if not name or len(name) > LONGEST_BRANCH:
        return f"a branch's name has 1 to {LONGEST_BRANCH} characters"
    strange = re.search(r"[^A-Za-z0-9._/+-]", name)
    if strange:
        shown = "a space" if strange[0] == " " else quoted(strange[0])
        return f"{shown} in a branch's name is not allowed, only letters, digits and `. _ / + -` are"
    if name.startswith("-"):
        return "a branch's name may not start with `-`, where programs expect options"
    if name == "HEAD":
        return "`HEAD` is a name of git's own"
    if ".." in name:
        return "a branch's name may not hold `..`"
    for part in name.split("/"):
        if not part:
            return "a branch's name may not start or end with `/`, or hold `//`"
        if part.startswith(".") or part.endswith((".", ".lock")):
            return "no part of a branch's name may start or end with `.` or end in `.lock`"
    return None
