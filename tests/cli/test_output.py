"""What is printed: tables, times, and names that come from strangers."""

from __future__ import annotations

import time

import pytest

from mawasu.cli import output


def test_columns_line_up_also_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name", "state"], [["機能", "ok"], ["a", "ok"]], "none")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME  STATE", "機能  ok", "a     ok"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name"], [], "nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def test_names_cannot_move_the_cursor_or_turn_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name"], [["a\x1b[2Jb\u202ec"]], "")
    assert "\x1b" not in (said := capsys.readouterr().out)
    assert "\u202e" not in said
    assert "\\u001b" in said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s ago"), (90, "2 min ago"), (7200, "2 h ago"), (200000, "2 d ago")]
)
def test_times_are_told_as_people_tell_them(seconds: float, said: str) -> None:
    assert output.ago(time.time() - seconds) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (2048, "2 KiB"), (5 * 2**30, "5.0 GiB")])
def test_sizes_are_told_in_their_unit(count: int, said: str) -> None:
    assert output.size(count) == said
