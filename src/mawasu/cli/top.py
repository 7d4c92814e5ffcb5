"""`mawasu top`: how every revision is doing now, from two readings of its replicas' metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mawasu.cli.arguments import Verbs, seconds

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from mawasu.cli.rates import Reading

HEADERS = ("feature", "environment", "revision", "up", "rps", "p50", "p99", "hits", "errors", "refused", "batch",
           "queued", "memory")  # fmt: skip
NAMES = 3
"""How many of them are names."""

Address = tuple[str, str, str]  # feature, environment, revision


def register(verbs: Verbs) -> None:
    verb = verbs.add("top", top, "Show requests, latency, hit rate, errors and batches of every revision, live.")
    verb.add_argument("--every", type=seconds(0.1), default=1.0, help="Seconds between readings (1).")
    verb.flag("--once", dest="once", help="One reading, and leave.")
    verb.json("One reading, for machines.")


def top(every: float, once: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, say, table

    found = readings(every)
    if as_json:
        emit(next(found))
    elif once:
        table(HEADERS, [cells(row) for row in next(found)], "nothing is served here")
    else:
        from rich.console import Console
        from rich.live import Live

        say(f"every {every:g} s; p50 and p99 are at most 19 % off; Ctrl-C ends it")
        console = Console()
        with Live(console=console, auto_refresh=False) as live:
            for rows in found:
                live.update(shown([cells(row) for row in rows], console.width), refresh=True)


def readings(every: float) -> Iterator[list[dict[str, Any]]]:
    """For ever: a row per revision, each from what happened in the `every` seconds before."""
    from mawasu.cli.context import home
    from mawasu.cli.rates import parse, rates
    from mawasu.platforms.local.metering import read

    before: dict[Address, dict[str, Reading]] = {}
    then = 0.0
    while True:
        now = time.monotonic()
        said = read(home())
        after: dict[Address, dict[str, Reading]] = {}
        for told in said:
            address = told.labels["feature"], told.labels["environment"], told.labels["revision"]
            after.setdefault(address, {})
            if told.text:
                after[address][told.labels["replica"]] = parse(told.text)
        if then:
            rows = []
            for address, replicas in sorted(after.items()):
                pairs = [(before.get(address, {}).get(number, {}), reading) for number, reading in replicas.items()]
                names = dict(zip(("feature", "environment", "revision"), address, strict=True))
                rows.append({**names, "replicas": len(pairs), **rates(pairs, now - then)._asdict()})
            yield rows
        before, then = after, now
        time.sleep(every)


def cells(row: dict[str, Any]) -> list[str]:
    from mawasu.cli.output import size

    def share(value: float | None) -> str:
        return "—" if value is None else f"{100 * value:.1f} %"

    def milliseconds(value: float | None) -> str:
        return "—" if value is None else f"{1000 * value:.3g} ms"

    return [
        *(row["feature"], row["environment"], row["revision"], str(row["replicas"]), f"{row['rps']:.0f}"),
        *(milliseconds(row["p50"]), milliseconds(row["p99"]), share(row["hits"]), share(row["errors"])),
        f"{row['refused']:.0f}",
        "—" if row["batch"] is None else f"{row['batch']:.1f}",
        *(str(row["queued"]), size(row["memory"])),
    ]


def shown(rows: list[list[str]], width: int) -> Group:
    """All of it in one table; where that is too wide, the names of a revision above its numbers."""
    from rich.console import Group
    from rich.markup import escape
    from rich.text import Text

    from mawasu.cli.output import safe

    rows = [[escape(safe(cell)) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(HEADERS, *rows, strict=True)]
    if sum(widths) + len(widths) - 1 <= width:
        return Group(_table(HEADERS, rows, NAMES, widths))
    lines: list[Text | Table] = [_table(HEADERS[NAMES:], [], 0, widths[NAMES:])]
    for row in rows:
        lines += [Text.from_markup("  ".join(row[:NAMES]), style="bold"), _table((), [row[NAMES:]], 0, widths[NAMES:])]
    return Group(*lines)


def _table(headers: Sequence[str], rows: list[list[str]], left: int, widths: list[int]) -> Table:
    """`left`: how many columns are names."""
    from rich.table import Table

    found = Table(box=None, pad_edge=False, show_header=bool(headers))
    for place, width in enumerate(widths):
        header = headers[place].upper() if headers else ""
        found.add_column(header, justify="left" if place < left else "right", no_wrap=True, min_width=width)
    for row in rows:
        found.add_row(*row)
    return found
