from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.errors import SpecError
from mawasu.spec.examples import Example, Expected, Request, difference, parse_examples
from tests.spec.texts import EXAMPLES

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=10,
)


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_examples(text)
    return [str(fault) for fault in caught.value.faults]


def test_the_example_of_the_manual_is_read() -> None:
    golden, invariance, nonsense, version = parse_examples((EXAMPLES / "api" / "examples.yaml").read_text())
    assert golden == Example(
        name="an experienced applicant",
        request=Request(path="/predict", body={"years": 12, "skills": ["python", "sql"]}),
        expect=Expected(status=200, body={"score": 0.83}),
        tolerance=0.05,
    )
    assert invariance.same_as == golden.name
    assert nonsense.expect == Expected(status=422)
    assert version.request == Request(method="GET", path="/version")
    assert version.request.body is msgspec.UNSET


def test_all_faults_of_examples_come_with_their_lines() -> None:
    text = "- name: a\n  request: {path: predict}\n  same_as: zz\n- name: a\n  tolerance: -1\n"
    text += "  request: {method: get, path: /x}\n  same_as: a\n- 3\n"
    assert refused(text) == [
        "api/examples.yaml:2: [0].request.path: found `predict`, expected a path such as `/predict`"
        " — did you mean `/predict`?",
        "api/examples.yaml:3: [0].same_as: no example is named `zz` — expected `a`",
        "api/examples.yaml:4: [1].name: `a` is the name of example 1 already",
        "api/examples.yaml:5: [1].tolerance: found the number `-1`, expected a number from 0",
        "api/examples.yaml:6: [1].request.method: found `get`, expected one of `GET`, `POST`, `PUT`, `PATCH`, `DELETE`"
        " — did you mean `GET`?",
        "api/examples.yaml:7: [1].same_as: an example is always the same as itself, expected another one",
        "api/examples.yaml:8: [2]: found the number `3`, expected a mapping with `name`, `request`, `expect`, "
        "`tolerance`, `same_as`",
    ]


@pytest.mark.parametrize("text", ["", "a: 1", "[]", "- {name: a}", "- {name: a, request: {path: /, body: .nan}}"])
def test_what_is_no_list_of_examples_is_refused(text: str) -> None:
    assert len(refused(text)) == 1


@pytest.mark.parametrize(
    ("expected", "actual", "tolerance", "said"),
    [
        ({"a": 1}, {"a": 1.0, "b": 2}, 0, None),
        ({"a": [1, {"b": 0.5}]}, {"a": [1, {"b": 0.54}]}, 0.05, None),
        ({"a": [1, {"b": 0.5}]}, {"a": [1, {"b": 0.56}]}, 0.05, "$.a[1].b is 0.56, expected 0.5 within 0.05"),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, 0, "$.a is 2, expected 1"),
        ({"a": 1}, {}, 0, "$.a is missing"),
        ([1, 2], [1], 0, "$ has 1 items, expected 2"),
        ({"a": True}, {"a": 1}, 0, "$.a is 1, expected true"),
        (1, True, 1, "$ is true, expected 1"),
        ("x", "y", 0, "$ is `y`, expected `x`"),
        (None, {}, 0, "$ is an object, expected null"),
        ({}, [], 0, "$ is a list, expected an object"),
        (0.5, float("nan"), 1, "$ is nan, expected 0.5 within 1"),
        (10**400, 0.5, 1, "$ is 0.5, expected " + str(10**400)[:40] + " within 1"),
        ({"a": "\x1b[2J"}, {"a": "\x1b[1m"}, 0, "$.a is `\\x1b[1m`, expected `\\x1b[2J`"),
    ],
)
def test_the_first_difference_is_said_with_its_place(
    expected: object, actual: object, tolerance: float, said: str | None
) -> None:
    assert difference(expected, actual, tolerance) == said


def test_exactly_minds_keys_that_were_not_expected() -> None:
    assert difference({"a": 1}, {"a": 1, "b": 2}, exactly=True) == "$.b was not expected"
    assert difference({"a": 1}, {"a": 1}, exactly=True) is None


@given(json_values)
def test_a_value_does_not_differ_from_itself(value: object) -> None:
    assert difference(value, value, exactly=True) is None


@given(json_values, json_values)
def test_exact_equality_is_the_same_from_both_sides(left: object, right: object) -> None:
    assert (difference(left, right, exactly=True) is None) == (difference(right, left, exactly=True) is None)


def test_an_answer_nested_deeper_than_pythons_stack_is_compared() -> None:
    deep: object = 1
    other: object = 2
    for _ in range(5000):
        deep, other = [deep], [other]
    found = difference(deep, other)
    assert found is not None
    assert found.endswith("is 2, expected 1")


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e6))
def test_numbers_may_differ_by_the_tolerance(number: float, tolerance: float) -> None:
    assert difference(json.loads(json.dumps(number)), number, tolerance) is None
