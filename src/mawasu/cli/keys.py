"""`mawasu keys`: API keys; shown once, kept only as their public halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mawasu.cli.arguments import Verb, Verbs

if TYPE_CHECKING:
    from mawasu.words import PublicKey


class Ring(Protocol):
    """The keys of a home, or of a bucket."""

    def create(self, consumer: str, grants: Sequence[str], expires: float | None = None) -> tuple[PublicKey, str]: ...

    def list(self) -> Sequence[PublicKey]: ...

    def rotate(self, name: str, grace: float) -> tuple[PublicKey, str]: ...

    def revoke(self, name: str) -> PublicKey: ...


def register(verbs: Verbs) -> None:
    keys = verbs.group("keys", "Create, list, rotate and revoke API keys.")
    verb = keys.add("create", create, "Create a key; it is shown this once and kept nowhere.")
    verb.add_argument("consumer", help="Who will use it; shown in the access log.")
    help = "feature/environment it opens; either may be `*`; may be said again."
    verb.add_argument("--for", dest="grant", action="append", help=help)
    verb.add_argument("--expires-in", dest="days", type=float, help="Days until it expires.")
    _common(verb)
    _common(keys.add("list", list_keys, "List the keys that were not revoked."))
    verb = keys.add("rotate", rotate, "Replace a key by another; the old one stays valid for a while.")
    verb.add_argument("key", help="Its id.")
    help = "Hours for which the old key stays valid (default: 24)."
    verb.add_argument("--grace", dest="hours", type=_hours, default=24.0, metavar="HOURS", help=help)
    _common(verb)
    verb = keys.add("revoke", revoke, "Revoke a key: it opens nothing from now on.")
    verb.add_argument("key", help="Its id.")
    _common(verb)


def _common(verb: Verb) -> None:
    help = "Where the keys are kept: gs://BUCKET of a project (default: $MAWASU_RECORDS, or the home's)."
    verb.add_argument("--records", metavar="URL", help=help)
    verb.json()


def create(consumer: str, grant: list[str] | None, days: float | None, records: str | None, as_json: bool) -> None:
    import time

    expires = time.time() + days * 86400 if days is not None else None
    with ring_of(records) as ring:
        public, token = ring.create(consumer, tuple(grant or ["*/*"]), expires)
    _refresh(records)
    _show(public, token, records, as_json)


def rotate(key: str, hours: float, records: str | None, as_json: bool) -> None:
    from mawasu.cli.output import note

    with ring_of(records) as ring:
        public, token = ring.rotate(key, hours * 3600)
    _refresh(records)
    _show(public, token, records, as_json)
    note(f"key {key} is valid for {hours:g} h more.")


def _show(public: PublicKey, token: str, records: str | None, as_json: bool) -> None:
    import msgspec

    from mawasu.cli.output import emit, note, say

    if as_json:
        emit({**msgspec.to_builtins(public), "key": token})
        return
    say(token)  # alone on standard output, so that KEY=$(mawasu keys create …) works
    note(
        f"key {public.id} for {public.consumer} opens {', '.join(public.grants)}; "
        f"send it as the header x-api-key{_when(records)}. It is not shown again."
    )


def list_keys(records: str | None, as_json: bool) -> None:
    import msgspec

    from mawasu.cli.output import ago, emit, table

    with ring_of(records) as ring:
        found = ring.list()
    if as_json:
        emit([msgspec.to_builtins(key) for key in found])
        return
    rows = [[key.id, key.consumer, ", ".join(key.grants), ago(key.created), _expiry(key.expires)] for key in found]
    table(["id", "consumer", "opens", "created", "expires"], rows, "no keys (`mawasu keys create NAME` makes one)")


def revoke(key: str, records: str | None, as_json: bool) -> None:
    from mawasu.cli.output import emit, say

    with ring_of(records) as ring:
        ring.revoke(key)
    _refresh(records)
    if as_json:
        emit({"revoked": key})
    else:
        say(f"key {key} is revoked{_when(records)}")


def _hours(text: str) -> float:
    """Raises ArgumentTypeError, as argparse wants it."""
    import argparse

    value = float(text)
    if not 0 <= value <= 24 * 366:
        raise argparse.ArgumentTypeError(f"{text} is not in 0…{24 * 366}")
    return value


def _bucket(records: str | None) -> str:
    """The bucket that keeps the keys; "" for the home."""
    import os

    from mawasu.cli.context import RECORDS

    at = records or os.environ.get(RECORDS)
    if not at:
        return ""
    from mawasu.google.objects import bucket_of

    return bucket_of(at)


@contextmanager
def ring_of(records: str | None) -> Iterator[Ring]:
    """The keys of a bucket, or of the home."""
    if bucket := _bucket(records):
        from mawasu.google.client import Client
        from mawasu.google.storage import Bucket
        from mawasu.platforms.gcp import keys, names

        with Client() as client:
            kept = Bucket(client, bucket)
            yield keys.KeyRing(kept, keys.KeySets(client, names.published(bucket), kept))
        return
    from mawasu.cli.context import home
    from mawasu.platforms.local.keys import KeyRing

    yield KeyRing(home().create())


def _refresh(records: str | None) -> None:
    """The gateway of this machine hears of it at once; those of a project fetch what was published."""
    if _bucket(records):
        return
    from mawasu.cli.context import home
    from mawasu.platforms.local.gateway import refresh_keys

    refresh_keys(home())


def _when(records: str | None) -> str:
    if not _bucket(records):
        return ""
    from mawasu.gateway.espv2 import FORGET

    return f" (within {FORGET} s)"


def _expiry(expires: float | None) -> str:
    import datetime

    if expires is None:
        return "never"
    at, now = datetime.datetime.fromtimestamp(expires, datetime.UTC), datetime.datetime.now(datetime.UTC)
    if at <= now:
        return f"{at:%Y-%m-%d %H:%M} UTC: over"
    return f"{at:%Y-%m-%d %H:%M} UTC" if at - now < datetime.timedelta(days=7) else at.date().isoformat()
