"""What documents compile to: a golden file, and what must hold of every configuration.

`python -m tests.gateway.test_compile` writes the golden file anew; its difference is then for review.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import msgspec

from mawasu.gateway import authn, edge, listener
from mawasu.gateway.envoy import EMPTY, Config, compile, read
from mawasu.gateway.openapi import parse_site
from mawasu.words import Endpoint, PublicKey, Share, Split, Unit
from tests.gateway.machinery import Issuer, document, limited, site

GOLDEN = Path(__file__).parent / "golden"
KEYS = "/run/gateway/keys-1.json"
KEY = PublicKey("k1", "bob", {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": "AA", "y": "BB"}, ("*",), 1.0)


def golden() -> dict[str, Any]:
    endpoint = Endpoint("r7", ("/run/r7-0.sock", "/run/r7-1.sock"))
    served = parse_site(site(endpoint, (GOLDEN / "flight-delay.yaml").read_text()))
    config = compile([served], KEYS, "/etc/ssl/cert.pem", back_ends=["fn.example"])
    return {
        "bootstrap": listener.bootstrap(edge.Edge(), "/run/gateway", "/logs/access.jsonl"),
        **config.files(),
        "split": {
            unit.kind: split_routes(unit) for unit in (Unit("consumer"), Unit("header", "x-user"), Unit("cookie"))
        },
    }


def split_routes(unit: Unit) -> list[dict[str, Any]]:
    """The routes of an operation that two revisions share, 80 to 20."""
    split = Split(unit, "salt", (Share(Endpoint("r8", ("/run/r8-0.sock",)), 2000),))
    plain = site(Endpoint("r7", ("/run/r7-0.sock",)), document(about=[]))
    routes = compile([parse_site(msgspec.structs.replace(plain, split=split))], KEYS).routes
    return [route for route in routes if route["match"].get("path", "").endswith("/about") and "route" in route]


def config_of(text: str, revision: str = "r1") -> Config:
    return compile([parse_site(site(Endpoint(revision, ("/s",)), text))], KEYS)


def test_the_annotated_document_compiles_to_the_golden_configuration() -> None:
    assert golden() == json.loads((GOLDEN / "flight-delay.json").read_text())


def test_the_order_of_keys_does_not_matter() -> None:
    other = PublicKey("k0", "eve", KEY.jwk, ("*",), 2.0)
    assert authn.key_set([KEY, other]) == authn.key_set([other, KEY])


def test_what_old_routes_need_is_read_back_from_the_resources() -> None:
    config = config_of(limited({"reads": 5}, {"/x": {"reads": 2}}))
    assert list(config.limits.values()) == [5]
    assert config.slots == 1
    assert read(config.files()) == msgspec.structs.replace(config, routes=())
    assert read(EMPTY.files()) == EMPTY


def test_another_policy_has_another_name_so_that_old_routes_keep_the_old_one() -> None:
    issuer = Issuer()
    old = config_of(document({"keys": [issuer.jwk]}, t=[{"jwt": []}]))
    new = config_of(document({"keys": [issuer.jwk]}, issuer="https://other", t=[{"jwt": []}]), revision="r2")
    both = new.beside(old)
    assert not old.clusters.keys() & new.clusters.keys()
    assert all(name.startswith("key:") for name in old.providers.keys() & new.providers.keys())
    assert both.providers == {**old.providers, **new.providers}
    assert both.routes == new.routes


def test_other_keys_change_the_file_of_keys_and_no_name() -> None:
    without = config_of(document({"keys": [Issuer().jwk]}, k=[{"key": []}], t=[{"jwt": []}]))
    changed = without.with_keys("/run/gateway/keys-2.json")
    assert changed.providers.keys() == without.providers.keys()
    assert (changed.routes, changed.clusters, changed.requirements) == (
        without.routes,
        without.clusters,
        without.requirements,
    )
    sets = [body["local_jwks"] for name, body in changed.providers.items() if name.startswith("key:")]
    assert sets == [{"filename": "/run/gateway/keys-2.json"}]


def test_all_sites_share_one_verifier_of_api_keys() -> None:
    text = document(k=[{"key": []}])
    sites = [parse_site(site(Endpoint(name, ("/s",)), text, name)) for name in ("one", "two")]
    config = compile(sites, KEYS)
    assert len(config.providers) == 1


def test_routes_name_only_clusters_and_requirements_that_are_there() -> None:
    config = config_of((GOLDEN / "flight-delay.yaml").read_text())
    for route in config.routes:
        if "route" in route:
            assert route["route"]["cluster"] in config.clusters
            policy = route["typed_per_filter_config"][authn.FILTER]
            assert policy.get("disabled") or policy["requirement_name"] in config.requirements
    named = json.dumps(list(config.requirements.values()))
    assert all(json.dumps(name) in named for name in config.providers)


def test_what_a_connection_holds_is_bounded_whoever_is_called() -> None:
    """Envoy's "Configuring Envoy as an edge proxy": buffers of 32 KiB, windows of 64 KiB and 1 MiB."""
    made = golden()
    called = [*made[listener.CLUSTERS], *made["bootstrap"]["static_resources"]["listeners"]]
    assert {one["per_connection_buffer_limit_bytes"] for one in called} == {32768}
    windows = json.dumps(made).count('"initial_stream_window_size": 65536, "initial_connection_window_size": 1048576')
    assert windows == json.dumps(made).count('"http2_protocol_options"') == 2


def test_where_there_is_no_key_stands_one_that_nobody_can_have() -> None:
    (key,) = json.loads(authn.key_set([]))["keys"]
    x, y = (int.from_bytes(base64.urlsafe_b64decode(key[axis] + "=")) for axis in ("x", "y"))
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1  # NIST P-256 (FIPS 186-4, D.1.2.3)
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    assert x == int.from_bytes(hashlib.sha256(b"mawasu: nobody's key 0").digest())
    assert (y * y - (x**3 - 3 * x + b)) % p == 0


def test_a_thousand_operations_compile_within_seconds() -> None:
    described: dict[str, Any] = {f"things{number}__{{id}}": [{"key": []}] for number in range(1000)}
    text = document(**described)
    began = time.perf_counter()
    assert len(config_of(text).routes) == 3000
    assert time.perf_counter() - began < 10  # well under a second on a quiet machine


if __name__ == "__main__":
    (GOLDEN / "flight-delay.json").write_text(json.dumps(golden(), indent=1, sort_keys=True) + "\n")
