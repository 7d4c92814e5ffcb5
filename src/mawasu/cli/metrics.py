"""`mawasu metrics`: what all replicas of the home count, in Prometheus' text format."""

from __future__ import annotations

from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    verbs.add("metrics", metrics, "Print the metrics of all replicas, in Prometheus' text format.")


def metrics() -> None:
    from mawasu.cli.context import home
    from mawasu.cli.output import say
    from mawasu.platforms.local.metering import merged, read

    say(merged(read(home())).rstrip("\n"))
