from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.errors import SpecError
from mawasu.spec import units
from mawasu.spec.data_lock import Locked, format_data_lock, parse_data_lock
from mawasu.words import digest_of
from tests.spec.texts import EXAMPLES

names = st.from_regex(units.NAME, fullmatch=True)
locked = st.builds(Locked, st.binary(max_size=8).map(digest_of), st.integers(0, 2**60), st.integers(0, 10**6))


@given(st.dictionaries(names, locked, max_size=4))
def test_a_data_lock_is_read_back_as_it_was_written(value: dict[str, Locked]) -> None:
    assert parse_data_lock(format_data_lock(value)) == value


def test_the_example_of_the_manual_is_as_it_would_be_written() -> None:
    text = (EXAMPLES / "data.lock").read_text()
    assert format_data_lock(parse_data_lock(text)) == text


def test_names_are_sorted_so_that_branches_merge() -> None:
    lock = Locked(digest_of(b""), 0, 0)
    assert format_data_lock({"b": lock, "a": lock}) == format_data_lock({"a": lock, "b": lock})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_a_file_without_entries_locks_nothing(text: str) -> None:
    assert parse_data_lock(text) == {}


def test_faults_of_a_data_lock_come_with_their_lines() -> None:
    text = "a: {digest: sha256:x, bytes: -1, files: 1}\nB: {}\nc: 3\n<<<<<<< HEAD: 1\n"
    with pytest.raises(SpecError) as caught:
        parse_data_lock(text, file="data.lock")
    lines = [str(fault) for fault in caught.value.faults]
    assert "data.lock:1: a.digest: found `sha256:x`, expected a digest: `sha256:` and 64 hex digits" in lines
    assert "data.lock:1: a.bytes: found the number `-1`, expected a whole number from 0" in lines
    assert any(line.startswith("data.lock:2: B: found `B`, expected a name") for line in lines)
    assert any(line.startswith("data.lock:3: c: found the number `3`") for line in lines)
    assert any(line.startswith("data.lock:4: <<<<<<< HEAD") for line in lines)


@pytest.mark.parametrize("text", ["a: [", "- a", "a: {}\na: {}", "x"])
def test_what_is_no_data_lock_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_data_lock(text)
