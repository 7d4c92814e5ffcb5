"""What `mawasu up` was told, remembered for the next time."""

from __future__ import annotations

import contextlib

import msgspec

from mawasu.errors import UsageError
from mawasu.home import Home


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` are directories below which data sets with a `path:` may lie; `builds` run at once."""

    port: int = 8080
    builds: int = 2
    data: tuple[str, ...] = ()
    redis: str = ""  # the URL of the cache of answers, with its password; "": none
    metrics: int = 0  # the port on loopback where Prometheus finds the metrics of all replicas; 0: none


def load(home: Home) -> Settings:
    with contextlib.suppress(FileNotFoundError):
        try:
            return msgspec.json.decode(home.settings.read_bytes(), type=Settings)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{home.settings}: {error}", "mend it, or delete it for the defaults") from error
    return Settings()


def save(home: Home, settings: Settings) -> None:
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    making = home.settings.with_suffix(".new")
    making.touch(mode=0o600)
    making.write_bytes(msgspec.json.format(msgspec.json.encode(settings)))
    making.replace(home.settings)
