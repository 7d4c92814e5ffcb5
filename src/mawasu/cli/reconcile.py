"""`mawasu reconcile`: what Cloud Scheduler runs from time to time."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    help = "Commit new data, take down previews that are over, take up builds whose run died; Cloud Scheduler runs it."
    verbs.add("reconcile", reconcile, help)


def reconcile() -> None:
    from mawasu.cli.cloud import cloud, origin, runner, scratch_home
    from mawasu.cli.output import safe, say
    from mawasu.git.repository import init_bare
    from mawasu.google.client import Client
    from mawasu.google.storage import Bucket
    from mawasu.platforms.gcp.keys import KeySets
    from mawasu.platforms.gcp.runs import Branches, CloudBuildRuns
    from mawasu.runner.reconcile import REPOSITORY
    from mawasu.runner.reconcile import reconcile as due

    home, at = scratch_home(), cloud()
    init_bare(home.repos / f"{REPOSITORY}.git")  # commits are brought into it from the records
    said = False
    with Client() as client:
        run = runner(client, home, REPOSITORY)
        for line in due(run, Branches(client, at), CloudBuildRuns(client, at, "").retry, origin(client, home)):
            say(safe(line))
            said = True
        KeySets(client, at.published, Bucket(client, at.bucket)).refresh()  # without those whose time is over
    if not said:
        say("nothing is due")
