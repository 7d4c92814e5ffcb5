"""The worker is one file for any image: old syntax, standard library, nothing of ours."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mawasu.serving import worker

SOURCE = Path(worker.__file__).read_text(encoding="utf-8")


def test_it_is_python_3_9() -> None:
    ast.parse(SOURCE, feature_version=(3, 9))


def test_it_imports_the_standard_library_only() -> None:
    imports = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.sampled_from((0, 1, 2)), st.binary(max_size=50)), max_size=10))
def test_what_is_packed_is_unpacked(number: int, parts: list[tuple[int, bytes]]) -> None:
    frame = worker.pack(number, parts)
    length, found, count = worker.HEADER.unpack_from(frame)
    assert (length, found) == (len(frame) - worker.HEADER.size, number)
    assert worker.unpack(frame[worker.HEADER.size :], count) == parts
