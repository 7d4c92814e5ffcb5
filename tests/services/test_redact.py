"""Secrets are kept out of the logs of services, wherever a pipe cuts what was printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mawasu.platforms.local.redact import LONGEST_LINE, Redacted

SECRET = "correct-horse"


@given(st.lists(st.sampled_from([SECRET, "corr", "ect-horse", "x", "\n", "correct-", "horse"])), st.data())
def test_a_secret_is_hidden_however_the_output_is_cut(words: list[str], data: st.DataObject) -> None:
    text = "".join(words).encode()
    redacted, out, start = Redacted([SECRET]), b"", 0
    while start < len(text):
        end = data.draw(st.integers(start + 1, len(text)))
        out += redacted.take(text[start:end])
        start = end
    out += redacted.finish()
    assert out == text.replace(SECRET.encode(), b"***")


def test_a_line_without_end_is_cut_without_showing_the_secret() -> None:
    redacted = Redacted([SECRET])
    out = b"".join(redacted.take(b"y" * 1000 + SECRET.encode()) for _ in range(LONGEST_LINE // 500))
    assert out
    assert SECRET.encode() not in out + redacted.finish()


def test_without_secrets_output_passes_at_once() -> None:
    assert Redacted([]).take(b"half a li") == b"half a li"
