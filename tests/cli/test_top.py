"""What `mawasu top` shows on terminals of any width."""

from __future__ import annotations

import pytest
from rich.console import Console

from mawasu.cli.top import HEADERS, shown

ROW = ["flight-delay", "production", "flight-delay-34-c0bb1b", "2", "1234", "12.3 ms", "45.6 ms", "98.7 %", "0.1 %",
       "17", "31.5", "64", "1.2 GiB"]  # fmt: skip


@pytest.mark.parametrize("width", [80, 200])
def test_no_name_and_no_number_is_cut(width: int) -> None:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(shown([ROW, ROW], width))
    text = captured.get()
    assert "…" not in text
    assert all(text.count(cell) >= 2 for cell in ROW)
    assert all(header.upper() in text for header in HEADERS[3:])
