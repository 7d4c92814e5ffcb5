"""What Cloud Build refuses, or takes without a word and then does not do: found before anything is sent. Pure.

Sources, below cloud.google.com/build: docs/api/reference/rest/v1/projects.builds, quotas,
docs/configuring-builds/substitute-variable-values, docs/securing-builds/configure-user-specified-service-accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mawasu.platforms.gcp.re2 import branch_regex, re2_fault

__all__ = ["branch_regex", "lint", "re2_fault"]

ALWAYS = frozenset({"PROJECT_ID", "PROJECT_NUMBER", "BUILD_ID", "LOCATION", "SERVICE_ACCOUNT", "SERVICE_ACCOUNT_EMAIL"})
"""Substitutions of every build."""

TRIGGERED = frozenset(
    {
        "TRIGGER_NAME",
        "TRIGGER_BUILD_CONFIG_PATH",
        "COMMIT_SHA",
        "SHORT_SHA",
        "REVISION_ID",
        "REPO_NAME",
        "REPO_FULL_NAME",
        "BRANCH_NAME",
        "TAG_NAME",
        "REF_NAME",
        "_HEAD_BRANCH",
        "_BASE_BRANCH",
        "_HEAD_REPO_URL",
        "_PR_NUMBER",
    }
)
"""Those of a build that a trigger starts."""

MACHINES = frozenset({"N1_HIGHCPU_8", "N1_HIGHCPU_32", "E2_HIGHCPU_8", "E2_HIGHCPU_32", "E2_MEDIUM", "E2_STANDARD_2"})

LONGEST = 24 * 3600  # seconds
STEPS, ARGUMENTS, ARGUMENT, SUBSTITUTIONS, VALUE = 300, 100, 10_000, 200, 4000

_USED = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<braced>\w+)[^}]*\}|(?P<plain>[A-Za-z_]\w*))")
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?::\d+)?"
_PIECE = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_DOMAIN}/)?{_PIECE}(?:/{_PIECE})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
"""The grammar of references (distribution/reference)."""


def lint(build: Mapping[str, Any], *, triggered: bool = True) -> list[str]:
    """All faults of the body of a build, each one a sentence with its place. `triggered`: a trigger will start it."""
    found: list[str] = []
    for check in (_accounts, _steps, _names, _times):
        found += check(build)
    return [*found, *_substitutions(build, ALWAYS | TRIGGERED if triggered else ALWAYS)]


def _accounts(build: Mapping[str, Any]) -> Iterator[str]:
    account = build.get("serviceAccount")
    options = build.get("options", {})
    logging, bucket = options.get("logging", "LOGGING_UNSPECIFIED"), build.get("logsBucket")
    own = options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    if account is not None and not re.fullmatch(r"projects/[^/]+/serviceAccounts/[^/]+", account):
        yield f"serviceAccount: {account!r} is not projects/PROJECT/serviceAccounts/ACCOUNT"
    if account is not None and not bucket and not own and logging not in ("CLOUD_LOGGING_ONLY", "NONE"):
        yield (
            "options.logging: a build with a serviceAccount says where its logs go: CLOUD_LOGGING_ONLY, NONE,"
            " or a logsBucket of its own"
        )


def _steps(build: Mapping[str, Any]) -> Iterator[str]:
    steps = build.get("steps", [])
    if not 1 <= len(steps) <= STEPS:
        yield f"steps: a build has 1 to {STEPS} steps, this one {len(steps)}"
    earlier: set[str] = set()
    for index, step in enumerate(steps):
        where = f"steps[{index}]"
        if not step.get("name"):
            yield f"{where}.name: a step needs an image"
        if "script" in step and ("args" in step or "entrypoint" in step):
            yield f"{where}: a script has neither args nor an entrypoint"
        if len(step.get("args", [])) > ARGUMENTS:
            yield f"{where}.args: at most {ARGUMENTS}"
        yield from (
            f"{where}.args[{place}]: at most {ARGUMENT} characters"
            for place, argument in enumerate(step.get("args", []))
            if len(argument) > ARGUMENT
        )
        yield from (
            f"{where}.env: {entry!r} is not NAME=VALUE"
            for entry in step.get("env", [])
            if not re.match(r"[A-Za-z_]\w*=", entry)
        )
        for other in step.get("waitFor", []):
            if other != "-" and other not in earlier:
                yield f"{where}.waitFor: no step before it has the id {other!r}"
        name = step.get("id")
        if name is not None and name in earlier:
            yield f"{where}.id: {name!r} is taken"
        earlier |= {name} if name is not None else set()


def _names(build: Mapping[str, Any]) -> Iterator[str]:
    for tag in build.get("tags", []):
        if not re.fullmatch(r"\w[\w.-]{0,127}", _plain(tag), re.ASCII):
            yield f"tags: {tag!r} is not 1 to 128 of letters, digits and `_ . -`"
    places = [(f"steps[{index}].name", step.get("name", "")) for index, step in enumerate(build.get("steps", []))]
    for place, image in [*places, *(("images", image) for image in build.get("images", []))]:
        if image and not _IMAGE.fullmatch(_plain(image)):
            yield f"{place}: {image!r} is no name of an image"
    machine = build.get("options", {}).get("machineType")
    if machine is not None and machine not in MACHINES:
        yield f"options.machineType: {machine!r} is none of {', '.join(sorted(MACHINES))}"


def _times(build: Mapping[str, Any]) -> Iterator[str]:
    times = {"timeout": build.get("timeout"), "queueTtl": build.get("queueTtl")}
    times |= {f"steps[{index}].timeout": step.get("timeout") for index, step in enumerate(build.get("steps", []))}
    for place, text in times.items():
        if text is None:
            continue
        if not re.fullmatch(r"\d+(\.\d{1,9})?s", text):
            yield f"{place}: {text!r} is not a number of seconds such as 600s"
        elif not 0 < float(text[:-1]) <= LONGEST:
            yield f"{place}: {text} is not between 1s and {LONGEST}s (24 hours)"


def _substitutions(build: Mapping[str, Any], given: frozenset[str]) -> Iterator[str]:
    """A triggered build starts although a substitution is misspelt, with nothing in its place."""
    declared: Mapping[str, str] = build.get("substitutions", {})
    used = dict(_uses(build))
    for name, value in declared.items():
        if not re.fullmatch(r"_[A-Z0-9_]{1,99}", name):
            yield f"substitutions: {name!r} is not `_` and then capitals, digits and `_`"
        if len(value) > VALUE:
            yield f"substitutions.{name}: at most {VALUE} characters"
        if name not in used:
            yield f"substitutions.{name}: nothing uses it"
    if len(declared) > SUBSTITUTIONS:
        yield f"substitutions: at most {SUBSTITUTIONS}"
    for name, place in used.items():
        if name not in declared and name not in given:
            hint = "; a shell's own variable is written $$" if not name.startswith("_") else ""
            yield f"{place}: ${name} is neither built in nor in substitutions{hint}"


def _uses(build: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names that are substituted, and where. A script is the shell's: it sees them as variables, if it is given any."""
    declared = build.get("substitutions", {})
    mapped = build.get("options", {}).get("automapSubstitutions", False)
    for index, step in enumerate(build.get("steps", [])):
        if step.get("automapSubstitutions", mapped):
            yield from ((name, f"steps[{index}].script") for name in _used(step.get("script", "")) if name in declared)
    for place, text in _texts(build, ""):
        if not place.endswith(".script"):
            yield from ((name, place) for name in _used(text))


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """All strings in a JSON value, and where they are."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(one, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _texts(one, f"{place}[{index}]")


def _used(text: str) -> Iterator[str]:
    for found in _USED.finditer(text):
        if not found["escaped"]:
            yield found["braced"] or found["plain"]


def _plain(text: str) -> str:
    """With something harmless in the place of every substitution."""
    return _USED.sub("x", text)
