"""Whether mawasu-build may do what it does: every call that mawasu can make, against what is granted."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

import mawasu.google
from mawasu.google.call import Call
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.names import Cloud
from tests.gcp.permissions import NEEDS, is_by_hand
from tests.gcp.test_jobs_requests import JOB
from tests.google.double import documents

PARENT = "projects/acme/locations/europe-west1"
TOLD: dict[str, Any] = {"parent": PARENT, "region": "europe-west1", "number": "123456789012", "job": JOB}
NAMES = {"run": f"{PARENT}/services/late", "vertex": f"{PARENT}/customJobs/1"}
NO_BUILDERS = {"session", "following"}  # they go on with what another one began


def builders() -> Iterator[tuple[str, Callable[..., Call]]]:
    for found in pkgutil.iter_modules(mawasu.google.__path__):
        module = importlib.import_module(f"mawasu.google.{found.name}")
        for name, one in inspect.getmembers(module, inspect.isfunction):
            public = one.__module__ == module.__name__ and name[0] != "_" and name not in NO_BUILDERS
            if public and typing.get_type_hints(one).get("return") is Call:
                yield f"{found.name}.{name}", one


def built(name: str, build: Callable[..., Call]) -> Call:
    """With some arguments of the right kinds."""
    hints = typing.get_type_hints(build)
    given = {}
    for parameter in inspect.signature(build).parameters:
        kind = typing.get_origin(hints[parameter]) or hints[parameter]
        some: dict[Any, Any] = {str: "some", int: 1, Mapping: {}, Sequence: [], dict: {}}
        given[parameter] = TOLD[parameter] if parameter in TOLD else some.get(kind, "some")
    if "name" in given:
        given["name"] = NAMES.get(name.partition(".")[0], "some")
    return build(**given)


def method_of(call: Call) -> str:
    found = documents.find(call.host, call.method, call.path)
    assert found is not None, call
    return found.method.id


@pytest.mark.parametrize(
    "builder", [pytest.param(one, id=name) for name, one in builders() if name != "iam.set_policy"]
)
def test_every_call_is_one_that_mawasu_build_may_make_or_that_people_make(
    builder: Callable[..., Call], request: pytest.FixtureRequest
) -> None:
    method = method_of(built(request.node.callspec.id, builder))
    assert (method in NEEDS) != is_by_hand(method)


def test_mawasu_build_has_every_role_that_its_calls_need() -> None:
    cloud = Cloud("acme", "123456789012", "europe-west1", "acme-mawasu")
    held = {
        grant.role
        for one in grants.foundation(cloud, connection="github", redis=True, public=True, refresh=True)
        for grant in grants.of(one, cloud)
        if grant.member == grants.member(cloud, "build")
    }
    assert {role for _, role in NEEDS.values()} <= held


def test_the_table_names_methods_that_there_are() -> None:
    known = {one.id for api in documents.HOSTS for one in documents.methods(api)}
    assert NEEDS.keys() <= known
    assert not [method for method in NEEDS if is_by_hand(method)]
