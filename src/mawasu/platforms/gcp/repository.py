"""The repository on GitHub, through Cloud Build's connection to it: no credentials of mawasu's own."""

from __future__ import annotations

from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.git.remote import Remote
from mawasu.google import triggers
from mawasu.google.client import Client
from mawasu.platforms.gcp.names import Cloud
from mawasu.words import Commit

USER = "x-access-token"  # what GitHub wants beside an app's token


class Connected:
    """`executor.refresh.Origin`. `project` is what the connection calls the repository (`names.link`); `repo` a bare
    repository that is one's own. Asks for a token when it is first needed."""

    def __init__(self, client: Client, cloud: Cloud, project: str, repo: Path) -> None:
        self._client, self._cloud, self._project, self._repo = client, cloud, project, repo
        self._remote: Remote | None = None

    def fetch(self, branch: str) -> tuple[str, Commit] | None:
        head = self._open().fetch(branch)
        return None if head is None else (str(self._repo), head)

    def move(self, branch: str, old: Commit, new: Commit) -> bool:
        return self._open().push(branch, old, new)

    def _open(self) -> Remote:
        if self._remote is None:
            at = self._cloud
            if not at.connection:
                raise PlatformError("there is no connection to GitHub", "`mawasu gcp apply` says how to make one")
            place = (at.project, at.region, at.connection, self._project)
            url = str(self._client.send(triggers.get_repository(*place))["remoteUri"])
            token = str(self._client.send(triggers.write_token(*place))["token"])
            self._remote = Remote(self._repo, url, USER, token)
        return self._remote
