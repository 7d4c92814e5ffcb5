"""The manifest: one form for each directory, and none for what is no directory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.errors import CorruptError
from mawasu.store.manifest import MEDIA_TYPE, PREFIX, TreeFile, decode_manifest, encode_manifest, make_manifest
from mawasu.words import digest_of

LETTERS = st.characters(codec="utf-8", exclude_characters="/\0")
COMPONENT = st.text(LETTERS, min_size=1, max_size=20).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(st.lists(COMPONENT, min_size=1, max_size=4).map("/".join), max_size=8, unique=True).filter(
    lambda paths: not any(other.startswith(path + "/") for path in paths for other in paths)
)


@given(PATHS, st.randoms(use_true_random=False), st.data())
def test_a_manifest_comes_back_whatever_the_order_of_its_files(paths: list[str], random: Any, data: Any) -> None:
    cut = data.draw(st.integers(0, len(paths)))
    files = [TreeFile(path, digest_of(path.encode()), len(path), len(path) % 2 == 0) for path in paths[:cut]]
    empty = paths[cut:]
    manifest = make_manifest(files, empty)
    encoded = encode_manifest(manifest)
    assert decode_manifest(encoded, digest_of(encoded)) == manifest
    random.shuffle(files)
    random.shuffle(empty)
    assert encode_manifest(make_manifest(files, empty)) == encoded
    assert encoded.startswith(PREFIX)


def refused(value: object) -> str:
    data = json.dumps(value, separators=(",", ":")).encode()
    with pytest.raises(CorruptError) as caught:
        decode_manifest(data, digest_of(data))
    return str(caught.value)


def file(path: str) -> dict[str, object]:
    return {"path": path, "digest": digest_of(b""), "size": 0}


def test_a_manifest_of_another_version_is_refused() -> None:
    assert "not the manifest" in refused({"mediaType": MEDIA_TYPE.replace("v1", "v2"), "files": []})


def test_files_out_of_order_are_refused() -> None:
    assert "canonical" in refused({"mediaType": MEDIA_TYPE, "files": [file("b"), file("a")]})


def test_spaces_and_spelt_out_defaults_are_refused() -> None:
    assert "canonical" in refused({"mediaType": MEDIA_TYPE, "files": [], "empty": []})


def test_colliding_paths_are_refused() -> None:
    assert "collide" in refused({"mediaType": MEDIA_TYPE, "files": [file("a"), file("a/b")]})
    assert "collide" in refused({"mediaType": MEDIA_TYPE, "files": [file("a")], "empty": ["a"]})


def test_a_file_without_a_digest_is_refused() -> None:
    assert "no digest" in refused({"mediaType": MEDIA_TYPE, "files": [file("a") | {"digest": "sha256:x"}]})


def test_an_unknown_field_is_refused() -> None:
    assert "not the manifest" in refused({"mediaType": MEDIA_TYPE, "files": [], "links": []})
