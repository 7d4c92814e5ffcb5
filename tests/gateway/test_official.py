"""Documents and the schemas that the OpenAPI Initiative publishes: what these refuse is told once and plainly."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft4Validator

from mawasu.errors import SpecError
from mawasu.gateway import official
from mawasu.gateway.document import Path
from mawasu.gateway.forms import Fault
from mawasu.gateway.openapi import parse
from tests.gateway.machinery import ANSWERS, INFO

Dict = dict[str, Any]

VERSIONS = ("2.0", "3.0", "3.1")
OPEN: Dict = {"security": [], "responses": ANSWERS}


def faults(text: str) -> list[Fault]:
    try:
        parse(text, "f")
    except SpecError as error:
        return [fault for fault in error.faults if isinstance(fault, Fault)]
    return []


def said(text: str) -> list[str]:
    return [str(fault) for fault in faults(text)]


def whole(version: str, **more: Any) -> Dict:
    name = {"swagger": version} if version == "2.0" else {"openapi": f"{version}.0"}
    return name | {"info": INFO, "paths": {"/x": {"get": OPEN}}} | more


def schemas(version: str, **named: Any) -> Dict:
    return whole(version, **({"definitions": named} if version == "2.0" else {"components": {"schemas": named}}))


def told(document: Dict) -> list[tuple[str, str]]:
    return [(fault.at, fault.message) for fault in faults(json.dumps(document))]


# ------------------------------------------------------------------------------------------------------ what is told


def test_what_the_schema_of_its_version_refuses_is_told_at_once_with_lines() -> None:
    text = """openapi: 3.0.3
paths:
  /x/{a}:
    parameters:
    - {name: a, in: path, schema: {type: string}}
    - {name: b, in: body, schema: {}}
    get:
      security: []
      operationId: one
      parameters: [{name: q, schema: {type: strng}}, {in: query, name: z}]
    put:
      security: []
      operationId: one
      requestBody:
        content: {application/json: {schema: {required: true, properties: {n: {type: [number], maxmum: 3}}}}}
      responses:
        200: {}
        OK: {description: fine}
        202: {$ref: 7}
"""
    body = "paths./x/{a}.put.requestBody.content.application/json.schema"
    assert said(text) == [
        "f:1: info: is missing: OpenAPI 3.0 wants it here",
        "f:5: paths./x/{a}.parameters.0.required: is missing: OpenAPI 3.0 wants it here",
        "f:6: paths./x/{a}.parameters.1.in: expected path, query, header or cookie, found 'body'",
        "f:7: paths./x/{a}.get.responses: is missing: OpenAPI 3.0 wants it here",
        "f:10: paths./x/{a}.get.parameters.0.in: is missing: OpenAPI 3.0 wants it here",
        "f:10: paths./x/{a}.get.parameters.0.schema.type: expected array, boolean, integer, number, object or string, "
        "found 'strng'",
        "f:10: paths./x/{a}.get.parameters.1: is missing one of schema, content",
        "f:13: paths./x/{a}.put.operationId: 'one' is the operationId of paths./x/{a}.get already",
        f"f:15: {body}.properties.n.maxmum: unknown key; did you mean 'maximum'?",
        f"f:15: {body}.properties.n.type: expected text, found a list",
        f"f:15: {body}.required: expected a list, found true",
        "f:17: paths./x/{a}.put.responses.200.description: is missing: OpenAPI 3.0 wants it here",
        "f:18: paths./x/{a}.put.responses.OK: unknown key",
        "f:19: paths./x/{a}.put.responses.202.$ref: expected text, found 7",
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("schema", "at", "words"),
    [
        ({"type": "strng"}, "type", "number, object or string, found 'strng'"),
        ({"required": True}, "required", "expected a list, found true"),
        ({"properties": {"p": {"items": {"multipleOf": 0}}}}, "properties.p.items.multipleOf", "expected more than 0"),
        ({"properties": {"p": 5}}, "properties.p", "found 5"),
        ({"additionalProperties": {"type": "strng"}}, "additionalProperties.type", "found 'strng'"),
        ({"additionalProperties": "no"}, "additionalProperties", "found 'no'"),
        ({"allOf": [{"maxLength": "7"}]}, "allOf.0.maxLength", "expected a whole number, found '7'"),
        ({"properties": {"x-size": {"type": "strng"}}}, "properties.x-size.type", "found 'strng'"),
        ({"properties": {"$ref": {"type": "strng"}}}, "properties.$ref.type", "found 'strng'"),
    ],
)
def test_a_fault_deep_in_a_schema_is_told_at_its_own_place(version: str, schema: Dict, at: str, words: str) -> None:
    ((place, message),) = told(schemas(version, A=schema))
    assert place == f"{'definitions' if version == '2.0' else 'components.schemas'}.A.{at}"
    assert words in message


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_may_be_left_out_only_where_the_version_lets_them(version: str) -> None:
    missing = [] if version == "3.1" else ["paths./x.get.responses"]
    assert [at for at, _ in told(whole(version, paths={"/x": {"get": {"security": []}}}))] == missing


@pytest.mark.parametrize("version", VERSIONS)
def test_no_answer_at_all_is_one_fault(version: str) -> None:
    paths: Dict = {"/x": {"get": {"security": [], "responses": {}}}}
    assert told(whole(version, paths=paths)) == [("paths./x.get.responses", "is empty")]


def test_what_swagger_knows_by_a_word_is_told_of_what_that_word_means() -> None:
    parameters = [
        {"name": "a", "in": "query", "type": "objct"},
        {"name": "b", "in": "body", "schema": {"type": "strng"}},
        {"name": "c", "in": "cookie", "type": "string"},
        {"name": "d", "in": "path", "type": "string"},
        {"$ref": "#/parameters/e", "name": "e"},
    ]
    get = OPEN | {"parameters": parameters}
    document = whole(
        "2.0", paths={"/x": {"get": get}}, parameters={"e": {"name": "e", "type": "string", "in": "query"}}
    )
    assert told(document) == [
        ("paths./x.get.parameters.0.type", "expected string, number, boolean, integer or array, found 'objct'"),
        (
            "paths./x.get.parameters.1.schema.type",
            "expected array, boolean, integer, null, number, object or string, found 'strng'",
        ),
        ("paths./x.get.parameters.2.in", "expected body, header, formData, query or path, found 'cookie'"),
        ("paths./x.get.parameters.3.required", "is missing: Swagger 2.0 wants it here"),
        ("paths./x.get.parameters.4.name", "unknown key"),
    ]


def test_two_things_that_exclude_each_other_are_named() -> None:
    parameter = {"name": "a", "in": "query", "schema": {}, "content": {"text/plain": {}}}
    (fault,) = told(whole("3.0", paths={"/x": {"get": OPEN, "parameters": [parameter]}}))
    assert fault == ("paths./x.parameters.0", "has schema and content, of which it may have one")


def test_a_name_that_openapi_does_not_take_is_told_by_itself() -> None:
    assert told(schemas("3.1", **{"a b": {}})) == [
        ("components.schemas.a b", "a name has letters, digits, '.', '-' and '_' only")
    ]


def test_an_unknown_dialect_of_schemas_is_left_to_whoever_knows_it() -> None:
    strange: Dict = schemas("3.1", A={"type": "strng"}) | {"jsonSchemaDialect": "https://schema.example/own"}
    assert told(strange) == []
    usual = strange | {"jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base"}
    assert [at for at, _ in told(usual)] == ["components.schemas.A.type"]


def test_an_operation_id_names_one_operation_but_may_be_referred_to_twice() -> None:
    one = OPEN | {"operationId": "one"}
    item = {"$ref": "#/components/pathItems/i"}
    document = whole("3.1", paths={"/a": item, "/b": item}, components={"pathItems": {"i": {"get": one}}})
    assert told(document) == []
    document["paths"]["/c"] = {"get": one}
    assert told(document) == [
        ("paths./c.get.operationId", "'one' is the operationId of components.pathItems.i.get already")
    ]


# ------------------------------------------------------------------------------------------------------ once


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "change",
    [
        {"paths": None},
        {"paths": []},
        {"paths": {"/x": None}},
        {"paths": {"/x": {"get": 5, "x-a": 1}}, "security": [{}]},
        {"paths": {"x": {"get": OPEN}}},
        {"paths": {"/x": {"gett": OPEN}}},
        {"paths": {"/x": {"get": OPEN | {"security": 5}}}},
        {"paths": {"/x": {"get": OPEN | {"operationId": 5}}}},
        {"paths": {"/x": {"get": OPEN | {"secruity": 5}}}},
        {"security": [5]},
        {"infos": 5},
    ],
)
def test_what_our_own_reader_tells_is_not_told_again(version: str, change: Dict) -> None:
    assert len(told(whole(version, **change))) == 1


def test_a_fault_above_hides_none_below() -> None:
    assert [at for at, _ in told(whole("3.0", paths={"/x": {"get": {}}}))] == ["paths./x.get", "paths./x.get.responses"]


# ------------------------------------------------------------------------------------------------------ what is let be


@pytest.mark.parametrize("version", VERSIONS)
def test_extensions_dates_and_numbers_as_names_of_answers_are_let_be(version: str) -> None:
    text = f"""
{'swagger: "2.0"' if version == "2.0" else f"openapi: {version}.0"}
info: {{title: t, version: "1", description: 2026-11-29, x-a: .inf, x-b: [1, null]}}
x-c: {{x: !!binary aGk=}}
paths:
  x-d: 1
  /x:
    x-e: 1
    get: {{security: [], responses: {{200: {{description: fine, x-f: {{}}}}}}, x-codegen-any: true}}
"""
    assert said(text) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_scheme_may_leave_out_what_the_gateway_does_not_read(version: str) -> None:
    token = {"x-google-issuer": "https://i", "x-google-jwks_uri": "https://i/k", "x-google-audiences": "a"}
    schemes = {"key": {"type": "apiKey"}, "token": {"type": "oauth2"} | token}
    holder: Dict = (
        {"securityDefinitions": schemes} if version == "2.0" else {"components": {"securitySchemes": schemes}}
    )
    assert told(whole(version, **holder)) == []


# ------------------------------------------------------------------------------------------------------ hostile


@pytest.mark.parametrize("version", VERSIONS)
def test_a_document_that_its_aliases_make_endless_is_refused_where_it_describes(version: str) -> None:
    lines = ["a0: &a0 {description: a}"]
    lines += [
        f"a{n}: &a{n} {{properties: {{{', '.join(f'p{at}: *a{n - 1}' for at in range(10))}}}}}" for n in range(1, 9)
    ]
    holder = ["definitions:"] if version == "2.0" else ["components:", " schemas:"]
    head = yaml_head(version)
    (line,) = said("\n".join([head, *holder, *(f"  {line}" for line in lines)]))
    assert line == "f:1: holds more than 200,000 values, those of its aliases counted each time"


def yaml_head(version: str) -> str:
    name = 'swagger: "2.0"' if version == "2.0" else f"openapi: {version}.0"
    return f"{name}\ninfo: {json.dumps(INFO)}\npaths: {json.dumps({'/x': {'get': OPEN}})}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_document_that_holds_itself_is_refused(version: str) -> None:
    text = f"{yaml_head(version)}\n{'definitions: &a {A: {properties: *a}}' if version == '2.0' else ''}"
    text += "" if version == "2.0" else "\ncomponents: {schemas: &a {A: {properties: *a}}}"
    assert [line.rpartition(": ")[2] for line in said(text)] == ["is nested too deeply"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("word", ["items", "additionalProperties", "not", "allOf", "oneOf", "properties"])
def test_a_fault_under_many_levels_takes_no_longer_than_one(version: str, word: str) -> None:
    if version == "2.0" and word in ("not", "oneOf"):
        return
    schema: Dict = {"type": "strng"}
    for _ in range(60):
        inside = (
            [schema, {"type": "string"}] if word.endswith("Of") else {"a": schema} if word == "properties" else schema
        )
        schema = {word: inside} | {"title": "a" * 1000}
    ((at, message),) = told(schemas(version, A=schema))
    assert at.endswith(".type")
    assert len(message) < 200


@pytest.mark.parametrize("bottom", [{"description": "x"}, {}])
@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_callbacks_inside_callbacks_take_no_longer_than_one(version: str, bottom: Dict) -> None:
    operation: Dict = {"responses": {"200": bottom}}
    for _ in range(30):
        operation = {"responses": ANSWERS, "callbacks": {"c": {"{$url}": {"post": operation}}}}
    document = whole(version, paths={"/x": {"post": operation | {"security": []}}})
    assert [at.rpartition(".")[2] for at, _ in told(document)] == ([] if bottom else ["description"])


def test_whoever_has_very_many_faults_is_told_of_the_first() -> None:
    found = told(schemas("3.0", A={"properties": {f"p{at}": at for at in range(3000)}}))
    assert len(found) == official.TOLD + 1
    assert found[0] == ("", f"has more faults than {official.TOLD}: these come first")


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_document_that_is_very_large_the_first_fault_is_told_and_no_time_lost(version: str) -> None:
    before = time.process_time()
    found = told(schemas(version, A={"properties": dict.fromkeys(map(str, range(official.LARGE)), 1)}))
    assert time.process_time() - before < 60  # a minute and gigabytes, were all of them made; most of this is YAML's
    assert [at for at, _ in found if at] == [found[-1][0]]
    assert found[0] == ("", "holds more than 50,000 values: there may be more faults than the first")


def test_text_that_is_no_unicode_and_numbers_that_no_machine_has_are_held_like_others() -> None:
    text = f'{{"A": {{"description": "\\ud800", "maximum": {10**400}, "minimum": .inf, "enum": ["\\udfff"]}}}}'
    found = said(f"{yaml_head('3.0')}\ncomponents: {{schemas: {text}}}")
    assert found == ["f:4: components.schemas.A.minimum: expected a number, found nothing"]


# ------------------------------------------------------------------------------------------------------ any document


NAMES = st.sampled_from(["a", "b", "type", "properties", "example", "x-own", "$ref", "get"])
TEXT = st.sampled_from(["", "a", "some words"])


def simple(version: str) -> st.SearchStrategy[Dict]:
    found: list[Dict] = [{"type": kind} for kind in ("string", "number", "integer", "boolean")]
    found += [{"type": "string", "enum": ["a", "b"]}, {"type": "number", "minimum": 0, "maximum": 1.5}]
    found += [{"type": "string", "nullable": True}] if version == "3.0" else []
    found += [{"type": ["string", "null"], "examples": [1]}] if version == "3.1" else []
    return st.sampled_from([*found, {"$ref": f"#/{'definitions' if version == '2.0' else 'components/schemas'}/A"}])


def wider(inner: st.SearchStrategy[Dict], version: str) -> st.SearchStrategy[Dict]:
    several = st.lists(inner, min_size=1, max_size=2)
    words = ["allOf"] if version == "2.0" else ["allOf", "oneOf", "anyOf"]
    return st.one_of(
        st.builds(lambda item: {"type": "array", "items": item}, inner),
        st.builds(
            lambda some, extra: {"type": "object", "properties": some, "additionalProperties": extra, "x-a": 1},
            st.dictionaries(NAMES, inner, max_size=3),
            st.booleans() | inner,
        ),
        st.builds(lambda word, some: {word: some}, st.sampled_from(words), several),
    )


def schema_of(version: str) -> st.SearchStrategy[Dict]:
    return st.recursive(simple(version), lambda inner: wider(inner, version), max_leaves=5)


@st.composite
def operations(draw: st.DrawFn, version: str, variable: bool) -> Dict:
    schema = schema_of(version)
    bodies = {"application/json": {"schema": draw(schema)}}
    here = {"in": "path", "required": True} if variable else {"in": draw(st.sampled_from(["query", "header"]))}
    held = {"type": "string"} if version == "2.0" else {"schema": draw(schema)}
    parameters: list[Dict] = [{"name": "a"} | here | held]
    answer: Dict = {"description": draw(TEXT)}
    answer |= {"schema": draw(schema)} if version == "2.0" else {"content": bodies}
    made: Dict = {
        "security": [],
        "parameters": parameters,
        "responses": {"200": answer, "default": {"description": ""}},
    }
    if draw(st.booleans()):
        if version == "2.0":
            parameters.append({"name": "body", "in": "body", "schema": draw(schema)})
        else:
            made["requestBody"] = {"content": bodies, "x-b": draw(TEXT)}
    return made | draw(st.sampled_from([{}, {"summary": "a"}, {"deprecated": True}, {"x-codegen": [1]}]))


@st.composite
def documents(draw: st.DrawFn, versions: tuple[str, ...] = VERSIONS) -> Dict:
    version = draw(st.sampled_from(versions))
    paths = {
        path: draw(st.dictionaries(st.sampled_from(["get", "post"]), operations(version, "{" in path), min_size=1))
        for path in draw(st.lists(st.sampled_from(["/", "/a", "/a/{a}"]), min_size=1, unique=True))
    }
    found = schemas(version, A={"type": "object"}, B=draw(schema_of(version))) | {"paths": paths}
    found["info"] = INFO | draw(st.sampled_from([{}, {"license": {"name": "MIT"}}, {"contact": {}, "x-c": None}]))
    return found | draw(st.sampled_from([{}, {"tags": [{"name": "t"}]}, {"externalDocs": {"url": "https://a"}}]))


def needed(document: Dict) -> Iterator[Path]:
    """Keys that a document may not lack."""
    yield from [("info",), ("info", "title"), ("info", "version"), ("paths",)]
    yield from [("info", "license", "name")] if "license" in document["info"] else []
    yield from [("tags", 0, "name")] if "tags" in document else []
    yield from [("externalDocs", "url")] if "externalDocs" in document else []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            at = ("paths", path, method)
            if not str(document.get("openapi")).startswith("3.1"):
                yield (*at, "responses")
            yield from ((*at, "responses", code, "description") for code in operation["responses"])
            for number, parameter in enumerate(operation["parameters"]):
                yield from ((*at, "parameters", number, key) for key in parameter if key != "schema")
            yield from [(*at, "requestBody", "content")] if "requestBody" in operation else []


@settings(max_examples=150, deadline=None)
@given(documents(), st.data())
def test_a_valid_document_has_no_fault_and_one_without_a_needed_key_has_one_there(document: Dict, data: Any) -> None:
    assert told(document) == []
    place = data.draw(st.sampled_from(sorted(needed(document), key=str)))
    lacking = copy.deepcopy(document)
    holder: Any = lacking
    for step in place[:-1]:
        holder = holder[step]
    del holder[place[-1]]
    assert [at for at, _ in told(lacking)] == [".".join(map(str, place))]


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


JUNK = st.sampled_from(
    [None, 5, True, "a", [], {}, ["a"], {"$ref": "#/a"}, {"$ref": 1}, {"type": "string"}, {"in": "path"}]
)


@settings(max_examples=300, deadline=None)
@given(documents(("2.0", "3.0")), st.data())
def test_what_is_refused_is_what_the_schema_as_published_refuses(document: Dict, data: Any) -> None:
    document = copy.deepcopy(document)  # parts of it are the strategies' own
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(sorted(places(document), key=str)))
        holder: Any = document
        for step in place[:-1]:
            holder = holder[step]
        if place:
            holder[place[-1]] = copy.deepcopy(data.draw(JUNK))
        if isinstance(holder, dict):
            holder[data.draw(st.sampled_from(["in", "type", "$ref", "items", "schema"]))] = copy.deepcopy(
                data.draw(JUNK)
            )
    version = official.version_of(document)
    if not version:
        return
    value = official.Plain().of(document)
    published = Draft4Validator(official.published(version), offline=True, validate_formats=False)
    found = official.faults(version, value)
    assert (not found) == published.is_valid(value)
    assert all(word.text and len(word.text) <= 200 for word in found)
