"""What a ledger needs of the store, and what it needs no longer: pure decisions over states."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from mawasu.ledger.entries import Collected
from mawasu.ledger.fold import BuildState, State
from mawasu.store.manifest import Manifest
from mawasu.words import Digest

_PREVIEW = "preview-"  # how environments of previews are named (design §5.8)
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


def digests_in(data: bytes) -> set[Digest]:
    """Every digest that a text mentions, whatever its form."""
    return {Digest(match.decode()) for match in _DIGEST.findall(data)}


def required(state: State) -> dict[Digest, str]:
    """What must be in the store, each with what needs it: plans, what good steps wrote, models of releases."""
    found: dict[Digest, str] = {}
    for release in state.releases.values():
        if "model" in release.parts and not release.collected:
            found[release.parts["model"]] = f"the model of release {release.name}"
    for done in state.done.values():
        for name, digest in done.outcome.outputs.items():
            found.setdefault(digest, f"{name}, written by {done.step} in build {done.build}")
    for build in state.builds.values():
        if build.plan is not None:
            found.setdefault(build.plan, f"the plan of build {build.number}")
    return found


def kept(state: State) -> set[Digest]:
    """Every digest that the living part of the ledger mentions: collection leaves all of it and what it leads to.

    That is what good steps, releases that are not collected, environments and unfinished builds say, in any field; so
    a fact that refers to a stored thing keeps it. Steps that failed keep nothing.
    """
    living: list[object] = list(state.done.values())
    living += [release for release in state.releases.values() if not release.collected]
    living += [environment for environment in state.environments.values() if not environment.gone]
    living += [state.builds[number] for number in state.open]
    return digests_in(msgspec.json.encode(living)) | set(required(state))


def living_plans(state: State) -> set[Digest]:
    """Plans of builds that run, or of which some good outcome is kept: what they mention (snapshots) is needed too."""
    return {
        build.plan
        for build in state.builds.values()
        if build.plan is not None
        and (build.number in state.open or any(step.key in state.done for step in build.steps))
    }


def unreferenced(
    objects: Iterable[tuple[Digest, float]], roots: set[Digest], manifests: Iterable[Manifest], before: float
) -> list[Digest]:
    """Objects that no root is or leads to, and that were last put before this time.

    `objects` are digests with the time of their last put; `manifests` those of all roots that are directories.
    """
    live = roots | {file.digest for manifest in manifests for file in manifest.files}
    return sorted(digest for digest, put in objects if digest not in live and put < before)


def outdated(state: State, before: float) -> Collected | None:
    """What only builds nobody can want any more wrote: to be recorded, then removed. None if there is nothing.

    Those are builds that ended before this time, of working trees, or of previews that were gone by then. What a
    stable environment's build made, reused or registered stays for ever: every past model can be asked back.
    """
    gone = {number for number, build in state.builds.items() if _expendable(state, build, before)}
    if not gone:
        return None
    staying = [build for number, build in state.builds.items() if number not in gone]
    releases = {build.release for build in staying}
    keys = {step.key for build in staying for step in build.steps}
    keys |= {key for release in state.releases.values() if release.release in releases for key in release.keys.values()}
    body = Collected(
        tuple(sorted(key for key, done in state.done.items() if done.build in gone and key not in keys)),
        tuple(
            sorted(
                release.release
                for release in state.releases.values()
                if release.build in gone and release.release not in releases and not release.collected
            )
        ),
    )
    return body if body.keys or body.releases else None


def _expendable(state: State, build: BuildState, before: float) -> bool:
    if build.finished is None or build.finished >= before:
        return False
    if build.push.dirty:
        return True
    if not build.environment:
        return state.heads.get(f"{build.push.project}/{build.push.branch}") == ""
    environment = state.environments.get(build.environment)
    preview = build.environment.startswith(_PREVIEW)
    return preview and environment is not None and environment.gone and environment.gone_since < before
