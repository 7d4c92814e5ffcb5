"""The schema for editors agrees with what `load` accepts, as far as a schema can say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mawasu.spec import parse
from mawasu.spec.schema import schema
from tests.spec.test_spec_validate import ONE_FAULT
from tests.spec.texts import EXAMPLES, GOOD

COMMITTED = EXAMPLES.parent / "mawasu.schema.json"

# what one value cannot say about another, and what a pattern cannot see
BEYOND = {
    "nothing to do",
    "one branch in two environments",
    "a stable environment that expires",
    "an environment without a branch",
    "two kinds of preview",
    "a branch that is no glob",
    "data in a cloud as files",
    "refresh of files",
    "refresh without a branch",
    "an unknown data set",
    "a path that leads out",
    "a path with a dot",
    "a glob with a star too many",
    "no time",
    "no memory",
    "params without JSON",
    "a label that is missing",
    "no holdout",
    "evaluation of an unknown set",
    "batches for a server",
    "workers for a server",
    "more at least than at most",
    "a secret that mawasu sets",
    "no authentication",
}


def accepts(text: str) -> bool:
    root = parse(text).root
    assert root is not None
    value: Any = root.plain()
    return Draft202012Validator(schema()).is_valid(value)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_committed_schema_is_current() -> None:
    assert json.loads(COMMITTED.read_text()) == schema()


def test_every_key_has_a_description() -> None:
    def walk(part: dict[str, Any]) -> None:
        for inner in part.get("properties", {}).values():
            assert inner["description"]
            walk(inner)

    walk(schema())


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_the_schema_accepts_every_example_of_the_manual(name: str) -> None:
    assert accepts((EXAMPLES / name).read_text())


def test_the_schema_accepts_the_good_file() -> None:
    assert accepts(GOOD)


@pytest.mark.parametrize("name", sorted(ONE_FAULT.keys() - BEYOND))
def test_the_schema_refuses_what_loading_refuses(name: str) -> None:
    assert not accepts(ONE_FAULT[name][0])


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_what_is_beyond_a_schema_is_named(name: str) -> None:
    assert accepts(ONE_FAULT[name][0])
