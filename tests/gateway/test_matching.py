"""The tree of routes: it finds what a search through all of them would, by short lists."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.gateway import matching, templates
from mawasu.gateway.envoy import compile
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.routes import QUERY
from mawasu.gateway.ways import ways_of
from mawasu.words import Endpoint
from tests.gateway.machinery import document, site

SEGMENT = st.sampled_from(["a", "ab", "a.b", "a+b", "{x}", "a{x}", "{x}.c", "(a)", "é"])
TEMPLATE = st.lists(SEGMENT, min_size=1, max_size=3, unique_by=lambda one: "{" in one).map(
    lambda each: "/" + "/".join(each)
)


def tree(*paths: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The routes of these paths, and the lists of the tree by beginning."""
    described: dict[str, Any] = {path.removeprefix("/").replace("/", "__"): [] for path in paths}
    routes = list(compile([parse_site(site(Endpoint("r", ("/s",)), document(**described)))], "/k").routes)
    found = matching.matcher(routes, {"rest": True})["matcher_tree"]["prefix_match_map"]["map"]
    return routes, {start: leaf["action"]["typed_config"]["routes"] for start, leaf in found.items()}


def fits(route: dict[str, Any], path: str) -> bool:
    match = route["match"]
    whole = [one["string_match"]["safe_regex"]["regex"] for one in match.get("headers", ()) if one["name"] == ":path"]
    return bool(match["path"] == path if "path" in match else re.fullmatch(whole[0], path))


@given(st.lists(TEMPLATE, min_size=1, max_size=6, unique_by=templates.shape), TEMPLATE, st.sampled_from(["", "/"]))
def test_the_tree_finds_what_a_search_through_all_routes_finds(paths: list[str], other: str, slash: str) -> None:
    routes, lists = tree(*paths)
    asked = [
        f"/flight-delay/production{templates.literal(path.replace('{x}', 'v'))}{slash}" for path in [*paths, other]
    ]
    for path in asked:
        longest = max((start for start in lists if path.startswith(start)), key=len, default=None)
        among = lists[longest][:-1] if longest is not None else []
        assert [route for route in among if fits(route, path)] == [route for route in routes if fits(route, path)]


@given(TEMPLATE, TEMPLATE, st.sampled_from(["", "/"]))
def test_a_way_fits_what_its_expression_fits(path: str, other: str, slash: str) -> None:
    described: dict[str, Any] = {path.removeprefix("/").replace("/", "__"): []}
    text = document(**described)
    (way,) = ways_of(parse_site(site(Endpoint("r", ("/s",)), text)))
    for one in (path, other):
        asked = f"/flight-delay/production{templates.literal(one.replace('{x}', 'v'))}{slash}"
        assert way.fits(asked) == (asked in way.paths or bool(way.regex and re.fullmatch(way.regex, asked)))


def test_a_thousand_routes_are_many_short_lists() -> None:
    routes, lists = tree(*[f"/things{number:04}/{{id}}" for number in range(300)])
    assert len(lists) == 300
    assert max(map(len, lists.values())) <= 1 + len(routes) // 300


def test_routes_that_could_stand_in_every_list_stay_one_list() -> None:
    paths = [f"/{{x}}/a{number}" for number in range(50)] + [f"/b{number}" for number in range(50)]
    routes, lists = tree(*paths)
    assert [len(found) for found in lists.values()] == [len(routes) + 1]


@pytest.mark.parametrize(
    ("template", "start"),
    [("/a/{x}/b", "/p/a/"), ("/a.b", "/p/a.b"), ("/{x}", "/p/"), ("/a{x}", "/p/a"), ("/a.b/c", "/p/a.b/c")],
)
def test_a_beginning_is_the_text_before_the_first_variable(template: str, start: str) -> None:
    regex = re.escape("/p") + templates.regex(template)
    whole = {"name": ":path", "string_match": {"safe_regex": {"regex": regex + QUERY}}}
    assert matching.beginning({"prefix": "/p/", "headers": [whole]}) == start
