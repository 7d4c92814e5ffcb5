from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.git.refs import safe_branch, shown

HOSTILE = [
    "$(touch x)",
    "--upload-pack=x",
    "<script>",
    "main\u202etxt",
    "a" * 300,
    "a b",
    "a\nb",
    "é",
    "a\x1b[31m",
    "a;b",
]
MALFORMED = ["", "-x", "a//b", "/a", "a/", ".a", "a/.b", "a..b", "a.lock", "a.lock/b", "a."]


@pytest.mark.parametrize(
    "name", ["main", "try-gbdt", "feature/x_1", "dependabot/npm_and_yarn/a-1.2.3", "v1+2", "a" * 200]
)
def test_a_usual_branch_name_is_safe(name: str) -> None:
    assert safe_branch(name) is None


@pytest.mark.parametrize("name", HOSTILE + MALFORMED)
def test_a_hostile_or_malformed_branch_name_is_refused_with_a_reason(name: str) -> None:
    assert safe_branch(name)


@given(st.text(alphabet="ab.-/+_", min_size=1, max_size=8))
def test_a_safe_branch_name_is_one_that_git_takes(name: str) -> None:
    if safe_branch(name) is None:
        assert subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"]).returncode == 0


@given(st.text())
def test_any_name_is_shown_in_printable_ascii(name: str) -> None:
    text = shown(name)
    assert text.isascii() or text.replace("…", "").isascii()
    assert text.isprintable()
    assert len(text) <= 80
