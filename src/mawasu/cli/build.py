"""`mawasu build`: what a trigger of Cloud Build runs for a pushed commit."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


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
    run = runner(home, repository)
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
