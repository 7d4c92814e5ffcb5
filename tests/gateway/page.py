"""docs/gateway-cases.md, made of the table of cases: `python -m tests.gateway.page` renews it."""

from __future__ import annotations

from tests.docs.pages import ROOT
from tests.gateway.cases import ATTACKS, ORDINARY, Asked, Case, Different, Held, Row, espv2, table

PAGE = ROOT / "docs" / "gateway-cases.md"

HEAD = """\
# The gateway, case by case

*Made by `python -m tests.gateway.page` from the table that the tests ask a real Envoy; a test says when it is stale.*

What callers send, what comes back, and what is known of ESPv2, which is compiled from the same file
([the gateway](gateway.md), [callers](callers.md)). Whatever does not arrive is refused before the back end sees
anything. Every refusal is `{"code": N, "message": "…"}`, those of 401 and 403 carry `www-authenticate`, and no token
or key stands in a log.

**Envoy** says how a case is held: *asked* is one request and its answer, a name is a test of its own in
`tests/gateway`, **differs** is a difference with its reason. **ESPv2** is by shape: what its configuration asks for
and its documentation says. None of it was seen there.
"""
BEGIN = ("| | what is sent | what is answered | Envoy | ESPv2 |", "|---|---|---|---|---|")


def page() -> str:
    cases = table()
    parts = [HEAD, f"{_count(cases)}\n", "## Ordinary callers", *_rows(cases, list(ORDINARY))]
    return "\n".join([*parts, "", "## Attacks", *_rows(cases, list(ATTACKS))]) + "\n"


def _count(cases: list[Case]) -> str:
    kinds = [sum(isinstance(case, kind) for case in cases) for kind in (Asked, Held, Different)]
    rows = len(ORDINARY) + len(ATTACKS)
    said = f"{kinds[0]} asked, {kinds[1]} held by tests of their own, {kinds[2]} that differ"
    return f"{len(cases)} cases in {rows} rows: {said}."


def _rows(cases: list[Case], rows: list[Row]) -> list[str]:
    lines = ["", *BEGIN]
    for row in rows:
        for number, case in enumerate(case for case in cases if case.row == row):
            first = number == 0
            lines.append(_line(_title(row) if first else "", case, espv2(row) if first else ""))
    return lines


def _title(row: Row) -> str:
    return f"**{row}** {ATTACKS[row]}" if isinstance(row, int) else ORDINARY[row]


def _line(title: str, case: Case, other: str) -> str:
    cells = [title, case.sent, case.answered, _held(case), other]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _held(case: Case) -> str:
    match case:
        case Asked():
            return "asked"
        case Held(by=by):
            return f"`{by.partition('::')[2].removeprefix('test_')}`"
        case Different(why=why):
            return f"**differs**: {why}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
