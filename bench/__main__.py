"""`python -m bench [NAME…] [--quick] [--json FILE]`: run benchmarks (default: all) and print their tables."""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path

from bench.report import Report, machine

NAMES = ("cli", "ledger", "run", "push", "swap", "gateway", "cached", "client")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="the smallest form, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    where = machine()
    print(" · ".join(f"{name} {value}" for name, value in where.items()), flush=True)
    found: dict[str, list[Report]] = {}
    for name in chosen.names or NAMES:
        found[name] = importlib.import_module(f"bench.{name}").measure(chosen.quick)
        for report in found[name]:
            print(f"\n{report.text()}", flush=True)
    loads = [round(load, 2) for load in os.getloadavg()]
    print(f"\nload at the end: {loads}")
    if chosen.json:
        tables = {name: [report.plain() for report in reports] for name, reports in found.items()}
        chosen.json.write_text(json.dumps({"machine": {**where, "load_after": loads}, "tables": tables}, indent=1))


if __name__ == "__main__":
    main()
