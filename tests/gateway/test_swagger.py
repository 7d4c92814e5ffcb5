"""What documents become for Cloud Endpoints: a golden file, and what must hold of every document.

`python -m tests.gateway.test_swagger` writes the golden files anew; their difference is then for review.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mawasu.errors import SpecError
from mawasu.gateway import espv2, swagger, templates
from mawasu.gateway.forms import Scheme, TokenScheme
from mawasu.gateway.openapi import METHODS, read
from mawasu.gateway.outside import APPEND, BACKEND
from mawasu.gateway.swagger import Backed, Compiled, compile
from mawasu.serving import behind
from mawasu.words import Endpoint, Site
from tests.gateway import swagger2
from tests.gateway.machinery import Issuer, document

GOLDEN = Path(__file__).parent / "golden"
HOST, SETS = "flight-delay-abc-ew.a.run.app", "https://storage.googleapis.com/acme-mawasu-keys"
GOLDENS = ("endpoints", "endpoints-google-keys")
HEAD: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}}
KEY = {"type": "apiKey", "in": "header", "name": "x-api-key"}


def site(text: str, environment: str = "production", path: str = "auth/openapi.yaml") -> Backed:
    url = f"https://flight-delay--{environment}-abc-ew.a.run.app"
    return Backed(Site("flight-delay", environment, text, path, Endpoint("r1", audience=url)), url)


def compiled(*texts: str, keys: str = "mawasu") -> Compiled:
    """One text for production, one for staging, …"""
    names = ("production", "staging", "preview-x")
    return compile([site(text, name) for text, name in zip(texts, names, strict=False)], HOST, keys, SETS)


def made(*texts: str, keys: str = "mawasu") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compiled(*texts, keys=keys).text)
    assert swagger2.faults(found) == []
    return found


def said(text: str, keys: str = "mawasu") -> list[str]:
    with pytest.raises(SpecError) as caught:
        swagger.check(text, "auth/openapi.yaml", keys)
    return [str(fault) for fault in caught.value.faults]


def golden(name: str) -> str:
    keys = "google" if name.endswith("google-keys") else "mawasu"
    text = (GOLDEN / f"{name}.yaml").read_text()
    return compiled(text, text, keys=keys).text


@pytest.mark.parametrize("name", GOLDENS)
def test_the_annotated_document_compiles_to_the_golden_swagger(name: str) -> None:
    assert golden(name) == (GOLDEN / f"{name}.swagger.json").read_text()
    assert swagger2.faults(json.loads(golden(name))) == []


def test_the_order_of_sites_does_not_matter_and_a_change_is_another_summary() -> None:
    one, two = document(a=[{"key": []}]), document(b=[{"key": []}])
    both = [site(one), site(two, "staging")]
    assert compile(both, HOST, "mawasu", SETS) == compile(both[::-1], HOST, "mawasu", SETS)
    assert compiled(one).summary != compiled(two).summary
    assert compiled(one).summary in compiled(one).text


def test_a_key_opens_the_environments_it_was_granted_and_equal_issuers_are_one() -> None:
    text = document({"keys": [Issuer().jwk]}, a=[{"key": []}, {"jwt": []}])
    found = made(text, text)
    providers = found["securityDefinitions"].values()
    keys = [one["x-google-audiences"] for one in providers if one["x-google-issuer"] == "mawasu"]
    assert keys == [
        "flight-delay/production,flight-delay/*,*/production,*/*,*",
        "flight-delay/staging,flight-delay/*,*/staging,*/*,*",
    ]
    assert len(providers) == 3
    assert all(
        one["x-google-jwks_uri"] == f"{SETS}/keys/flight-delay.json"
        for one in providers
        if one["x-google-issuer"] == "mawasu"
    )


def test_a_key_set_inside_a_document_is_published_since_endpoints_wants_a_url() -> None:
    jwk = Issuer().jwk
    result = compiled(document({"keys": [jwk]}, a=[{"jwt": []}]))
    ((name, text),) = result.key_sets.items()
    assert json.loads(text) == {"keys": [jwk]}
    (provider,) = json.loads(result.text)["securityDefinitions"].values()
    assert provider["x-google-jwks_uri"] == f"{SETS}/{name}"


def test_pre_flights_pass_for_the_site_that_says_so_and_for_no_other() -> None:
    plain = json.loads(document(a=[{"key": []}], b__c=[]))
    cors = json.dumps(plain | {"x-google-endpoints": [{"allowCors": True, "name": "old.example"}]})
    found = made(json.dumps(plain), cors)
    assert found["x-google-endpoints"] == [{"name": HOST, "allowCors": False}]
    opened = [path for path, method, _ in swagger2.operations(found) if method == "options"]
    assert opened == ["/flight-delay/staging/a", "/flight-delay/staging/b/c"]


def test_paths_of_one_shape_become_one_whatever_their_variables_are_called() -> None:
    paths: dict[str, Any] = {"/x/{a-b}": {"get": {"security": []}}, "/x/{c}": {"post": {"security": []}}}
    found = made(json.dumps(HEAD | {"paths": paths}))
    assert [(path, list(item)) for path, item in found["paths"].items()] == [
        ("/flight-delay/production/x/{a_b}", ["get", "post"])
    ]


def test_names_that_differ_in_case_or_signs_only_stay_apart() -> None:
    paths: dict[str, Any] = {
        f"/{n}": {"get": {"operationId": name, "security": []}} for n, name in enumerate(("a-b", "A.B", "a_b"))
    }
    made(json.dumps(HEAD | {"paths": paths}))


def test_swagger_2_is_taken_as_it_is() -> None:
    text = """
swagger: "2.0"
info: {title: t, version: "1"}
host: elsewhere.example
basePath: /v1
consumes: [application/json]
securityDefinitions:
  key: {type: apiKey, in: query, name: key}
paths:
  /x/{id}:
    post:
      security: [key: []]
      parameters:
        - {name: id, in: path, required: true, type: string}
        - {name: tags, in: query, type: array, items: {type: string}, collectionFormat: multi}
        - {name: body, in: body, schema: {$ref: '#/definitions/Thing'}}
      responses: {200: {description: fine, schema: {$ref: '#/definitions/Thing'}}}
definitions:
  Thing: {type: object, properties: {id: {type: integer}}}
"""
    assert [(one.method, one.path) for one in read(text, "f").api.operations] == [("POST", "/v1/x/{id}")]
    found = made(text)
    operation = found["paths"]["/flight-delay/production/v1/x/{id}"]["post"]
    assert [one["name"] for one in operation["parameters"]] == ["id", "tags", "body"]
    assert operation["responses"]["200"]["schema"] == {"$ref": "#/definitions/production_Thing"}
    assert found["definitions"] == {"production_Thing": {"type": "object", "properties": {"id": {"type": "integer"}}}}


def test_the_back_end_is_told_where_nothing_was_verified() -> None:
    found = made(
        json.dumps(json.loads(document(a=[{"key": []}], b=[])) | {"x-google-endpoints": [{"allowCors": True}]})
    )
    called = {(path, method): one["x-google-backend"] for path, method, one in swagger2.operations(found)}
    url = site("").url
    assert {where: one["address"].removeprefix(url) for where, one in called.items()} == {
        ("/flight-delay/production/a", "get"): "",
        ("/flight-delay/production/a", "options"): behind.OPEN,
        ("/flight-delay/production/b", "get"): behind.OPEN,
        ("/flight-delay/production/b", "options"): behind.OPEN,
    }
    assert {one["jwt_audience"] for one in called.values()} == {url}
    (keyed,) = [one for _, _, one in swagger2.operations(made(document(a=[{"key": []}]), keys="google"))]
    assert keyed["x-google-backend"]["address"] == url + behind.OPEN  # Google's keys verify no token
    assert swagger.OPEN == behind.OPEN


def test_an_outside_back_end_is_espv2s_to_call_without_the_sites_prefix() -> None:
    fn = {"address": "https://fn.example/hello"}
    append = {"address": "https://api.example:8443/v1", "path_translation": "APPEND_PATH_TO_ADDRESS"}
    operations: dict[str, Any] = {
        "hello__{name}": {"get": {"security": [], BACKEND: fn | {"deadline": 3}}},
        "about": {"get": {"security": [], BACKEND: append | {"disable_auth": True, "protocol": "h2"}}},
    }
    text = json.dumps(json.loads(document(**operations)) | {"x-google-endpoints": [{"allowCors": True}]})
    called = {path: one[BACKEND] for path, _, one in swagger2.operations(made(text))}
    assert called == {
        "/flight-delay/production/hello/{name}": {
            "address": "https://fn.example/hello",
            "path_translation": "CONSTANT_ADDRESS",
            "protocol": "http/1.1",
            "jwt_audience": "https://fn.example/hello",
            "deadline": 3,
        },
        "/flight-delay/production/about": {
            "address": "https://api.example:8443/v1/about",
            "path_translation": "CONSTANT_ADDRESS",
            "protocol": "h2",
            "disable_auth": True,
            "deadline": 15,
        },
    }


QUOTA = """
openapi: 3.1.0
info: {title: t, version: "1"}
x-google-management:
  metrics: [{name: reads, displayName: Reads, valueType: INT64, metricKind: DELTA}]
  quota: {limits: [{name: limit, metric: reads, unit: "1/min/{project}", values: {STANDARD: 100}}]}
paths:
  /x:
    get:
      security: [key: []]
      x-google-quota: {metricCosts: {reads: 2}}
components: {securitySchemes: {key: {type: apiKey, in: query, name: key}}}
"""


def test_quotas_are_counted_for_each_environment_by_googles_keys() -> None:
    found = made(QUOTA, QUOTA, keys="google")
    limits = found["x-google-management"]["quota"]["limits"]
    assert [(one["metric"], one["values"]) for one in limits] == [
        ("production-reads", {"STANDARD": 100}),
        ("staging-reads", {"STANDARD": 100}),
    ]
    assert found["paths"]["/flight-delay/staging/x"]["get"]["x-google-quota"] == {"metricCosts": {"staging-reads": 2}}


def test_a_quota_without_googles_keys_is_a_fault_with_its_line_and_a_next_step() -> None:
    (fault,) = said(QUOTA)
    assert fault.startswith("auth/openapi.yaml:11: paths./x.get.x-google-quota: Cloud Endpoints counts calls by")
    assert "gcp.gateway.keys: google" in fault


def body(security: Any, path: str = "/x", **operation: Any) -> str:
    token = {"type": "http", "scheme": "bearer", "x-google-issuer": "https://i", "x-google-jwks_uri": "https://i/k"}
    token["x-google-audiences"] = "a"
    schemes = {
        "key": KEY,
        "odd": {"type": "apiKey", "in": "query", "name": "secret"},
        "one": token,
        "two": token,
        "cookie": token | {"x-google-jwt-locations": [{"cookie": "c"}]},
        "comma": token | {"x-google-audiences": ["a,b"]},
    }
    paths = {path: {"get": {"security": security, **operation}}}
    return json.dumps(HEAD | {"paths": paths, "components": {"securitySchemes": schemes}})


@pytest.mark.parametrize(
    ("security", "keys", "words"),
    [
        ([{"one": [], "two": []}], "mawasu", "cannot ask for one and two together"),
        ([{"one": [], "key": []}], "mawasu", "cannot ask for key and one together"),
        ([{"one": []}, {}], "mawasu", "with or without credentials"),
        ([{"one": [], "two": []}], "google", "cannot ask for one and two together"),
        ([{"one": []}, {"key": []}], "google", "or something else"),
        ([{"odd": []}], "google", "from the header x-api-key"),
        ([{"cookie": []}], "mawasu", "no tokens from cookies"),
        ([{"comma": []}], "mawasu", "separates audiences by commas"),
    ],
)
def test_security_that_endpoints_cannot_hold_is_a_fault(security: Any, keys: str, words: str) -> None:
    assert any(words in line for line in said(body(security), keys))


@pytest.mark.parametrize(
    ("security", "keys"),
    [
        ([{"one": []}, {"two": []}, {"key": []}], "mawasu"),
        ([{"odd": []}], "mawasu"),
        ([{"one": [], "key": []}], "google"),
        ([{"key": []}], "google"),
        ([], "google"),
    ],
)
def test_security_that_endpoints_holds_is_compiled(security: Any, keys: str) -> None:
    made(body(security), keys=keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (body([], path="/x/{id}.json"), "to a whole segment only"),
        (body([], path="/x/*"), "a wildcard"),
        (body([], path="/x:y/z"), "takes ':'"),
        (body([], parameters=[{"name": "a", "in": "pth"}]), "did you mean 'path'?"),
        (body([], path="/{id}", parameters=[{"name": "ids", "in": "path"}]), "did you mean 'id'?"),
        (body([], parameters={}), "expected a list"),
        (json.dumps(HEAD | {"paths": {"/x": {"trace": {"security": []}}}}), "has no trace"),
        (json.dumps(HEAD | {"x-google-allow": "all", "paths": {"/x": {"get": {"security": []}}}}), "lets through"),
        (body([], "/x", **dict[str, Any]({"x-google-backend": {"deadlin": 3}})), "did you mean 'deadline'?"),
        (
            body([], "/{id}", **dict[str, Any]({BACKEND: {"address": "https://a", "path_translation": APPEND}})),
            "would append the feature",
        ),
        (body([], "/{an-id}", **dict[str, Any]({BACKEND: {"address": "https://a"}})), "the name of a variable"),
        (body([], "/x", **dict[str, Any]({"x-google-quota": {"metricCost": {}}})), "did you mean 'metricCosts'?"),
        (body([], "/x", **dict[str, Any]({"x-google-quota": {"metricCosts": {"no": 1}}})), "no such metric"),
        (QUOTA.replace("1/min", "1/sec"), "expected 1/min/{project}"),
        (QUOTA.replace("INT64", "DOUBLE"), "expected INT64"),
        (QUOTA.replace("STANDARD: 100", "STANDARD: many"), "a whole number"),
        (QUOTA.replace("metric: reads", "metric: read"), "did you mean 'reads'?"),
        ('swagger: "1.2"\npaths: {/x: {get: {security: []}}}', "expected '2.0'"),
        ('swagger: "2.0"\nbasePath: x\npaths: {/x: {get: {security: []}}}', "a path starts with '/'"),
        ('swagger: "2.0"\npaths: {/x: {get: {security: [k: []]}}}', "no such scheme in securityDefinitions"),
    ],
)
def test_what_endpoints_would_have_to_ignore_is_a_fault(text: str, words: str) -> None:
    assert any(words in line for line in said(text, "google"))


def test_all_faults_of_all_sites_come_together_each_with_its_file() -> None:
    sites = [site(body([{}]), path="a.yaml"), site(body([], path="/*"), "staging", path="b.yaml")]
    with pytest.raises(SpecError) as caught:
        compile(sites, HOST, "mawasu", SETS)
    assert [str(fault).partition(":")[0] for fault in caught.value.faults] == ["a.yaml", "b.yaml"]


# ---------------------------------------------------------------------------------------------- random documents

NAMES = st.sampled_from(["id", "a-b", "a_b", "größe", "Body", "body", "x.y", "1st"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3))
WORDS = ["type", "nullable", "minimum", "exclusiveMinimum", "maxLength", "required", "enum", "const", "items", "format"]


def schemas() -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
    ref = st.sampled_from(["One", "Two", "Loop"]).map(lambda name: {"$ref": f"#/components/schemas/{name}"})
    leaf = st.one_of(
        ref,
        st.booleans(),
        kinds.map(lambda kind: {"type": kind}),
        st.lists(kinds, min_size=1, max_size=2).map(lambda several: {"type": several}),
        st.dictionaries(st.sampled_from(WORDS), SCALARS, max_size=3),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(lambda items: {"type": "array", "items": items}, inner),
            st.builds(
                lambda kind, several: {kind: several},
                st.sampled_from(["oneOf", "anyOf", "allOf", "prefixItems"]),
                st.lists(inner, min_size=1, max_size=3),
            ),
            st.builds(
                lambda properties, more: {"type": "object", "properties": properties, "additionalProperties": more},
                st.dictionaries(NAMES, inner, max_size=3),
                inner,
            ),
        ),
        max_leaves=6,
    )


def operations(variables: list[str]) -> st.SearchStrategy[Any]:
    parameter = st.builds(
        lambda name, place, schema, explode: {"name": name, "in": place, "schema": schema, "explode": explode},
        NAMES,
        st.sampled_from(["query", "header", "cookie"]),
        schemas(),
        st.booleans(),
    )
    content = st.dictionaries(
        st.sampled_from(["application/json", "text/csv", "multipart/form-data"]),
        schemas().map(lambda schema: {"schema": schema}),
        max_size=2,
    )
    return st.fixed_dictionaries(
        {
            "security": st.sampled_from([[], [{"key": []}], [{"jwt": []}, {"key": []}]]),
            "parameters": st.lists(parameter, max_size=4, unique_by=lambda one: (one["in"], one["name"])).map(
                lambda some: some + [{"name": name, "in": "path", "required": True} for name in variables[:1]]
            ),
            "requestBody": content.map(lambda some: {"content": some}),
        },
        optional={
            "operationId": st.sampled_from(["get", "Get", "get it", "größe"]),
            "responses": st.dictionaries(
                st.sampled_from(["200", "2XX", "default", "404", "4XX"]),
                content.map(lambda some: {"description": "d", "content": some}),
                max_size=3,
            ),
        },
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    segments = st.lists(st.sampled_from(["a", "b c", "{id}", "{a-b}", "ü"]), max_size=3, unique=True)
    paths: dict[str, Any] = {}
    for parts in draw(st.lists(segments, min_size=1, max_size=4)):
        variables = [part[1:-1] for part in parts if part[0] == "{"]
        shape = ["{}" if part[0] == "{" else part for part in parts]
        if any(shape == ["{}" if part[:1] == "{" else part for part in path[1:].split("/")] for path in paths):
            continue
        methods = draw(st.sets(st.sampled_from([one for one in METHODS if one != "trace"]), min_size=1, max_size=3))
        paths["/" + "/".join(parts)] = {method: draw(operations(variables)) for method in sorted(methods)}
    held = {"/": paths.pop("/")} if "/" in paths else {}
    known = {name: draw(schemas()) for name in ("One", "Two")}
    known["Loop"] = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Loop"}}}
    whole = json.loads(document({"keys": [ISSUER.jwk]}))
    whole["paths"] = {**paths, **held}
    whole["components"]["schemas"] = known
    whole["x-google-endpoints"] = [{"allowCors": draw(st.booleans())}]
    return dict(whole)


ISSUER = Issuer()


@settings(max_examples=40, deadline=None)
@given(documents(), st.sampled_from([1, 2]))
def test_whatever_is_read_becomes_swagger_2_with_the_same_routes(whole: dict[str, Any], sites: int) -> None:
    text = json.dumps(whole)
    try:
        read(text, "f")
    except SpecError:
        return  # two paths for the same requests, a reference in a circle
    found = made(*[text] * sites)
    routes = {(path, method.upper()) for path, method, _ in swagger2.operations(found) if method != "options"}
    expected = {
        (templates.shape(f"/flight-delay/{name}{one.operation.path}"), one.operation.method)
        for one in read(text, "f").operations
        for name in ("production", "staging")[:sites]
        if one.operation.method != "OPTIONS"
    }
    assert {(templates.shape(path), method) for path, method in routes} == expected


@settings(max_examples=40, deadline=None)
@given(documents(), st.sampled_from([1, 2]))
def test_whatever_is_read_means_the_same_when_endpoints_reads_it(whole: dict[str, Any], sites: int) -> None:
    """Who may call each operation, by which issuers' tokens from where, and how long it may take."""
    text = json.dumps(whole | {BACKEND: {"deadline": 2.5}})
    try:
        api = read(text, "f").api
    except SpecError:
        return
    found = made(*[text] * sites)
    told = {
        (templates.shape(path), method.upper()): (opened_by(found, one), one[BACKEND]["deadline"])
        for path, method, one in swagger2.operations(found)
    }
    for name in ("production", "staging")[:sites]:
        for one in api.operations:
            who = [[who_of(api.schemes[scheme], name) for scheme in names] for names in one.security]
            at = templates.shape(f"/flight-delay/{name}{one.path}"), one.method
            assert told.pop(at) == (who, one.deadline)
    for (_, method), (who, _) in told.items():
        assert (method, who, api.cors) == ("OPTIONS", [], True), "and nothing more is there"


Who = tuple[str, list[str], list[tuple[str, str, str]]]
"""An issuer, its audiences, and where a token stands: kind, name, what is before it."""


def opened_by(found: dict[str, Any], operation: dict[str, Any]) -> list[list[Who]]:
    return [[_who(found["securityDefinitions"][name]) for name in one] for one in operation["security"]]


def _who(said: dict[str, Any]) -> Who:
    places = [
        (kind, one[kind], one.get("value_prefix", ""))
        for one in said["x-google-jwt-locations"]
        for kind in ("header", "query")
        if kind in one
    ]
    return said["x-google-issuer"], said["x-google-audiences"].split(","), places


def who_of(scheme: Scheme, environment: str) -> Who:
    places = [(place.kind, place.name, place.prefix) for place in scheme.places]
    if isinstance(scheme, TokenScheme):
        return scheme.issuer, list(scheme.audiences), places
    here = ("flight-delay", environment)
    return "mawasu", ["/".join(here), f"{here[0]}/*", f"*/{here[1]}", "*/*", "*"], places


# ---------------------------------------------------------------------------------------------- ESPv2's arguments


@settings(max_examples=300)
@given(st.lists(st.text(alphabet="a,+~^\"' ;-=", min_size=1, max_size=12), min_size=1, max_size=5))
def test_arguments_reach_espv2_as_they_are(arguments: list[str]) -> None:
    assert espv2.unescaped(espv2.escaped(arguments)) == arguments


@pytest.mark.parametrize("text", [[""], ["a\0b"]])
def test_an_argument_that_could_not_be_passed_on_is_refused(text: list[str]) -> None:
    with pytest.raises(ValueError, match="empty or has a NUL"):
        espv2.escaped(text)


def test_one_origin_is_named_several_are_one_expression_without_wildcards() -> None:
    assert "--cors_allow_origin=*" in espv2.arguments(("*",))
    several = espv2.arguments(("https://a.example", "https://b.example:8443"))
    assert r"--cors_allow_origin_regex=^(https://a\.example|https://b\.example:8443)$" in several
    assert not any("cors" in one for one in espv2.arguments())


def test_a_revision_of_the_gateway_is_named_by_what_is_in_it() -> None:
    one = espv2.template("gw", "a@b", {}, "host", "r0")
    assert one == espv2.template("gw", "a@b", {}, "host", "r0")
    assert one["revision"] != espv2.template("gw", "a@b", {}, "host", "r1")["revision"]
    assert one["revision"] != espv2.template("gw", "a@b", {}, "host", "r0", ("*",))["revision"]


if __name__ == "__main__":
    for golden_name in GOLDENS:
        (GOLDEN / f"{golden_name}.swagger.json").write_text(golden(golden_name))
