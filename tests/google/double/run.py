"""Cloud Run: services and revisions whose containers really run on this machine, behind loopback URLs that ask for
identity tokens as Google's front end does.

    run_of(double).environment_of = lambda ref: …      the directory of an image's Python environment
    run_of(double).close()                             at the end of a test

Not here: scaling (each revision has one instance), and that other containers see only their own volumes.
"""

from __future__ import annotations

import copy
import re
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.google.double.container import default_environment
from tests.google.double.core import Double, Request, refuse
from tests.google.double.espv2 import IMAGE, Espv2
from tests.google.double.faults import Answer
from tests.google.double.kit import Collection, Thing, collection
from tests.google.double.logging import logs_of
from tests.google.double.machine import Instance, Line
from tests.google.double.server import Incoming, Server

HOST = "run.googleapis.com"
SERVICES = "run.projects.locations.services"
_OF: weakref.WeakKeyDictionary[Double, Run] = weakref.WeakKeyDictionary()
_SIZES = {"1": (0.5, 4), "2": (0.5, 8), "4": (2, 16), "6": (4, 24), "8": (4, 32)}  # cores → GiB


@dataclass
class Revision:
    made: Thing  # as Google shows it, but for its conditions
    template: Thing
    instance: Instance | Espv2

    def shown(self) -> Thing:
        return {**copy.deepcopy(self.made), "conditions": [_condition("Ready", self.instance)]}


class Run:
    def __init__(self, double: Double) -> None:
        self.environment_of: Callable[[str], Path] = default_environment
        self.revisions: dict[str, Revision] = {}  # by full name
        self.doors: dict[tuple[str, str], Server] = {}  # (service's full name, tag or "")
        self._double = double
        self._ended: list[Instance | Espv2 | Server] = []
        self.services: Collection = collection(double, HOST, SERVICES, fill=self._fill, gone=self._gone, whole=True)
        for verb in ("get", "list"):
            double.route(HOST, f"{SERVICES}.revisions.{verb}")(getattr(self, f"_revisions_{verb}"))
        double.route(HOST, f"{SERVICES}.revisions.delete")(self._revisions_delete)
        double.route(HOST, f"{SERVICES}.get")(lambda request: self._shown(self.services.get(request)))
        double.route(HOST, f"{SERVICES}.list")(self._list)

    def close(self) -> None:
        """End every instance and door."""
        with self._double.lock:
            ending = [*self.doors.values(), *(one.instance for one in self.revisions.values()), *self._ended]
            self.doors, self.revisions, self._ended = {}, {}, []
        for one in ending:
            one.stop() if isinstance(one, Server) else one.close()

    # ------------------------------------------------------------------------------------------------ services

    def _fill(self, name: str, thing: Thing, before: Thing | None) -> Thing:
        """A service as it is after a create or a change: a revision of its template, traffic to what there is."""
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?", name.rpartition("/")[2]):
            raise refuse(400, f"Invalid service id {name!r}.")
        template = thing.get("template", {})
        if before is None or template != before["template"]:
            made = self._revise(name, template)
            thing["latestCreatedRevision"] = made
        thing.setdefault("traffic", [{"type": f"{_TYPE}_LATEST", "percent": 100}])
        self._check_traffic(name, thing["traffic"])
        generation = int(before["generation"]) + 1 if before else 1
        thing |= {"generation": str(generation), "observedGeneration": str(generation)}
        thing["uri"] = self._door(name, "")
        thing["urls"] = [thing["uri"]]
        for tag in {one["tag"] for one in thing["traffic"] if "tag" in one}:
            self._door(name, tag)
        return thing

    def _shown(self, thing: Thing) -> Thing:
        """With what goes on by itself: its newest revision may be ready by now."""
        latest = self.revisions[thing["latestCreatedRevision"]].instance
        ready = [
            one.made["name"]
            for one in self.revisions.values()
            if one.made["service"] == thing["name"] and one.instance.state == "SUCCEEDED"
        ]
        statuses = [
            {**one, **({"uri": self.doors[thing["name"], one["tag"]].url} if "tag" in one else {})}
            for one in thing["traffic"]
        ]
        return {
            **thing,
            **({"latestReadyRevision": ready[-1]} if ready else {}),
            "trafficStatuses": statuses,
            "reconciling": latest.state == "PENDING",
            "terminalCondition": _condition("Ready", latest),
        }

    def _list(self, request: Request) -> Thing:
        found = self.services.list(request)
        if "services" in found:
            found["services"] = [self._shown(one) for one in found["services"]]
        return found

    def _gone(self, name: str, thing: Thing) -> None:
        self._double.policies.pop(f"//{HOST}/{name}", None)
        for door in [door for door in self.doors if door[0] == name]:
            self._ended.append(self.doors.pop(door))
        for key in [key for key, one in self.revisions.items() if one.made["service"] == name]:
            self._ended.append(self.revisions[key].instance)
            self.revisions.pop(key).instance.end()

    def _check_traffic(self, name: str, traffic: list[Thing]) -> None:
        if (total := sum(one.get("percent", 0) for one in traffic)) != 100:
            raise refuse(400, f"Traffic percentages must sum to 100, got {total}.")
        tags = Counter(one["tag"] for one in traffic if "tag" in one)
        if twice := [tag for tag, count in tags.items() if count > 1]:
            raise refuse(400, f"Traffic tag {twice[0]!r} is used more than once.")
        for one in traffic:
            if one["type"].endswith("_LATEST") == ("revision" in one):
                raise refuse(400, "A traffic target names a revision, or is the latest one.")
            if "revision" in one and f"{name}/revisions/{one['revision']}" not in self.revisions:
                raise refuse(400, f"Revision '{one['revision']}' referenced in traffic does not exist.")

    # ------------------------------------------------------------------------------------------------ revisions

    def _revise(self, name: str, template: Thing) -> str:
        service = name.rpartition("/")[2]
        short = template.get("revision") or f"{service}-{self._double.number_of():05}-abc"
        made = f"{name}/revisions/{short}"
        _check_template(service, short, template)
        if made in self.revisions:
            if self.revisions[made].template != template:
                raise refuse(409, f"Revision named '{short}' with different configuration already exists.")
            return made
        kept = {key: value for key, value in template.items() if key not in ("revision",)}
        stamps = {"createTime": self._double.now(), "uid": f"uid-{self._double.number_of()}"}
        shown = {**copy.deepcopy(kept), **stamps, "name": made, "service": name, "etag": f'"{short}"'}
        labels = {"service_name": service, "revision_name": short, "location": self._double.region}

        def line(container: str, text: str) -> None:
            payload = {"textPayload": text, "labels": {"container_name": container, "instanceId": "0"}}
            logs_of(self._double).write("cloud_run_revision", labels, payload, "run.googleapis.com%2Fstderr")

        instance = self._instance(shown, line)
        self.revisions[made] = Revision(shown, copy.deepcopy(template), instance)
        return made

    def _instance(self, shown: Thing, line: Line) -> Instance | Espv2:
        if any(f"/{IMAGE}:" in one["image"] for one in shown["containers"]):
            return Espv2(self._double, shown)
        return Instance(self._double, shown, self.environment_of, line)

    def _revisions_get(self, request: Request) -> Thing:
        return self._revision(request.params["name"]).shown()

    def _revisions_list(self, request: Request) -> Thing:
        found = [one.shown() for name, one in self.revisions.items() if name.startswith(f"{request.params['parent']}/")]
        return {"revisions": found} if found else {}

    def _revisions_delete(self, request: Request) -> Thing:
        one = self._revision(request.params["name"])
        service = self.services.items[one.made["service"]]
        short = one.made["name"].rpartition("/")[2]
        if service["latestCreatedRevision"] == one.made["name"] or any(
            target.get("revision") == short for target in service["traffic"]
        ):
            raise refuse(400, f"Revision '{short}' may receive traffic, or is the latest: it cannot be deleted.")
        self._ended.append(self.revisions.pop(one.made["name"]).instance)
        return self._double.operation(HOST, "v2", service["name"].rpartition("/services/")[0], lambda: one.made)

    def _revision(self, name: str) -> Revision:
        if name not in self.revisions:
            raise refuse(404, f"Resource '{name.rpartition('/')[2]}' of kind 'REVISION' does not exist.")
        return self.revisions[name]

    # ------------------------------------------------------------------------------------------------ front end

    def _door(self, name: str, tag: str) -> str:
        if (name, tag) not in self.doors:
            door = self.doors[name, tag] = Server(lambda incoming: self._enter(name, tag, incoming))
            door.start()
        return self.doors[name, tag].url

    def _enter(self, name: str, tag: str, incoming: Incoming) -> Answer:
        if re.search(r"/[a-z]*z$", incoming.target.partition("?")[0]):
            return Answer(404, b"<html>Google's own: paths that end in z never reach the service</html>")
        with self._double.lock:
            gone = name not in self.services.items
            refused = None if gone else self._refused(name, incoming)
            revision = self._reached(name, tag)
        if refused is not None:
            return refused
        if revision is None:
            return Answer(404, b"<html>The requested URL was not found on this server.</html>")
        return revision.instance.ask(incoming)

    def _refused(self, name: str, incoming: Incoming) -> Answer | None:
        """cloud.google.com/run/docs/troubleshooting#unauthorized-client"""
        if self.services.items[name].get("invokerIamDisabled"):
            return None
        policy = self._double.policies.get(f"//{HOST}/{name}", {})
        members = {
            member
            for one in policy.get("bindings", [])
            if one["role"] == "roles/run.invoker" and "condition" not in one
            for member in one["members"]
        }
        if "allUsers" in members:
            return None
        kind, _, token = incoming.headers.get("authorization", "").partition(" ")
        claims: dict[str, Any] = {}
        with suppress(KeyError):
            claims = self._double.identity.verified(token, self.doors[name, ""].url) if kind == "Bearer" else {}
        if token and not claims:
            return Answer(
                401, b"<html>Your client does not have permission: the access token could not be verified</html>"
            )
        if not claims or f"serviceAccount:{claims['email']}" not in members:
            return Answer(403, b"<html>Your client does not have permission to get URL from this server.</html>")
        return None

    def _reached(self, name: str, tag: str) -> Revision | None:
        traffic = self.services.items.get(name, {}).get("traffic", [])
        targets = [one for one in traffic if (one.get("tag") == tag if tag else one.get("percent"))]
        target = max(targets, key=lambda one: one.get("percent", 0), default=None)
        if target is None:
            return None
        latest = self.services.items[name]["latestCreatedRevision"]
        return self.revisions.get(f"{name}/revisions/{target['revision']}" if "revision" in target else latest)


_TYPE = "TRAFFIC_TARGET_ALLOCATION_TYPE"


_RESERVED = ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION")


def _condition(kind: str, instance: Instance | Espv2) -> Thing:
    found: Thing = {"type": kind, "state": f"CONDITION_{instance.state}"}
    if instance.state == "FAILED":
        found |= {"message": instance.message, "revisionReason": "HEALTH_CHECK_CONTAINER_ERROR"}
    return found


def _check_template(service: str, short: str, template: Thing) -> None:
    """What Cloud Run refuses at once."""
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", short) or not short.startswith(f"{service}-"):
        raise refuse(400, f"Revision name {short!r} must be prefixed by the name of the service, with a dash.")
    containers = template.get("containers", [])
    if sum(bool(one.get("ports")) for one in containers) != 1:
        raise refuse(400, "Exactly one container must have an exposed port.")
    volumes = {one["name"] for one in template.get("volumes", [])}
    for one in containers:
        if not one.get("image"):
            raise refuse(400, "The container has no image.")
        if reserved := [env["name"] for env in one.get("env", []) if env["name"] in _RESERVED]:
            raise refuse(400, f"The following reserved env names were provided: {', '.join(reserved)}.")
        if unknown := [mount["name"] for mount in one.get("volumeMounts", []) if mount["name"] not in volumes]:
            raise refuse(400, f"Volume {unknown[0]!r} is not defined.")
        limits = one["resources"]["limits"]
        if limits["cpu"] not in _SIZES:
            raise refuse(400, f"Invalid value specified for cpu: {limits['cpu']}.")
        least, most = _SIZES[limits["cpu"]]
        gib = int(limits["memory"].rstrip("MGi")) / (1024 if limits["memory"].endswith("Mi") else 1)
        if not least <= gib <= most:
            raise refuse(400, f"Invalid value specified for memory: {limits['memory']} with {limits['cpu']} cpu.")


def run_of(double: Double) -> Run:
    return _OF[double]


def install(double: Double) -> None:
    _OF[double] = Run(double)
