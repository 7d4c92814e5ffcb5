"""What pages show of the user's files is true: mawasu takes it."""

from __future__ import annotations

import ast
import json
from io import StringIO
from typing import Any

import pytest
from google.auth import aws, identity_pool
from ruamel.yaml import YAML

from mawasu.errors import MawasuError, SpecError
from mawasu.gateway import swagger
from mawasu.gateway.openapi import parse as parse_openapi
from mawasu.spec import load
from mawasu.spec.examples import parse_examples
from mawasu.spec.language import MAWASU_YAML
from tests.docs import reference
from tests.docs.pages import PAGES, ROOT, Block, blocks, name

WHOLE, PART = "yaml mawasu.yaml", "yaml part of mawasu.yaml"
HERE = "yaml auth/openapi.yaml of one machine"
LEAST = """\
feature: churn
training: {paths: [training/**], command: python training/train.py}
api: {paths: [api/**], handler: "api.handler:predict"}
auth: {openapi: auth/openapi.yaml}
"""


def of(*infos: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *infos)]


def where(block: Block) -> str:
    return block.where


@pytest.mark.parametrize("block", of(WHOLE), ids=where)
def test_a_mawasu_yaml_of_a_page_loads(block: Block) -> None:
    load(block.text, file=block.where)


@pytest.mark.parametrize("block", of(PART), ids=where)
def test_a_part_of_a_mawasu_yaml_loads_in_a_small_whole_one(block: Block) -> None:
    yaml = YAML(typ="safe", pure=True)
    whole: dict[str, Any] = {**yaml.load(LEAST), **yaml.load(block.text)}
    text = StringIO()
    yaml.dump(whole, text)
    load(text.getvalue(), file=block.where)


@pytest.mark.parametrize("block", of("yaml"), ids=where)
def test_no_mawasu_yaml_hides_in_an_unmarked_block(block: Block) -> None:
    top = {line.partition(":")[0] for line in block.text.splitlines() if line[:1].isalpha()}
    assert not top & set(MAWASU_YAML.keys), f"fence it as `{WHOLE}` or `{PART}`"


@pytest.mark.parametrize("block", of("yaml auth/openapi.yaml"), ids=where)
def test_an_openapi_file_of_a_page_compiles(block: Block) -> None:
    parse_openapi(block.text, file=block.where)
    swagger.check(block.text, file=block.where)  # for Google Cloud too


@pytest.mark.parametrize("block", of(HERE), ids=where)
def test_an_openapi_file_that_only_one_machine_holds_compiles_there(block: Block) -> None:
    parse_openapi(block.text, file=block.where)
    with pytest.raises(SpecError):
        swagger.check(block.text, file=block.where)


@pytest.mark.parametrize("block", of("json credentials"), ids=where)
def test_credentials_of_a_page_are_taken_by_googles_library(block: Block) -> None:
    told = json.loads(block.text)
    kind = aws.Credentials if "environment_id" in told["credential_source"] else identity_pool.Credentials
    found = kind.from_info(told, scopes=["scope"])  # type: ignore[no-untyped-call]
    assert found.info["audience"] == told["audience"]


@pytest.mark.parametrize("block", of("yaml api/examples.yaml"), ids=where)
def test_examples_of_a_page_are_read(block: Block) -> None:
    parse_examples(block.text, file=block.where)


@pytest.mark.parametrize("block", of("python"), ids=where)
def test_python_of_a_page_is_python(block: Block) -> None:
    ast.parse(block.text)


def test_the_manual_shows_every_key_of_the_language_and_its_full_example() -> None:
    page = reference.PAGE.read_text(encoding="utf-8")
    assert reference.renewed(page) == page, "renew it: python -m tests.docs.reference"
    assert all(f"`{path}`" in page for path, _ in reference.every_key())


def test_the_readme_names_every_key_that_is_refused() -> None:
    limits = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Limits")[2]
    unnamed = [path for path in reference.refused() if path.rpartition(".")[2] not in limits]
    assert not unnamed


def test_every_error_has_its_row_in_the_page_of_errors() -> None:
    rows = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    errors: list[type[MawasuError]] = [MawasuError, *MawasuError.__subclasses__()]
    for error in errors:
        assert any(row.startswith(f"| {error.exit_status} | `{error.code}` |") for row in rows), error.code


def test_every_block_says_what_it_is() -> None:
    files = {WHOLE, PART, HERE, "yaml", "yaml auth/openapi.yaml", "yaml api/examples.yaml"}
    known = files | {"php", "python", "pycon", "sh", "ini", "json credentials", ""}
    assert {block.info for page in PAGES for block in blocks(page)} <= known


def test_every_page_begins_with_its_title() -> None:
    assert not [name(page) for page in PAGES if not page.read_text(encoding="utf-8").startswith("# ")]
