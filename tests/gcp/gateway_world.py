"""What a gateway on Google Cloud meets: the double, and a Cloud Run small enough to say what ESPv2 would do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.gateway import GcpGateway
from mawasu.platforms.gcp.keys import KeyRing, KeySets
from mawasu.platforms.gcp.names import Cloud
from mawasu.spec.feature import GcpGateway as Settings
from mawasu.words import Endpoint, Site
from tests.gateway.machinery import INFO, answered
from tests.google.double.core import Double, Request, refuse
from tests.google.double.servicemanagement import Managed, managed

RUN = "run.googleapis.com"
Dict = dict[str, Any]
FEATURE = "flight-delay"
NAME = names.gateway(FEATURE)
HOST = f"{NAME}-abc-ew.a.run.app"


def api(environment: str = "production", **paths: Any) -> Site:
    """A site whose GETs ask for these requirements."""
    described = {f"/{name}": answered({"get": {"operationId": name, "security": one}}) for name, one in paths.items()}
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}
    text = {"openapi": "3.0.3", "info": INFO, "paths": described, "components": {"securitySchemes": schemes}}
    service = f"https://{names.service(FEATURE, environment)}-abc-ew.a.run.app"
    endpoint = Endpoint("r1", url=service.replace("https://", "https://rabc---"), audience=service)
    return Site(FEATURE, environment, json.dumps(text), "auth/openapi.yaml", endpoint)


@dataclass
class World:
    """A double, and the gateway of one feature on it. `events`: who got traffic, in order."""

    double: Double
    client: Client
    cloud: Cloud
    services: dict[str, Dict] = field(default_factory=dict)
    revisions: dict[str, Dict] = field(default_factory=dict)  # by full name
    events: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def gateway(self, **settings: Any) -> GcpGateway:
        """Another process each time: nothing is remembered but what Google keeps."""
        return GcpGateway(
            self.client,
            self.cloud,
            FEATURE,
            Settings(**settings),
            self.key_sets,
            promote=lambda site: self.events.append(f"{site.environment} {site.endpoint.revision}"),
            say=self.said.append,
            first=0.001,
        )

    @property
    def records(self) -> Bucket:
        return Bucket(self.client, self.cloud.bucket)

    @property
    def key_sets(self) -> KeySets:
        return KeySets(self.client, self.cloud.published, self.records)

    @property
    def ring(self) -> KeyRing:
        return KeyRing(self.records, self.key_sets)

    @property
    def managed(self) -> Managed:
        return managed(self.double)[HOST]

    @property
    def served(self) -> Dict:
        """The document that the revision with all traffic was started for."""
        service = self.services[NAME]
        (traffic,) = service["traffic"]
        assert traffic["percent"] == 100
        revision = self.revisions[f"{service['name']}/revisions/{traffic['revision']}"]
        version = environ(revision)["ENDPOINTS_SERVICE_VERSION"]
        return self.managed.documents[version]

    @property
    def key_set(self) -> list[str]:
        """The ids of the published keys."""
        found = Bucket(self.client, self.cloud.published).read(f"keys/{FEATURE}.json")
        assert found is not None
        return [key["kid"] for key in json.loads(found)["keys"]]


def environ(template: Dict) -> dict[str, str]:
    return {one["name"]: one["value"] for one in template["containers"][0]["env"]}


def world(double: Double, client: Client) -> World:
    cloud = Cloud(double.project, double.number, double.region, "acme-mawasu")
    made = World(double, client, cloud)
    _cloud_run(made)
    return made


def _cloud_run(made: World) -> None:
    double, services = made.double, made.services

    def find(request: Request) -> Dict:
        name = request.params["name"].rpartition("/")[2]
        if name not in services:
            raise refuse(404, f"Resource '{name}' of kind 'SERVICE' in region does not exist.")
        return services[name]

    @double.route(RUN, "run.projects.locations.services.create")
    def create(request: Request) -> Dict:
        name = request.query["serviceId"]
        if name in services:
            raise refuse(409, f"Resource '{name}' already exists.")
        service = {**request.body, "name": f"{request.params['parent']}/services/{name}", "etag": "e0"}
        service["reconciling"] = True
        services[name] = service
        return double.operation(RUN, "v2", request.params["parent"], lambda: settle(service))

    @double.route(RUN, "run.projects.locations.services.get")
    def get(request: Request) -> Dict:
        return find(request)

    @double.route(RUN, "run.projects.locations.services.revisions.get")
    def revision(request: Request) -> Dict:
        name = request.params["name"]
        if name not in made.revisions:
            raise refuse(404, f"Resource '{name.rpartition('/')[2]}' of kind 'REVISION' does not exist.")
        return {"name": name, "conditions": made.revisions[name]["conditions"]}

    @double.route(RUN, "run.projects.locations.services.delete")
    def delete(request: Request) -> Dict:
        service = find(request)

        def do() -> Dict:
            return services.pop(service["name"].rpartition("/")[2])

        return double.operation(RUN, "v2", made.cloud.parent, do)

    @double.route(RUN, "run.projects.locations.services.patch")
    def patch(request: Request) -> Dict:
        service = find(request)
        if request.body.get("etag", service["etag"]) != service["etag"]:
            raise refuse(409, "The service was changed by somebody else.", code="ABORTED")
        for key in request.query["updateMask"].split(","):
            service[key] = request.body[key]
        service |= {"etag": f"e{double.number_of()}", "reconciling": True}
        return double.operation(RUN, "v2", made.cloud.parent, lambda: settle(service))

    def settle(service: Dict) -> Dict:
        """What Cloud Run does with what it was told: the revision starts, or does not; the traffic moves."""
        wanted = environ(service["template"])
        known = managed(double).get(wanted.get("ENDPOINTS_SERVICE_NAME", ""))
        version = wanted.get("ENDPOINTS_SERVICE_VERSION")
        starts = version is None or (known is not None and version in known.documents)
        revision = service["template"]["revision"]
        path = f"{service['name']}/revisions/{revision}"
        service |= {"reconciling": False, "uri": f"https://{HOST}", "latestCreatedRevision": path}
        if starts:
            service["latestReadyRevision"] = path
        state = "CONDITION_SUCCEEDED" if starts else "CONDITION_FAILED"
        condition = {"type": "Ready", "state": state, "message": "" if starts else "it exited"}
        service["terminalCondition"] = condition
        made.revisions.setdefault(path, {**service["template"], "conditions": [condition]})
        ready = service.get("latestReadyRevision", "").rpartition("/")[2]
        latest = [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100, "revision": ready}]
        before = made.events[-1:] or [""]
        service["trafficStatuses"] = list(service.get("traffic") or latest)
        for one in service["trafficStatuses"]:
            if one.get("percent") == 100 and before != [f"gateway {one['revision']}"]:
                made.events.append(f"gateway {one['revision']}")
        return service
