from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mawasu.platforms.local.logs import Printed

from .support import Lines

SECRET = "correct horse battery"


def printed(pieces: list[bytes], secrets: list[str], cap: int = 10_000_000) -> list[str]:
    log = Lines()
    printing = Printed(log, secrets, cap)
    for piece in pieces:
        printing.take(memoryview(piece))
    printing.finish()
    return log.lines


@given(st.lists(st.integers(0, 200), max_size=6), st.integers(0, 80), st.booleans())
def test_a_secret_is_never_shown_however_the_output_is_cut(cuts: list[int], before: int, newline: bool) -> None:
    data = b"x" * before + SECRET.encode() + (b"\n" if newline else b"") + b"y" * 60 + SECRET.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert "".join(printed(pieces, [SECRET])) == "x" * before + "***" + "y" * 60 + "***"


@given(st.integers(65_000, 66_500), st.integers(50, 70_000))
def test_a_secret_in_a_line_without_end_is_not_shown_either(before: int, size: int) -> None:
    data = b"x" * before + SECRET.encode() + b"y" * 70_000
    text = "".join(printed([data[start : start + size] for start in range(0, len(data), size)], [SECRET]))
    assert text == "x" * before + "***" + "y" * 70_000


@given(st.integers(0, 60))
def test_a_secret_at_the_cap_is_not_shown_in_part(cap: int) -> None:
    text = "".join(printed([b"a line\n" + SECRET.encode() + b"\nanother line\n" * 9], [SECRET], cap))
    assert not any(SECRET[:length] in text for length in range(4, len(SECRET)))


def test_secrets_of_several_lines_are_hidden_line_by_line() -> None:
    assert printed([b"-----BEGIN KEY-----\nabcdef\n{\n"], ["-----BEGIN KEY-----\nabcdef\n{"]) == ["***", "***", "{"]


def test_short_values_do_not_blacken_words() -> None:
    assert printed([b"a yes is a yes\n"], ["yes", ""]) == ["a yes is a yes"]


def test_a_progress_bar_is_logged_as_it_ends() -> None:
    assert printed([b" 10%\r 50%\r100%\r\n\ndone"], []) == ["100%", "", "done"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert printed([b"\xff\xfe ok\n"], []) == ["\ufffd\ufffd ok"]


def test_output_of_exactly_the_cap_is_whole() -> None:
    assert printed([b"12345678\n"], [], cap=9) == ["12345678"]
    assert printed([b"1234567\n", b"x\n"], [], cap=9) == ["1234567", "[log capped at 9e-06 MB]"]
