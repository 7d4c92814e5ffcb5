"""Documents: what is read from them, and that every fault is named with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mawasu.errors import SpecError
from mawasu.gateway.forms import Api, Fault, KeyScheme, Operation, Place, TokenScheme
from mawasu.gateway.openapi import parse
from tests.gateway.machinery import ANSWERS, INFO, Issuer

HEAD = 'openapi: 3.1.0\ninfo: {title: t, version: "1"}\n'
SCHEMES = """
components:
  securitySchemes:
    key: {type: apiKey, in: query, name: k}
    jwt:
      type: http
      scheme: Bearer
      x-google-issuer: https://i
      x-google-jwks_uri: https://i/k
      x-google-audiences: a, b
"""


def faults(text: str) -> list[Fault]:
    with pytest.raises(SpecError) as caught:
        parse(text, "auth/openapi.yaml")
    return [fault for fault in caught.value.faults if isinstance(fault, Fault)]


def said(text: str) -> list[str]:
    return [str(fault) for fault in faults(text)]


def with_scheme(**body: Any) -> str:
    scheme = {"type": "http", "scheme": "bearer", "x-google-issuer": "https://i", "x-google-audiences": "a"} | body
    path: dict[str, Any] = {"get": {"security": [{"s": []}], "responses": ANSWERS}}
    return json.dumps(
        {
            "openapi": "3.0.0",
            "info": INFO,
            "paths": {"/x": path},
            "components": {"securitySchemes": {"s": {name: item for name, item in scheme.items() if item is not None}}},
        }
    )


def test_operations_security_and_deadlines_are_read() -> None:
    text = f"""{HEAD}
security: [key: []]
x-google-backend: {{deadline: 3}}
paths:
  /a/:
    get: {{}}
    post: {{security: [{{jwt: [], key: []}}, {{}}], x-google-backend: {{deadline: 0.5}}}}
  /b: {{delete: {{security: []}}}}
  x-anything: here
{SCHEMES}"""
    assert parse(text, "f") == Api(
        (
            Operation("GET", "/a", (("key",),), 3.0),
            Operation("POST", "/a", (("jwt", "key"), ()), 0.5),
            Operation("DELETE", "/b", (), 3.0),
        ),
        {
            "key": KeyScheme("key", (Place("query", "k"),)),
            "jwt": TokenScheme(
                "jwt",
                "https://i",
                ("a", "b"),
                (
                    Place("header", "authorization", "Bearer "),
                    Place("header", "x-goog-iap-jwt-assertion"),
                    Place("query", "access_token"),
                ),
                "https://i/k",
            ),
        },
    )


def test_json_is_read_like_yaml() -> None:
    api = parse(with_scheme(**{"x-mawasu-jwks": {"keys": [Issuer().jwk]}}), "f")
    assert [operation.path for operation in api.operations] == ["/x"]


def test_a_key_scheme_without_a_place_is_read_from_the_usual_ones() -> None:
    text = (
        f"{HEAD}paths: {{/x: {{get: {{security: [s: []]}}}}}}\ncomponents: {{securitySchemes: {{s: {{type: apiKey}}}}}}"
    )
    (scheme,) = parse(text, "f").schemes.values()
    assert [place.name for place in scheme.places] == ["x-api-key", "key", "api_key"]


def test_references_inside_the_document_are_followed() -> None:
    text = f"""{HEAD}
paths: {{/x: {{$ref: '#/x-items/a~1b%20c'}}}}
x-items: {{a/b c: {{get: {{security: [s: []]}}}}}}
components:
  securitySchemes: {{s: {{$ref: '#/components/securitySchemes/t'}}, t: {{type: apiKey, in: header, name: X-K}}}}
"""
    api = parse(text, "f")
    assert api.operations == (Operation("GET", "/x", (("s",),)),)
    assert api.schemes["s"] == KeyScheme("s", (Place("header", "x-k"),))


def test_an_operation_without_security_is_a_fault_unless_it_says_so_itself() -> None:
    text = f"{HEAD}security: []\npaths:\n  /x:\n    get: {{}}\n    put: {{security: []}}\n"
    (fault,) = faults(text)
    assert (fault.line, fault.at) == (6, "paths./x.get")
    assert "`security: []` here" in fault.message


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = """openapi: "2.0"
paths:
  nowhere: {}
  /x:
    get:
      security: [kye: []]
      x-google-quotas: {}
  /y:
    get:
      security: [key: [read]]
components:
  securitySchemes:
    key: {type: apiKey, in: cookie, name: k}
    jwt:
      type: http
      scheme: bearer
      x-google-isuer: https://i
"""
    assert said(text) == [
        "auth/openapi.yaml:1: openapi: expected 3.0.x or 3.1.x as text, found '2.0'",
        "auth/openapi.yaml:3: paths.nowhere: a path starts with '/'",
        "auth/openapi.yaml:6: paths./x.get.security.0.kye: no such scheme in components.securitySchemes; "
        "did you mean 'key'?",
        "auth/openapi.yaml:7: paths./x.get.x-google-quotas: unknown key; did you mean 'x-google-quota'?",
        "auth/openapi.yaml:10: paths./y.get.security.0.key: expected [] (the gateway does not check scopes), "
        "found a list",
        "auth/openapi.yaml:13: components.securitySchemes.key.in: expected header or query, found 'cookie'",
        "auth/openapi.yaml:14: components.securitySchemes.jwt: expected x-google-jwks_uri (https) or x-mawasu-jwks "
        "(the key set itself); neither stands here",
        "auth/openapi.yaml:14: components.securitySchemes.jwt.x-google-audiences: expected the audiences this API "
        "accepts (a, b), found nothing",
        "auth/openapi.yaml:14: components.securitySchemes.jwt.x-google-issuer: expected text, found nothing",
        "auth/openapi.yaml:17: components.securitySchemes.jwt.x-google-isuer: unknown key; "
        "did you mean 'x-google-issuer'?",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "expected a mapping, found nothing"),
        ("[1, 2]", 1, "expected a mapping, found a list"),
        ("a: [1", 1, "expected ',' or ']'"),
        ("a: 1\na: 2\n", 2, "duplicate key"),
        ("a: !!python/object:os.system x", 1, "could not determine a constructor"),
        ("a: " + "[" * 50_000, 0, "nested too deeply"),
        ("- " * 50_000, 0, "nested too deeply"),
        ("#" * 3_000_000, 0, "larger than"),
        ("a: \x01", 0, "special characters are not allowed"),
    ],
)
def test_text_that_is_no_document_is_a_fault(text: str, line: int, words: str) -> None:
    first = faults(text)[0]
    assert first.line == line
    assert words in first.message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a//b", "never reached"),
        ("/a/../b", "never reached"),
        ("/a?b", "has no"),
        ("/a%2fb", "escaped slash"),
        ("/{a", "within one segment"),
        ("/{a/b}", "within one segment"),
        ("/{}", "has a name"),
        ("/{a}/{a}", "once"),
        ("/{a}{b}", "text between"),
    ],
)
def test_a_path_that_cannot_be_matched_is_a_fault(path: str, words: str) -> None:
    document = {"openapi": "3.1.0", "info": INFO, "paths": {path: {"get": {"security": []}}}}
    assert words in faults(json.dumps(document))[0].message


def test_two_paths_for_the_same_requests_are_a_fault() -> None:
    text = f"{HEAD}paths:\n  /x/{{a}}: {{get: {{security: []}}}}\n  /x/{{b}}/: {{get: {{security: []}}}}\n"
    (fault,) = faults(text)
    assert (fault.line, fault.message) == (5, "matches the same requests as get /x/{a}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "neither stands here"),
        ({"x-google-jwks_uri": "http://i/k"}, "expected an https URL"),
        ({"x-google-jwks_uri": "https://"}, "expected an https URL"),
        ({"x-google-jwks_uri": "https://i:99999/k"}, "expected an https URL"),
        ({"x-google-jwks_uri": "https://169.254.169.254/k"}, "this machine's own surroundings"),
        ({"x-google-jwks_uri": "https://metadata.google.internal/k"}, "gives credentials to this machine"),
        ({"x-google-jwks_uri": "https://2852039166/k"}, "is no name of a host"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-audiences": None}, "audiences this API accepts"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-audiences": " , "}, "names no audience"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-issuer": "mawasu"}, "issuer of API keys"),
        ({"x-mawasu-jwks": {"keys": []}}, "list of JWKs"),
        ({"x-mawasu-jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "part of a private key"),
        ({"x-mawasu-jwks": {"keys": [{"kty": "oct"}]}}, "expected RSA, EC or OKP"),
        ({"x-mawasu-jwks": {"keys": [Issuer().jwk | {"d": "AA"}]}}, "part of a private key"),
        ({"x-mawasu-jwks": {"keys": [Issuer().jwk | {"y": "AAAA"}]}}, "not a valid public key"),
        ({"x-mawasu-jwks": {"keys": [Issuer().jwk | {"crv": "P-1"}]}}, "not a valid public key"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-jwt-locations": [{"heder": "x"}]}, "did you mean 'header'?"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-jwt-locations": [{"header": "x_y"}]}, "underscore"),
        ({"x-google-jwks_uri": "https://i/k", "x-google-jwt-locations": [{"query": "a", "cookie": "b"}]}, "one of"),
        ({"type": "openIdConnect"}, "use http bearer with x-google-issuer"),
        ({"type": "http", "scheme": "basic"}, "found http basic"),
    ],
)
def test_a_scheme_that_cannot_be_held_is_a_fault(changes: dict[str, Any], words: str) -> None:
    assert any(words in line for line in said(with_scheme(**changes)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("paths: {/x: {$ref: 'other.yaml'}}", "outside this document"),
        ("paths: {/x: {$ref: '#/nothing'}}", "nothing stands at"),
        ("paths: {/x: {$ref: '#/paths/~1x'}}", "leads back to itself"),
        ("paths: {}", "describes no path"),
        ("paths: {/x: {get: {security: [], x-google-audiences: a}}}", "belongs into an entry of"),
        ("paths: {/x: {get: {security: []}, x-google-backend: {deadline: 1}}}", "belongs to the whole document"),
        ("paths: {/x: {get: {security: [], x-google-backend: {deadline: -1}}}}", "expected seconds"),
        ("paths: {/x: {get: {security: [], x-google-backend: {address: http://a}}}}", "expected an https URL"),
        ("paths: {/x: {get: {security: {}}}}", "expected a list of requirements"),
    ],
)
def test_what_the_gateway_would_have_to_ignore_is_a_fault(text: str, words: str) -> None:
    assert any(words in line for line in said(HEAD + text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "security: [{}]\npaths: {/x: {get: {secruity: [{key: []}]}}}",
            "get.secruity: unknown key; did you mean 'security'",
        ),
        (
            "securty: [{key: []}]\npaths: {/x: {get: {security: []}}}",
            ":3: securty: unknown key; did you mean 'security'?",
        ),
        ("paths: {/x: {gett: {}, get: {security: []}}}", "paths./x.gett: unknown key; did you mean 'get'?"),
        ("paths: {/x: {GET: {}, get: {security: []}}}", "paths./x.GET: unknown key"),
        (
            "paths: {/x: {get: {security: [], X-Google-Quota: {}}}}",
            "X-Google-Quota: unknown key; did you mean 'x-google-quota'?",
        ),
        (
            "paths: {/x: {get: {security: [], x_google_quota: {}}}}",
            "x_google_quota: unknown key; did you mean 'x-google-quota'?",
        ),
        ("paths: {/x: {get: {security: []}}}\nbasePath: /v1", "basePath: unknown key"),
        ("paths: {/x: {get: {security: []}}}\ncomponents: {securitySchema: {}}", "did you mean 'securitySchemes'?"),
        (
            "paths: {/x: {$ref: '#/components/pathItems/x'}}\n"
            "components: {pathItems: {x: {get: {security: [], parametres: []}}}}",
            ":4: components.pathItems.x.get.parametres: unknown key; did you mean 'parameters'?",
        ),
    ],
)
def test_a_word_that_openapi_does_not_have_is_a_fault_with_the_nearest_one(text: str, words: str) -> None:
    assert any(words in line for line in said(HEAD + text))


def test_a_word_of_a_scheme_that_openapi_does_not_have_is_a_fault() -> None:
    assert any("nmae: unknown key; did you mean 'name'?" in line for line in said(with_scheme(nmae="x")))


def test_extensions_of_others_are_left_alone() -> None:
    text = f"{HEAD}x-tags: 1\npaths: {{x-more: 1, /x: {{x-internal: true, get: {{security: [], x-codegen: {{}}}}}}}}"
    assert len(parse(text, "f").operations) == 1


def test_data_in_examples_is_not_description() -> None:
    text = f"""{HEAD}
paths: {{/x: {{get: {{security: [], x-my: {{example: {{x-google-nonsense: 1, $ref: '#/nowhere'}}}}}}}}}}
components:
  schemas: {{a: {{properties: {{example: {{$ref: '#/components/schemas/b'}}, $ref: {{type: string}}}}}}, b: {{}}}}
"""
    assert len(parse(text, "f").operations) == 1


def test_a_document_that_refers_to_itself_many_times_over_is_read_once() -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    parse(HEAD + "paths: {/x: {get: {security: []}}}\n" + "\n".join(f"x-{line}" for line in lines), "f")
