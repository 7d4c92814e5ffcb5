"""The platform put together: what its parts are told of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mawasu.errors import PlatformError
from mawasu.platforms.gcp.platform import GcpPlatform
from mawasu.spec.feature import Gcp, GcpApi
from tests.gcp.floor import CLOUD, PARENT, Floor, a_floor
from tests.google.double import infra


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    with a_floor(tmp_path, monkeypatch) as made:
        infra.install(made.double)
        yield made


def template(floor: Floor, api: GcpApi) -> dict[str, Any]:
    """Of a revision where Redis is asked for."""
    settings = Gcp(project=CLOUD.project, region=CLOUD.region, bucket=CLOUD.bucket, redis=2**30, api=api)
    platform = GcpPlatform(floor.client, CLOUD, settings, "late", floor.store, floor.directory, lambda _: None)
    platform.services.start(floor.spec(), floor.log)
    made: dict[str, Any] = floor.double.seen("services.create")[-1].body["template"]
    return made


def redis(floor: Floor, network: str) -> None:
    body = {"host": "10.0.0.3", "port": 6379, "authorizedNetwork": f"projects/acme/global/networks/{network}"}
    instances = infra.infra(floor.double).of(infra.REDIS, "instances")
    instances.put(f"{PARENT}/instances/mawasu", body)


def test_a_service_reaches_the_network_that_its_redis_is_in_without_being_told_one(floor: Floor) -> None:
    redis(floor, "default")
    made = template(floor, GcpApi())
    assert made["vpcAccess"]["networkInterfaces"] == [{"network": "default"}]
    server, worker = made["containers"]
    assert {"name": "MAWASU_REDIS_URL", "value": "redis://10.0.0.3:6379"} in server["env"]
    assert "MAWASU_REDIS_URL" not in [one["name"] for one in worker["env"]]  # what it writes there all would be given


def test_the_network_and_subnet_that_the_feature_names_count(floor: Floor) -> None:
    redis(floor, "inside")
    made = template(floor, GcpApi(network="inside", subnet="apis"))
    assert made["vpcAccess"]["networkInterfaces"] == [{"network": "inside", "subnetwork": "apis"}]


def test_a_redis_that_is_not_there_yet_is_told_with_what_makes_it(floor: Floor) -> None:
    with pytest.raises(PlatformError, match="no Redis instance mawasu yet") as error:
        template(floor, GcpApi())
    assert "mawasu gcp apply" in error.value.hint
