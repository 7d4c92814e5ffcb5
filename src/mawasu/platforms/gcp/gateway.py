"""The gateway of one feature: an Endpoints service, and ESPv2 on Cloud Run in front of all its environments.

A switch goes: reserve the host → compile → publish key sets → configuration, rollout, enabled → a revision of ESPv2 at
0 % → the APIs' traffic → the gateway's traffic. Every step looks first and does only what is missing, so a switch that
was cut off anywhere is finished by the next one, and an unchanged document costs a few reads. Until the last step what
was served before is served on.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from mawasu.errors import PlatformError, SpecError
from mawasu.gateway import espv2, swagger
from mawasu.gateway.forms import Fault
from mawasu.google import run, servicemanagement
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.operations import FIRST, LONGEST, wait_for
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.keys import KeySets
from mawasu.platforms.gcp.names import Cloud
from mawasu.spec.feature import GcpGateway as Settings
from mawasu.words import Site

Dict = dict[str, Any]

PATIENCE = 600.0  # seconds for each thing to come about; a revision takes some ten
_TO_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


class GcpGateway:
    """`ports.Gateway` for the sites of one feature.

    `promote` moves the traffic of a site's own service to the revision that the site names. It is asked for every site
    of a switch, between the gateway's candidate and the gateway's traffic: a build gives one that moves the environment
    it deploys and lets the others be. `say` takes lines for people; `first` is the shortest pause of waiting, in
    seconds.
    """

    def __init__(
        self,
        client: Client,
        cloud: Cloud,
        feature: str,
        settings: Settings,
        key_sets: KeySets,
        *,
        promote: Callable[[Site], None],
        say: Callable[[str], None],
        first: float = FIRST,
    ) -> None:
        self._client = client
        self._cloud = cloud
        self._feature = feature
        self._settings = settings
        self._key_sets = key_sets
        self._promote = promote
        self._say = say
        self._first = first
        self._name = names.gateway(feature)
        self._path = run.name_of(cloud.parent, self._name)

    @property
    def url(self) -> str:
        """Raises PlatformError before the first switch."""
        service = self._client.find(run.get(self._path))
        if service is None or not service.get("uri"):
            cause = f"{self._feature} has no gateway yet: there is no Cloud Run service {self._name}"
            raise PlatformError(cause, "the first build that serves it makes one")
        return str(service["uri"])

    def switch(self, sites: Sequence[Site]) -> None:
        """See `ports.Gateway`. With no site the gateway goes away; the next switch gets the same host again."""
        if not sites:
            self._remove()
            return
        self._compile(sites, "to.be.reserved")  # faults come before anything is made
        service = self._reserve()
        host = urlsplit(service["uri"]).netloc
        compiled = self._compile(sites, host)
        if self._settings.keys == "mawasu":
            self._key_sets.publish(self._feature)
        self._key_sets.add(compiled.key_sets)
        revision = self._prepare(service, host, self._configure(host, compiled, sites))
        for site in sites:
            self._promote(site)
        self._take(revision)

    def _compile(self, sites: Sequence[Site], host: str) -> swagger.Compiled:
        for site in sites:
            if not site.endpoint.audience:
                raise PlatformError(f"{site.prefix} has no Cloud Run service that the gateway could call")
            if site.split:  # ESPv2 has one address for each operation, and Cloud Run's shares know no unit
                raise PlatformError(f"the gateway of Google Cloud cannot split {site.prefix} among revisions")
        backed = [swagger.Backed(site, site.endpoint.audience) for site in sites]
        return swagger.compile(backed, host, self._settings.keys, self._key_sets.url)

    # ------------------------------------------------------------------------------------------------ Endpoints

    def _configure(self, host: str, compiled: swagger.Compiled, sites: Sequence[Site]) -> str:
        """The id of the configuration that says what was compiled, made and in effect."""
        self._own(host)
        newest = self._client.send(servicemanagement.configs(host))
        config = servicemanagement.config_of(newest, compiled.summary) or self._submit(host, compiled, sites)
        if servicemanagement.rolled_out(self._client.send(servicemanagement.rollouts(host))) != config:
            self._wait(servicemanagement.HOST, "v1", self._client.send(servicemanagement.roll_out(host, config)))
        usage = self._client.find(servicemanagement.usage(self._cloud.number, host)) or {}
        if usage.get("state") != "ENABLED":
            enabling = self._client.send(servicemanagement.enable(self._cloud.number, host))
            self._wait(servicemanagement.USAGE, "v1", enabling)
        return config

    def _own(self, host: str) -> None:
        """The managed service. One that was deleted within the last 30 days comes back by being undeleted only."""
        if self._managed(host):
            return
        try:
            made = self._client.send(servicemanagement.create(host, self._cloud.project))
        except ConflictError as error:
            if self._managed(host):
                return
            made = self._undelete(host, error)
        self._wait(servicemanagement.HOST, "v1", made)

    def _managed(self, host: str) -> bool:
        try:
            return self._client.find(servicemanagement.get(host)) is not None
        except GoogleError as error:
            if error.status == 403:  # as Service Management says of what does not exist
                return False
            raise

    def _undelete(self, host: str, conflict: ConflictError) -> Any:
        try:
            return self._client.send(servicemanagement.undelete(host))
        except NotFoundError:
            raise conflict from None

    def _submit(self, host: str, compiled: swagger.Compiled, sites: Sequence[Site]) -> str:
        submission = self._client.send(servicemanagement.submit(host, compiled.text, swagger.FILE))
        response = self._wait(servicemanagement.HOST, "v1", submission)
        found = servicemanagement.diagnostics(response)
        faults = [_fault(one, sites) for one in found if one.error]
        for one in found:
            self._say(f"{'error' if one.error else 'warning'}: {_fault(one, sites)}")
        if faults:
            raise SpecError(tuple(faults), "so says Cloud Endpoints of the document that was made of it")
        return str(response["serviceConfig"]["id"])

    # ------------------------------------------------------------------------------------------------ ESPv2

    def _reserve(self) -> Dict:
        """The Cloud Run service, made if it is not there: its host name is the API's. Open to all, for ESPv2 checks.

        The check of callers is switched off rather than `allUsers` given the right to call: that is one request with
        the creation instead of one after it, and organisations that forbid members from outside allow it.
        """
        if self._client.find(run.get(self._path)) is None:
            labels = names.labels(self._feature)
            body = {
                "labels": labels,
                "ingress": "INGRESS_TRAFFIC_ALL",
                "invokerIamDisabled": True,
                "template": espv2.template(self._name, names.account(self._cloud, "gateway"), labels),
            }
            call = run.create(self._cloud.parent, self._name, body)
            with contextlib.suppress(ConflictError):  # by the attempt whose answer was lost, or by another build
                self._wait(run.HOST, "v2", self._client.send(call))
        return self._until(lambda service: bool(service.get("uri")), "has no address")

    def _prepare(self, service: Dict, host: str, config: str) -> str:
        """A revision for this configuration that is ready and has no traffic yet; its name."""
        labels = names.labels(self._feature)
        account = names.account(self._cloud, "gateway")
        template = espv2.template(self._name, account, labels, host, config, self._settings.cors)
        revision = str(template["revision"])
        if _traffic(service) == [_all(revision)]:
            return revision
        here = f"{self._path}/revisions/{revision}"
        if (found := self._client.find(run.get(here))) is None:  # a document that was served before has one
            traffic = [*_traffic(service), {**_all(revision), "percent": 0, "tag": names.tag(revision)}]
            body = {"template": template, "traffic": traffic, "labels": labels, "invokerIamDisabled": True}
            self._patch(body, service)
            found = self._client.send(run.get(here))
        condition = run.ready(found)
        if condition.state != "SUCCEEDED":
            said = condition.message or "it is not ready"
            hint = "the log of the revision says more; may mawasu-gateway read the service's configuration?"
            raise PlatformError(f"the gateway's new revision {revision} does not start: {said}", hint)
        return revision

    def _take(self, revision: str) -> None:
        service = self._client.send(run.get(self._path))
        if _traffic(service) != [_all(revision)]:
            self._patch({"traffic": [_all(revision)]}, service)

    def _patch(self, body: Dict, service: Dict) -> Dict:
        """Change the service unless somebody else has; the service as it is then."""
        try:
            self._wait(run.HOST, "v2", self._client.send(run.patch(self._path, service.get("etag", ""), body)))
        except ConflictError as error:
            if not _is(self._settled(), body):  # else it was done by the attempt whose answer was lost
                cause = f"another build changed the gateway {self._name} at the same moment"
                raise PlatformError(cause, "run it again: it goes on from what is there now") from error
        return self._settled()

    def _settled(self) -> Dict:
        """The service once Cloud Run has done what it was told."""
        return self._until(lambda service: not service.get("reconciling"), "is not done with its last change")

    def _until(self, fine: Callable[[Dict], bool], why: str) -> Dict:
        deadline, pause = time.monotonic() + PATIENCE, self._first
        while not fine(service := self._client.send(run.get(self._path))):
            if time.monotonic() > deadline:
                raise PlatformError(f"{self._name} {why} after {PATIENCE:.0f} s", "run it again later")
            time.sleep(pause)
            pause = min(LONGEST, pause * 1.5)
        return dict(service)

    def _remove(self) -> None:
        with contextlib.suppress(NotFoundError):
            self._wait(run.HOST, "v2", self._client.send(run.delete(self._path)))

    def _wait(self, host: str, version: str, operation: Dict) -> Any:
        return wait_for(self._client, host, version, operation, timeout=PATIENCE, first=self._first)


def _all(revision: str) -> Dict:
    return {"type": _TO_REVISION, "revision": revision, "percent": 100}


def _traffic(service: Dict) -> list[Dict]:
    """Who has the traffic now, by name: what was given to the latest revision too, so that a new one gets none."""
    return [
        {
            "type": _TO_REVISION,
            "revision": one.get("revision") or _name_of(service, "Ready"),
            "percent": one["percent"],
        }
        for one in service.get("trafficStatuses", [])
        if one.get("percent")
    ]


def _is(service: Dict, body: Dict) -> bool:
    """Whether a service is as this change wants it, in revision and traffic."""
    revision = body.get("template", {}).get("revision", "")
    wanted = [(one["revision"], one["percent"]) for one in body["traffic"] if one["percent"]]
    has = [(one["revision"], one["percent"]) for one in _traffic(service)]
    return has == wanted and revision in ("", service.get("template", {}).get("revision"))


def _name_of(service: Dict, kind: str) -> str:
    """The latest revision that is ready, or was created."""
    return str(service.get(f"latest{kind}Revision", "")).rpartition("/")[2]


def _fault(found: servicemanagement.Diagnostic, sites: Sequence[Site]) -> Fault:
    """A diagnostic at the document that it is about, if it names a path of one."""
    said = json.dumps([found.location, found.message])
    of = [site.path for site in sites if f"{site.prefix}/" in said]
    return Fault(of[0] if of else swagger.FILE, 0, found.location, found.message)
