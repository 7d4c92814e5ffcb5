"""`mawasu predictions`: the last answers that the prediction log remembers."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs, whole

SHOWN = ("at", "unit", "revision", "operation", "status", "seconds", "input", "output")


def register(verbs: Verbs) -> None:
    verb = verbs.add("predictions", predictions, "Show the last answers in an environment's prediction log.")
    verb.add_argument("feature", help="A feature's name.")
    verb.add_argument("environment", help="An environment's name.")
    verb.add_argument("--last", type=whole(1, 100_000), default=20, help="How many (20).")
    verb.flag("--csv", dest="as_csv", help="All columns, comma separated.")
    verb.json()


def predictions(feature: str, environment: str, last: int, as_csv: bool, as_json: bool) -> None:
    import csv
    import sys
    from datetime import UTC, datetime

    import msgspec

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, table
    from mawasu.errors import UsageError
    from mawasu.platforms.local.predictions import latest
    from mawasu.serving.recorder import Line

    there = {(place.parent.name, place.name) for place in home().predictions.glob("*/*")}
    if (feature, environment) not in there:
        raise UsageError(
            f"{feature}/{environment} has no prediction log", "`api.predictions` in mawasu.yaml says what to remember"
        )
    found = [msgspec.structs.asdict(line) for line in latest(home(), feature, environment, last)]
    if as_json:
        emit(found)
        return
    for row in found:
        row["at"] = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds")
    if as_csv:
        writer = csv.DictWriter(sys.stdout, Line.__struct_fields__)
        writer.writeheader()
        writer.writerows(found)
        return
    table(SHOWN, [[cell(row[name]) for name in SHOWN] for row in found], "nothing has been answered yet")


def cell(value: object, most: int = 60) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str("—" if value is None else value)
    return text if len(text) <= most else text[: most - 1] + "…"
