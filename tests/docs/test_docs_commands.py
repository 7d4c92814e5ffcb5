"""Commands and links of the pages are true: verbs and options exist, links lead somewhere."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import io
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mawasu.cli.main import parser
from tests.docs.pages import PAGES, ROOT, blocks, commands, links, name, prose

ENGLISH, JAPANESE = ROOT / "README.md", ROOT / "README.ja.md"
PAIRS = [(ENGLISH, JAPANESE), (ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial.ja.md")]


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Its verbs; empty for one that has none (argparse keeps them in an action)."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def verb_names() -> list[str]:
    """`init`, `keys create`, …"""
    found = []
    for verb, inner in verbs_of(parser()).items():
        names = verbs_of(inner)
        found += [f"{verb} {name}" for name in names] if names else [verb]
    return found


def fault_of(arguments: list[str]) -> str | None:
    """Why the command line would not take these arguments; None if it would."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parser().parse_args(arguments)
    except SystemExit as end:
        fault = said.getvalue().splitlines()[-1] if end.code else None  # 0: it explained itself
        return None if fault and "arguments are required" in fault else fault  # a sentence may name a verb alone
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    faults = [f"{where}: {fault}" for where, words in commands(page) if (fault := fault_of(words))]
    assert not faults


def test_a_wrong_command_would_be_found() -> None:
    assert fault_of(["pulsh"])
    assert fault_of(["logs", "--forever"])
    assert fault_of(["keys", "create", "one", "two"])
    assert fault_of(["keys", "create", "shop", "--for", "a/b"]) is None


def test_commands_are_found_in_blocks_and_sentences() -> None:
    found = [words for _, words in commands(ENGLISH)]
    assert ["keys", "create", "shop", "--for", "no-show/staging"] in found
    assert ["down"] in found


@pytest.mark.parametrize("verb", verb_names())
def test_every_verb_is_shown_in_the_manual(verb: str) -> None:
    shown = (words for page in PAGES for _, words in commands(page))
    assert any(words[: verb.count(" ") + 1] == verb.split() for words in shown)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    missing = []
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            missing.append(link)
    assert not missing


def _anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("english", "japanese"), PAIRS, ids=["README", "tutorial"])
def test_the_japanese_page_has_the_same_commands_and_files(english: Path, japanese: Path) -> None:
    def shell(page: Path) -> list[list[str]]:
        return [[re.sub(r" +#.*", "", line) for line in one.text.splitlines()] for one in blocks(page, "sh")]

    def files(page: Path) -> list[Any]:
        yaml = YAML(typ="safe", pure=True)
        return [yaml.load(one.text) for one in blocks(page, "yaml mawasu.yaml", "yaml part of mawasu.yaml")]

    assert shell(japanese) == shell(english)
    assert files(japanese) == files(english)
    assert [one.text for one in blocks(japanese, "") if "remote:" in one.text] == [
        one.text for one in blocks(english, "") if "remote:" in one.text
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert not re.search(r"/(tmp|work|root)/\w", text)
    assert getpass.getuser() == "root" or f"/home/{getpass.getuser()}/" not in text
