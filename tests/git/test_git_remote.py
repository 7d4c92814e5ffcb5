"""Where a password may go. (What a remote does is told in tests/gcp/test_refresh.py, over real HTTP.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.errors import PlatformError
from mawasu.git.remote import Remote


@pytest.mark.parametrize(
    "url", ["http://github.com/a/b.git", "git@github.com:a/b.git", "http://127.0.0.1.example.org/a", "file:///a", "/a"]
)
def test_a_password_is_for_https_and_this_machine_alone(tmp_path: Path, url: str) -> None:
    with pytest.raises(PlatformError, match="a password would pass in the open"):
        Remote(tmp_path, url, "somebody", "secret")
