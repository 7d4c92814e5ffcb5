"""What a nested build printed when it failed, as one line and a next step. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.errors import MawasuError, PlatformError, StepError

_STEP = re.compile(r'^Step #\d+(?: - "[^"]*")?: ?')
_BUILDKIT = re.compile(r"^#\d+ (?:\d+\.\d+ )?")
_BEGINS = re.compile(r"(?:error|fatal|e)\b: ?|× |error building image: |(?:unauthorized|denied): ", re.IGNORECASE)
_NOISE = re.compile(
    r"importing cache manifest|error: build step \d+ |^error$|failed to (?:build|solve)|did not complete successfully",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\s|[│├╰▶]|caused by|hint|and |because ", re.IGNORECASE)
_PLACE = re.compile(r"(?P<file>\S+):(?P<line>\d+)$")
_LONGEST = 800

_HINTS = (
    (r"hash mismatch|hashes? (?:do|are) not match", "the index has other bytes than were locked; if that is meant,"
     " lock again"),
    (r"incompatible with the project's Python|requires-python", "the image has the Python that mawasu runs on: widen"
     " requires-python, or run another one"),
    (r"must have (?:their versions? pinned|a hash)", "pin with hashes: uv pip compile"
     " --generate-hashes"),
    (r"needs to be updated|lockfile at .* (?:out-of-date|outdated)|failed to parse", "lock again: uv lock"),
    (r"no solution found|unsatisfiable|no matching distribution", "lock again with uv, for Linux on x86-64 and this"
     " Python"),
    (r"artifactregistry\.|push access denied|uploadArtifacts", "`mawasu gcp apply` gives mawasu-images the role"
     " roles/artifactregistry.writer on the repository"),
    (r"failed to resolve source metadata|manifest unknown|pull access denied|not found: manifest|MANIFEST_UNKNOWN",
     "is the image after FROM right, and may mawasu-images read it?"),
    (r"failed to calculate checksum|no such file or directory|not found.*COPY|failed to get fileinfo", "an image sees"
     " the part's `paths:` and its Dockerfile alone, by path from the feature's root"),
    (r"dns error|error sending request|failed to fetch|timed out|connection refused", "is the package index reachable"
     " from Cloud Build? one inside a network needs a public address"),
    (r"no space left", "the machine's disk is full: make the image smaller"),
)  # fmt: skip


def clean(line: str) -> str:
    """A line without what Cloud Build and BuildKit set before it."""
    return _BUILDKIT.sub("", _STEP.sub("", line.rstrip())).rstrip()


def refusal(what: str, build: Mapping[str, Any], lines: Sequence[str], *, rendered: bool) -> MawasuError:
    """The error of a build that did not succeed, and printed `lines`; `what` names its lock or Dockerfile.

    `rendered`: the Dockerfile is mawasu's own, so its line says nothing to users.
    """
    failed = build.get("failureInfo", {})
    kind, where = failed.get("type", ""), build.get("logUrl", "")
    status, detail = build["status"], str(failed.get("detail") or build.get("statusDetail") or "")
    see = f"the whole log: {where}" if where else "see the log of the step"
    if status == "TIMEOUT":
        return StepError(f"{what}: the image was not made in time ({detail or 'Cloud Build ended it'})", see)
    if status == "EXPIRED":
        return PlatformError(
            f"{what}: Cloud Build had no machine for it in time",
            "run it again; is the quota of concurrent builds spent?",
        )
    said = [clean(line) for line in lines]
    if kind in ("FETCH_SOURCE_FAILED", "LOGGING_FAILURE", "PUSH_NOT_AUTHORIZED"):
        return PlatformError(
            f"{what}: Cloud Build could not begin or end it: {detail or kind}",
            "`mawasu gcp apply` gives the service account mawasu-images what it needs",
        )
    reason = _reason(said) or detail or "it failed without saying why"
    place = "" if rendered else _place(said)
    text = f"{what}: {place}{reason[:_LONGEST]}"
    return StepError(text, next((hint for pattern, hint in _HINTS if re.search(pattern, reason, re.IGNORECASE)), see))


def _reason(said: Sequence[str]) -> str:
    """The first error and what goes on from it; else how BuildKit or kaniko sum it up; else the last lines."""
    for index, line in enumerate(said):
        if _BEGINS.match(line.lstrip()) and not _NOISE.search(line):
            more = []
            for following in said[index + 1 : index + 12]:
                if not following or not _GOES_ON.match(following):
                    break
                more.append(following)
            return _joined([line, *more])
    summed = [line for line in said if re.search(r"failed to solve: |error building image", line)]
    if summed:
        return _joined([re.sub(r"^ERROR: (?:failed to build: )?", "", summed[-1])])
    return _joined([line for line in said if line.strip() and not _NOISE.search(line)][-5:])


def _place(said: Sequence[str]) -> str:
    """`Dockerfile:12: RUN make — `, from the excerpt that BuildKit shows."""
    for index, line in enumerate(said):
        place = _PLACE.fullmatch(line.strip())
        marked = [found for found in said[index + 1 : index + 30] if ">>>" in found]
        if place and marked:
            return f"{place[0]}: {marked[0].partition('>>>')[2].strip()[:120]} — "
    return ""


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(re.sub(r"^[\s×│├╰─▶┬·]*", "", line) for line in lines).split())
