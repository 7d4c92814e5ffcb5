"""Grammars of names: what is formatted parses back to the same, and nothing else parses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.errors import UsageError
from mawasu.store.artifacts import find, name_artifact
from mawasu.store.directory import DirectoryStore
from mawasu.store.names import Artifact, escape, format_artifact, from_path, parse_artifact, to_path, unescape
from mawasu.words import digest_of

COMPONENT = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=300)
NAME = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)


@given(NAME)
def test_a_name_comes_back_from_its_path(name: str) -> None:
    assert from_path(to_path(name)) == name


@given(NAME)
def test_a_path_is_safe_on_any_file_system(name: str) -> None:
    for piece in to_path(name).split("/"):
        assert piece not in ("", ".", "..")
        assert len(piece) <= 255
        assert piece == piece.lower()
        assert piece.isascii()


@given(NAME, NAME)
def test_no_path_of_a_name_is_a_directory_of_another(one: str, other: str) -> None:
    assert not to_path(other).startswith(to_path(one) + "/")


@given(COMPONENT)
def test_an_escaped_component_comes_back(component: str) -> None:
    assert unescape(escape(component)) == component


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b"])
def test_a_name_with_an_empty_component_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="empty component"):
        to_path(name)


@pytest.mark.parametrize("path", ["a", "A=", "%zz=", "%41", ".a=", "%61="])
def test_a_path_that_no_name_has_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        from_path(path)


@given(COMPONENT, NAME, COMPONENT, COMPONENT)
def test_an_artifact_name_comes_back(feature: str, branch: str, commit: str, what: str) -> None:
    artifact = Artifact(feature, branch, commit, what)
    assert parse_artifact(format_artifact(artifact)) == artifact


@pytest.mark.parametrize("readable", ["", "a/b/c", "a//b/c", "a/b/c/"])
def test_what_is_no_artifact_name_is_refused(readable: str) -> None:
    with pytest.raises(UsageError, match="feature/branch/commit/what"):
        parse_artifact(readable)


def test_a_slash_in_anything_but_the_branch_is_refused() -> None:
    with pytest.raises(UsageError, match="makes no artifact name"):
        format_artifact(Artifact("f", "b", "c", "a/b"))


def test_an_artifact_is_found_by_its_readable_name(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    model = store.put_bytes(b"model")
    assert name_artifact(store, "callback", "try/gbdt", "c0ffee", "model", model)
    assert find(store, "callback/try/gbdt/c0ffee/model") == model
    assert find(store, "callback/try/gbdt/c0ffee/image") is None


def test_an_artifact_name_keeps_its_first_meaning(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    assert name_artifact(store, "f", "main", "c", "model", digest_of(b"1"))
    assert name_artifact(store, "f", "main", "c", "model", digest_of(b"1"))
    assert not name_artifact(store, "f", "main", "c", "model", digest_of(b"2"))
    assert find(store, "f/main/c/model") == digest_of(b"1")
