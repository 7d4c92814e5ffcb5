"""Make up the reservations in data/reservations.csv. Replace both by your own data."""

import csv
import math
import random
from pathlib import Path

COLUMNS = ["id", "weekday", "hour", "party", "days_ahead", "deposit", "no_show"]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def main() -> None:
    rng = random.Random(2013)
    with Path(__file__).with_name("reservations.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(reservation(rng, number) for number in range(1, 2001))


def reservation(rng: random.Random, number: int) -> list:
    weekday = rng.choice(WEEKDAYS)
    hour = rng.randint(11, 22)
    party = rng.choice([1, 2, 2, 2, 3, 4, 4, 6, 8])
    days_ahead = int(rng.expovariate(0.1))
    deposit = int(rng.random() < 0.3)
    odds = -2.2 + 0.06 * days_ahead + 0.5 * (weekday in ("fri", "sat")) + 0.1 * (hour - 16) - 2 * deposit
    no_show = int(rng.random() < 1 / (1 + math.exp(-odds)))
    return [number, weekday, hour, party, days_ahead, deposit, no_show]


if __name__ == "__main__":
    main()
