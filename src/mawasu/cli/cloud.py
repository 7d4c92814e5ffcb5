"""What the verbs of a run on Google Cloud share: its cloud, its records, and what a feature is built with there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mawasu.data.reach import Reach
    from mawasu.executor.build import Shop
    from mawasu.executor.records import CloudRecords
    from mawasu.executor.refresh import Origin
    from mawasu.google.client import Client
    from mawasu.home import Home
    from mawasu.ledger.entries import AnyBody
    from mawasu.platforms.gcp.names import Cloud
    from mawasu.platforms.gcp.platform import Tempo
    from mawasu.platforms.gcp.runs import CloudBuildRuns
    from mawasu.runner.push import Runner
    from mawasu.spec.feature import Gcp
    from mawasu.words import Commit


def cloud() -> Cloud:
    """From the trigger that started this run."""
    import msgspec

    from mawasu.platforms.gcp.names import VARIABLE, cloud_of

    text = os.environ.get(VARIABLE, "")
    hint = "`mawasu gcp apply` makes triggers that say it; this verb is theirs"
    if not text:
        raise UsageError(f"{VARIABLE} is not set: this is no run on Google Cloud", hint)
    try:
        return cloud_of(text)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{VARIABLE} cannot be read: {error}", hint) from error


def runner(client: Client, home: Home, repository: str, tempo: Tempo | None = None) -> Runner:
    """All that a run needs; `repository` is the name of the one below `home.repos`."""
    from mawasu.cli.output import safe, say
    from mawasu.executor.records import CloudRecords
    from mawasu.platforms.gcp.platform import Tempo
    from mawasu.platforms.gcp.runs import CloudBuildRuns
    from mawasu.runner.push import Runner

    at = cloud()
    records = CloudRecords(client, at.bucket, home.checkpoints)
    runs = CloudBuildRuns(client, at, os.environ.get("BUILD_ID", ""))
    outfit = _Outfit(client, at, home, records, runs, repository, tempo or Tempo())
    return Runner(home, records, runs, outfit, reach(client, at), say=lambda line: say(safe(line)))


def origin(client: Client, home: Home) -> Callable[[str], Origin]:
    """The repository on GitHub, by what the connection calls it."""
    from mawasu.git.repository import init_bare
    from mawasu.platforms.gcp.repository import Connected

    def connected(project: str) -> Origin:
        repo = home.repos / f"origin-{project}.git"
        init_bare(repo)
        return Connected(client, cloud(), project, repo)

    return connected


def reach(client: Client, at: Cloud) -> Reach:
    """On Google Cloud data lies in buckets: in any that mawasu-build was given to read, never in mawasu's own."""
    from mawasu.data.reach import CLOUD, Reach
    from mawasu.platforms.gcp import names

    own = {at.bucket, *(names.beside(at.bucket, what) for what in names.BUCKETS)}
    return Reach((CLOUD,), frozenset(own), client)


class _Outfit:
    """`runner.push.Outfit` for this cloud."""

    def __init__(
        self,
        client: Client,
        at: Cloud,
        home: Home,
        records: CloudRecords,
        runs: CloudBuildRuns,
        repository: str,
        tempo: Tempo,
    ) -> None:
        self._client, self._cloud, self._home, self._tempo = client, at, home, tempo
        self._records, self._runs, self._repository = records, runs, repository

    def __call__(self, feature: str, settings: Gcp | None, environment: str = "") -> Shop:
        from functools import partial

        from mawasu.cli.output import safe, say
        from mawasu.executor.build import Shop
        from mawasu.executor.commit import git_dir
        from mawasu.executor.sites import Live
        from mawasu.gateway import swagger
        from mawasu.platforms.gcp.platform import GcpPlatform
        from mawasu.platforms.gcp.secrets import references
        from mawasu.runner.claim import is_walked
        from mawasu.runner.sites import LedgerSites

        records, client = self._records, self._client
        chosen = self._one_gateway(feature, _agreed(settings, self._cloud), environment)
        scratch = self._home.workspaces
        scratch.mkdir(parents=True, exist_ok=True)
        platform = GcpPlatform(
            client,
            self._cloud,
            chosen,
            feature,
            records.store,
            scratch,
            lambda line: say(safe(line)),
            self._tempo,
        )
        repo = git_dir(self._home.repos, self._repository)
        sites = LedgerSites(platform.gateway, records.ledger(feature), repo, self._bring, platform.address)
        return Shop(
            home=self._home,
            records=records,
            workshop=platform,
            live=Live(platform.services, sites, partial(is_walked, runs=self._runs), client.id_token),
            secrets=partial(references, client, self._cloud, feature),
            reach=reach(client, self._cloud),
            bring=self._bring,
            check_api=partial(swagger.check, keys=chosen.gateway.keys),
            told=partial(self._tell, feature),
        )

    def _one_gateway(self, feature: str, settings: Gcp, environment: str) -> Gcp:
        """All environments of a feature share a gateway, and a branch must not change production's: what production's
        own commit says counts, from its first release on."""
        import msgspec

        from mawasu.executor.commit import git_dir, read_feature
        from mawasu.executor.known import PRODUCTION
        from mawasu.git.repository import read_tree
        from mawasu.words import Commit

        state = self._records.ledger(feature).state()
        known = state.environments.get(PRODUCTION)
        if environment == PRODUCTION or known is None or known.serving is None:
            return settings
        release = state.releases[known.serving.release]
        repo = git_dir(self._home.repos, self._repository)
        self._bring(repo, feature, Commit(release.commit))
        then = read_feature(repo, read_tree(repo, release.commit), state.builds[release.build].file).feature.gcp
        return settings if then is None else msgspec.structs.replace(settings, gateway=then.gateway)

    def _bring(self, repo: str, feature: str, commit: Commit) -> None:
        from mawasu.runner.commits import Commits

        Commits(self._records.store, feature).bring(repo, commit)

    def _tell(self, feature: str, body: AnyBody) -> None:
        from mawasu.cli.output import safe, say
        from mawasu.executor.follow import lines

        for line in lines(body, self._records.store, feature):
            say(safe(line))


def _agreed(settings: Gcp | None, at: Cloud) -> Gcp:
    """The commit's settings, for the place that its trigger belongs to. Raises SpecError for any other place."""
    from mawasu.spec.feature import Gcp

    if settings is None:
        return Gcp(project=at.project, region=at.region, bucket=at.bucket)
    said = {"project": settings.project, "region": settings.region, "bucket": settings.bucket}
    here = {"project": at.project, "region": at.region, "bucket": at.bucket}
    faults = tuple(
        f"mawasu.yaml: gcp.{key} is {value}, this trigger is of {here[key]}"
        for key, value in said.items()
        if value != here[key]
    )
    if faults:
        raise SpecError(faults, "`mawasu gcp apply` with the new settings makes triggers there")
    return settings


def scratch_home() -> Home:
    """A home for one run: nothing in it outlives the run but what the bucket has too."""
    import tempfile

    from mawasu.home import Home

    return Home(os.environ.get("MAWASU_HOME") or Path(tempfile.mkdtemp(prefix="mawasu-run-"))).create()
