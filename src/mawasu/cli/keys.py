"""`mawasu keys`: API keys; shown once, kept only as their public halves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mawasu.platforms.local.keys import KeyRing

keys = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")


@keys.command("create", help="Create a key; it is shown this once and kept nowhere.")
def create(
    consumer: Annotated[str, typer.Argument(help="Who will use it; shown in logs and quotas.")],
    grant: Annotated[
        list[str] | None, typer.Option("--for", help="feature/environment it opens; either may be `*`.")
    ] = None,
    days: Annotated[float | None, typer.Option("--expires-in", help="Days until it expires.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
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


@keys.command("list", help="List the keys that are valid.")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    import msgspec

    from mawasu.cli.output import ago, emit, table

    found = _ring().list()
    if as_json:
        emit([msgspec.to_builtins(key) for key in found])
        return
    rows = [[key.id, key.consumer, ", ".join(key.grants), ago(key.created), _expiry(key.expires)] for key in found]
    table(["id", "consumer", "opens", "created", "expires"], rows, "no keys (`mawasu keys create NAME` makes one)")


@keys.command("revoke", help="Revoke a key: it opens nothing from now on.")
def revoke(
    key: Annotated[str, typer.Argument(help="Its id.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
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
