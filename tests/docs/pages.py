"""The pages people read, and the code blocks and links in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "architecture/*.md", "decisions/*.md")
    for path in ROOT.glob(pattern)
    if path.is_file()
)

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, its text, and where it begins."""

    info: str
    text: str
    where: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *infos: str) -> list[Block]:
    """The fenced blocks of a page, all or those of these infos."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1].strip(), match[2], f"{name(page)}:{text[: match.start()].count(chr(10)) + 1}")
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not infos or block.info in infos]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    return [match[1] for match in _LINK.finditer(prose(page))]


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(where, arguments) of every `mawasu …` of a page: in its shell blocks, and in its sentences."""
    for block in blocks(page, "sh", ""):
        for line in block.text.splitlines():
            if block.info == "sh" or line.startswith("$ "):
                yield from ((block.where, words) for words in _called(line.removeprefix("$ ")))
    for match in _SPAN.finditer(prose(page)):
        yield from ((f"{name(page)}: `{match[1]}`", words) for words in _called(match[1]))


def _called(line: str) -> Iterator[list[str]]:
    """The arguments of each call of mawasu in a line of shell."""
    lexer = shlex.shlex(line.replace("$(", " ; ").replace("…", " "), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*_tokens(lexer), ";"]:
        if token.strip("();<>|&"):
            words.append(token)
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["mawasu"]:
            yield words[1:]
        words = ["<"] if token == "<" else []


def _tokens(lexer: shlex.shlex) -> Iterator[str]:
    try:
        yield from lexer
    except ValueError:  # a quotation mark of prose, not of shell
        return
