"""`mawasu build`: what a trigger of Cloud Build runs for a pushed commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from pathlib import Path

    from mawasu.google.client import Client
    from mawasu.platforms.gcp.infra.words import Wanted


def register(verbs: Verbs) -> None:
    verb = verbs.add("build", build, "Build a pushed commit on Google Cloud, as its trigger does.")
    verb.add_argument("--commit", required=True, help="Its whole name.")
    verb.add_argument("--branch", required=True, help="The branch that it was pushed to.")
    verb.add_argument("--feature", default="", help="This feature only.")
    verb.json("For machines: how each feature ended.")


def build(commit: str, branch: str, feature: str, as_json: bool) -> None:
    import os
    from pathlib import Path

    import msgspec

    from mawasu.cli.cloud import runner, scratch_home
    from mawasu.cli.output import emit, safe, say
    from mawasu.errors import UsageError
    from mawasu.git.command import is_object_name
    from mawasu.git.packs import borrow
    from mawasu.google.client import Client
    from mawasu.runner import push
    from mawasu.spec.environments import safe_branch
    from mawasu.words import Commit, Push, Result

    if not is_object_name(commit):
        raise UsageError(f"{commit!r} is not the whole name of a commit", "triggers give $COMMIT_SHA")
    if refused := safe_branch(branch):
        raise UsageError(f"branch {branch!a}: {refused}", "push it under another name")
    home = scratch_home()
    repository = os.environ.get("MAWASU_REPOSITORY") or Path.cwd().name
    borrow(home.repos / f"{repository}.git", Path.cwd())
    with Client() as client:
        infrastructure(client, home.repos / f"{repository}.git", commit, branch)
        run = runner(client, home, repository)
        done = push.build(run, Push(repository, branch, None, Commit(commit), by=run.runs.me or "build"), feature)
    if as_json:
        emit([msgspec.to_builtins(one) for one in done])
    else:
        for line in push.lines(done):
            say(safe(line))
    match push.worst(done):
        case Result.FAILED:
            raise SystemExit(4)
        case Result.BLOCKED:
            raise SystemExit(5)


def infrastructure(client: Client, repo: Path, commit: str, branch: str) -> None:
    """What production is built from is also what the project is made of: infrastructure goes the way of code.

    Raises PlatformError with all that could not be done; what only a person may do is said, and left.
    """
    from mawasu.cli.cloud import cloud
    from mawasu.cli.output import safe, say
    from mawasu.errors import PlatformError
    from mawasu.platforms.gcp.infra.converge import Given, converge

    features = _of_production(repo, commit, branch)
    if not features:
        return
    report = converge(client, features, Given(cloud().runner), person=False)
    for change in report.done:
        say(safe(f"infrastructure: {change.verb} {change.id}: {change.why}"))
    for change in report.waiting:
        say(safe(f"infrastructure: {change.verb} {change.id} waits for `mawasu gcp apply`: {change.why}"))
    if report.failed or report.refused:
        told = [f"{change.id}: {error}" for change, error in report.failed]
        told += [f"{change.id}: {change.why}" for change in report.refused]
        raise PlatformError("infrastructure: " + "; ".join(told), "`mawasu gcp plan` shows all; then push again")


def _of_production(repo: Path, commit: str, branch: str) -> list[Wanted]:
    """All features of the commit, if the branch is production of one of them; what has faults is told by its build."""
    from mawasu.errors import SpecError
    from mawasu.executor.commit import read_feature
    from mawasu.executor.known import PRODUCTION
    from mawasu.git.repository import features_in, read_tree
    from mawasu.platforms.gcp.infra.words import Wanted
    from mawasu.spec.environments import environment_of

    tree = read_tree(repo, commit)
    try:
        found = [Wanted(file, read_feature(str(repo), tree, file).feature) for file in features_in(tree)]
    except SpecError:
        return []
    chosen = [environment_of(one.feature, branch) for one in found]
    return found if any(one is not None and one.name == PRODUCTION for one in chosen) else []
