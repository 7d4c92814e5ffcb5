"""Path templates: random ones match as OpenAPI says, and a real Envoy sends each request where it belongs."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mawasu.gateway import templates
from tests.gateway.conftest import Stand
from tests.gateway.machinery import call, document, site

LITERAL = st.text(string.ascii_lowercase + string.digits + "-.~+$()|*^é", min_size=1, max_size=6).filter(
    lambda text: text not in (".", "..")
)
VARIABLE = st.from_regex(r"\{[a-z]{1,4}\}", fullmatch=True)
SEGMENT = st.one_of(LITERAL, VARIABLE, st.tuples(LITERAL, VARIABLE, LITERAL).map("".join))
TEMPLATE = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
VALUE = st.text(string.ascii_letters + string.digits + "-_.~", min_size=1, max_size=5).filter(
    lambda text: text not in (".", "..")
)


def well_formed(template: str) -> bool:
    return templates.fault_of(template) is None


def filled(template: str, values: list[str]) -> str:
    """The template with its variables replaced, as a request would say it."""
    given_ = iter(values)
    return templates.literal(re.sub(r"\{[^}]*\}", lambda _: next(given_), template))


@given(TEMPLATE.filter(well_formed), st.lists(VALUE, min_size=4, max_size=4))
def test_a_template_matches_itself_filled_in_with_one_slash_after_it(template: str, values: list[str]) -> None:
    pattern = re.compile(templates.regex(template))
    path = filled(template, values)
    assert pattern.fullmatch(path)
    assert pattern.fullmatch(path + "/")
    assert not pattern.fullmatch(path + "//")
    assert not pattern.fullmatch(path + "/more")
    assert not pattern.fullmatch("/more" + path)


@given(TEMPLATE.filter(well_formed), TEMPLATE.filter(well_formed), st.lists(VALUE, min_size=4, max_size=4))
def test_a_template_matches_segment_by_segment(one: str, other: str, values: list[str]) -> None:
    path = filled(other, values)
    ours, theirs = one.split("/"), path.split("/")
    expected = len(ours) == len(theirs) and all(map(_segment_matches, ours, theirs))
    assert bool(re.fullmatch(templates.regex(one), path)) == expected


def _segment_matches(segment: str, text: str) -> bool:
    """The rule said another way: what stands around the variables is there, in order, with something between."""
    pieces = [templates.literal("/" + piece)[1:] if piece else "" for piece in re.split(r"\{[^}]*\}", segment)]
    if len(pieces) == 1:
        return text == pieces[0]
    assert len(pieces) == 2
    start, end = pieces
    return text.startswith(start) and text.endswith(end) and len(text) > len(start) + len(end)


@pytest.mark.parametrize(
    ("template", "taken", "left"),
    [
        ("/{x}", ["a", ".a", "..a", "...", "..a;b", "a;..", ".-"], ["..;", "..;a", ".;", ".;a;b", ".", ".."]),
        ("/{x}.c", ["..c", "...c", "a.c", "..a;.c"], ["..;.c", ".;a.c"]),
        ("/{x};c", ["a;c", "..a;c"], ["..;c", ".;c"]),
        ("/.{x}", [".a", "..a", "...", "..a;"], [".;", "..;a"]),
        ("/..{x}", ["..a", "...;"], ["..;", "..;a"]),
        ("/a{x}", ["a;", "a..;", "a.;"], ["..;"]),
        ("/b/{x}/c/{y}", ["b/1/c/2"], ["b/..;/c/2", "b/1/c/..;"]),
    ],
)
def test_a_variable_is_no_dots_with_parameters(template: str, taken: list[str], left: list[str]) -> None:
    pattern = re.compile(templates.regex(template))
    assert [path for path in taken if not pattern.fullmatch(f"/{path}")] == []
    assert [path for path in left if pattern.fullmatch(f"/{path}")] == []


def test_literals_come_before_variables_at_the_first_segment_that_differs() -> None:
    ordered = ["/b", "/b/c", "/b/c{x}", "/b/{x}", "/b/{x}/d", "/b{x}", "/{x}", "/{x}/c"]
    shuffled = [ordered[index] for index in (5, 2, 7, 0, 3, 6, 1, 4)]
    assert sorted(shuffled, key=templates.precedence) == ordered


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(TEMPLATE.filter(well_formed), unique_by=templates.shape, min_size=1, max_size=8),
    st.lists(VALUE, min_size=4, max_size=4),
)
def test_envoy_takes_any_document_and_matches_as_the_rule_says(
    stand: Stand, many: list[str], values: list[str]
) -> None:
    if not stand.backends:
        stand.backend("any")
    (backend,) = stand.backends
    described: dict[str, Any] = {path[1:].replace("/", "__"): [] for path in many}
    stand.gateway.switch([site(backend.endpoint(), document(**described))])
    for path in many:
        target = filled(path, values)
        assert call(stand.port, "GET", f"/flight-delay/production{target}").status == 200
        assert backend.seen[-1].line == f"GET {target} HTTP/1.1"
        assert call(stand.port, "GET", f"/flight-delay/production{target}/a/b/c/d/e").status == 404
