"""`python -m bench [NAME…] [--quick] [--json FILE]`: run benchmarks (default: all) and print their tables."""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path

from bench.report import Report, machine

NAMES = ("cli", "ledger", "run", "push", "swap", "gateway", "cached", "serving", "client")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="the smallest form, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    shorter = parser.add_argument_group("of `serving` alone")
    shorter.add_argument("--rounds", type=int)
    shorter.add_argument("--seconds", type=int, help="that each server is asked at each number of callers")
    shorter.add_argument("--peers", help="of bench/peers/*.txt, separated by commas; default: all")
    chosen = parser.parse_args()
    told = {name: value for name in ("rounds", "seconds") if (value := getattr(chosen, name)) is not None}
    if chosen.peers is not None:
        told["peers"] = tuple(chosen.peers.split(","))
    if told and chosen.names != ["serving"]:
        parser.error("--rounds, --seconds and --peers are of `serving` alone")
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    where = machine()
    print(" · ".join(f"{name} {value}" for name, value in where.items()), flush=True)
    found: dict[str, list[Report]] = {}
    for name in chosen.names or NAMES:
        found[name] = importlib.import_module(f"bench.{name}").measure(chosen.quick, **told)
        for report in found[name]:
            print(f"\n{report.text()}", flush=True)
    loads = [round(load, 2) for load in os.getloadavg()]
    print(f"\nload at the end: {loads}")
    if chosen.json:
        tables = {name: [report.plain() for report in reports] for name, reports in found.items()}
        chosen.json.write_text(json.dumps({"machine": {**where, "load_after": loads}, "tables": tables}, indent=1))


if __name__ == "__main__":
    main()
