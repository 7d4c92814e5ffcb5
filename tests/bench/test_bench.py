"""Benchmarks do not rot: the smallest form of each runs and finds what it is there to find."""

from __future__ import annotations

import importlib
from math import isfinite

import pytest
from bench.__main__ import NAMES
from bench.report import Report


def rows(report: Report) -> dict[str, float]:
    return {row.what: row.median for row in report.rows}


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_form_of_a_benchmark_runs(name: str) -> None:
    reports: list[Report] = importlib.import_module(f"bench.{name}").measure(quick=True)
    for report in reports:
        assert report.rows, report.title
        assert report.text().startswith(report.title)
        assert all(isfinite(row["median"]) for row in report.plain()["rows"])  # a difference may be below 0
    if name == "swap":
        assert all(count == 0 for what, count in rows(reports[0]).items() if what.startswith("failed"))
    if name == "serving":  # that each answer was the model's it has found out itself, or it would have said so
        (served,) = (row for row in reports[0].rows if row.what == "mawasu")
        assert served.median > 0
        assert "failed 0" in served.note
