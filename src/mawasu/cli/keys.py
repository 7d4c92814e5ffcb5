"""`mawasu keys`: API keys; shown once, kept only as their public halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from mawasu.platforms.local.keys import KeyRing


def register(verbs: Verbs) -> None:
    keys = verbs.group("keys", "Create, list and revoke API keys.")
    verb = keys.add("create", create, "Create a key; it is shown this once and kept nowhere.")
    verb.add_argument("consumer", help="Who will use it; shown in the access log.")
    help = "feature/environment it opens; either may be `*`; may be said again."
    verb.add_argument("--for", dest="grant", action="append", help=help)
    verb.add_argument("--expires-in", dest="days", type=float, help="Days until it expires.")
    verb.json()
    keys.add("list", list_keys, "List the keys that are valid.").json()
    verb = keys.add("revoke", revoke, "Revoke a key: it opens nothing from now on.")
    verb.add_argument("key", help="Its id.")
    verb.json()


def create(consumer: str, grant: list[str] | None, days: float | None, as_json: bool) -> None:
    import time

    import msgspec

    from mawasu.cli.output import emit, note, say

    ring = _ring()
    expires = time.time() + days * 86400 if days is not None else None
    public, token = ring.create(consumer, tuple(grant or ["*/*"]), expires)
    _refresh()
    if as_json:
        emit({**msgspec.to_builtins(public), "key": token})
        return
    say(token)  # alone on standard output, so that KEY=$(mawasu keys create …) works
    note(
        f"key {public.id} for {consumer} opens {', '.join(public.grants)}; "
        "send it as the header x-api-key. It is not shown again."
    )


def list_keys(as_json: bool) -> None:
    import msgspec

    from mawasu.cli.output import ago, emit, table

    found = _ring().list()
    if as_json:
        emit([msgspec.to_builtins(key) for key in found])
        return
    rows = [[key.id, key.consumer, ", ".join(key.grants), ago(key.created), _expiry(key.expires)] for key in found]
    table(["id", "consumer", "opens", "created", "expires"], rows, "no keys (`mawasu keys create NAME` makes one)")


def revoke(key: str, as_json: bool) -> None:
    from mawasu.cli.output import emit, say

    _ring().revoke(key)
    _refresh()
    if as_json:
        emit({"revoked": key})
    else:
        say(f"key {key} is revoked")


def _ring() -> KeyRing:
    from mawasu.cli.context import home
    from mawasu.platforms.local.keys import KeyRing

    return KeyRing(home().create())


def _refresh() -> None:
    from mawasu.cli.context import home
    from mawasu.platforms.local.gateway import refresh_keys

    refresh_keys(home())


def _expiry(expires: float | None) -> str:
    import datetime

    return "never" if expires is None else datetime.datetime.fromtimestamp(expires, datetime.UTC).date().isoformat()
