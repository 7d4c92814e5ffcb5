"""`enter.py` by itself: it runs in anybody's image, so it may need nothing but an old Python's standard library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mawasu.platforms.gcp import enter, joblogs
from mawasu.platforms.local.logs import Printed
from tests.gcp.bench import Lines

CODE = Path(enter.__file__).read_text()


def test_it_is_python_3_9() -> None:
    ast.parse(CODE, feature_version=(3, 9))


def test_it_imports_the_standard_library_only() -> None:
    names = set()
    for node in ast.walk(ast.parse(CODE)):
        if isinstance(node, ast.Import):
            names |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names <= sys.stdlib_module_names


def test_the_end_of_its_log_is_the_one_that_is_waited_for() -> None:
    assert enter.END == joblogs.END


@pytest.mark.parametrize(
    ("variable", "name"), [("MAWASU_MODEL", "model"), ("MAWASU_DATA", "data"), ("OTHER_DIR", "other_dir")]
)
def test_a_variable_has_a_directory(variable: str, name: str) -> None:
    assert enter.directory(variable) == name


@given(
    pieces=st.lists(st.sampled_from([b"a", b"secret-word", b"secret-", b"word", b"\n", b"\r", b"\xff", b"x" * 70_000])),
    cap=st.sampled_from([20, 100_000]),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_printed_is_what_one_machine_of_ones_own_prints(
    pieces: list[bytes], cap: int, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    ours, theirs = enter.Printed(["secret-word"], cap), Lines()
    local = Printed(theirs, ["secret-word"], cap)
    for piece in pieces:
        ours.take(piece)
        local.take(memoryview(piece))
    ours.finish()
    local.finish()
    printed = capsys.readouterr().out
    assert printed == "".join(line + "\n" for line in theirs.lines)
    assert ours.last == local.last
    assert "secret-word" not in printed


@pytest.mark.parametrize(
    ("cluster", "chief"),
    [
        ("", True),
        ('{"task": {"type": "workerpool0", "index": 0}}', True),
        ('{"task": {"type": "workerpool1", "index": 0}}', False),
    ],
)
def test_the_chief_is_the_one_of_the_first_pool(monkeypatch: pytest.MonkeyPatch, cluster: str, chief: bool) -> None:
    monkeypatch.setenv("CLUSTER_SPEC", cluster)
    assert enter.is_chief() is chief


def test_a_file_that_is_not_what_was_stored_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"other")
    wanted: dict[str, Any] = {"sha256": "0" * 64}
    with pytest.raises(enter.Refused, match="is not what was stored"):
        enter.fetch_file(tmp_path / "source", tmp_path / "target", wanted)


def test_a_file_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(enter.Refused, match="No such file"):
        enter.fetch_file(tmp_path / "none", tmp_path / "target", {"sha256": ""})
