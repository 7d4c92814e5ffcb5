"""Files that are almost good: loading gives a feature or faults, never another error, and the schema agrees."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mawasu.spec import feature_name, load, parse
from mawasu.spec.schema import schema
from tests.spec.texts import EXAMPLES, GOOD, PATHS, faults

VALIDATOR = Draft202012Validator(schema())
TEXTS = [GOOD, *(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml")))]

ODD_SCALARS = [
    None,
    True,
    0,
    -1,
    3,
    0.5,
    1e308,
    "",
    " ",
    "a",
    "x/**",
    "1h",
    "4Gi",
    "..",
    "/a",
    ">= 1",
    "roc_auc",
    "\u202e",
]
ODD_HOLDERS = [
    [],
    {},
    [1],
    ["a", "a"],
    {"a": 1},
    {"": None},
    {"branch": "**", "expires": "1d"},
    [[["a"]]],
    {"holdout": {}},
]
odd_values = st.one_of(st.sampled_from(ODD_SCALARS), st.sampled_from(ODD_HOLDERS).map(copy.deepcopy))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for step in steps for place in places(value[step], (*path, step)))]


@st.composite
def almost_good(draw: st.DrawFn) -> Any:
    root = parse(draw(st.sampled_from(TEXTS))).root
    assert root is not None
    box = {"file": root.plain()}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(box)[1:]))
        holder: Any = box
        for step in path[:-1]:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "drop", "rename"]))
        if change == "replace" or path == ("file",):
            holder[path[-1]] = draw(odd_values)
        elif change == "drop" or isinstance(holder, list):
            del holder[path[-1]]
        else:
            holder[draw(st.text(max_size=4))] = holder.pop(path[-1])
    return box["file"]


@given(almost_good(), st.sampled_from([None, PATHS, frozenset[str]()]))
def test_almost_good_files_load_or_have_faults_that_can_be_shown(value: Any, paths: frozenset[str] | None) -> None:
    assert all(line.startswith("mawasu.yaml:") and line.isprintable() for line in faults(json.dumps(value), paths))


@given(almost_good())
def test_the_schema_accepts_whatever_loads(value: Any) -> None:
    assert faults(json.dumps(value)) or VALIDATOR.is_valid(value)


@given(almost_good())
def test_what_loads_has_the_name_that_is_found_without_loading(value: Any) -> None:
    text = json.dumps(value)
    assert faults(text) or feature_name(text) == load(text).name
