"""What `mawasu up` was told, remembered for the next time."""

from __future__ import annotations

import contextlib
import ipaddress

import msgspec

from mawasu.errors import UsageError
from mawasu.gateway import outside, tracing
from mawasu.gateway.certificate import Files
from mawasu.gateway.edge import Edge
from mawasu.home import Home


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` are directories and `gs://` prefixes below which data sets with a `path:` may lie; `builds` run at once.

    `tls`: the certificate that the gateway shows; without one it speaks plain HTTP, on loopback, or where `plain` was
    asked for. `hsts` and `trusted_hops`: see `Edge`. `back_ends`: the servers outside that OpenAPI documents may name.
    """

    port: int = 8080
    builds: int = 2
    data: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    tls: Files | None = None
    plain: bool = False
    hsts: int = 0
    trusted_hops: int = 0
    redis: str = ""  # the URL of the cache of answers, with its password; "": none
    back_ends: tuple[str, ...] = ()
    metrics: int = 0  # the port on loopback where Prometheus finds the metrics of all replicas; 0: none
    traces: str = ""  # the OTLP/HTTP endpoint of a collector; "": nobody is told

    @property
    def edge(self) -> Edge:
        traces = tracing.collector(self.traces) if self.traces else None
        return Edge(self.host, self.port, self.tls is not None, self.hsts, self.trusted_hops, traces=traces)


class Said(msgspec.Struct, frozen=True):
    """What one command line says: None and False are nothing. Paths are absolute."""

    port: int | None = None
    builds: int | None = None
    data: tuple[str, ...] | None = None
    redis: str | None = None
    metrics: int | None = None
    traces: str | None = None
    host: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    plain: bool = False
    hsts: int | None = None
    trusted_hops: int | None = None
    back_ends: tuple[str, ...] | None = None


def told(known: Settings, said: Said) -> Settings:
    """What holds from now on. Raises UsageError for what cannot hold together."""
    changes = {
        name: value
        for name in ("port", "builds", "data", "redis", "metrics", "traces", "host", "hsts", "trusted_hops")
        if (value := getattr(said, name)) is not None
    }
    if said.back_ends is not None:
        changes["back_ends"] = tuple(outside.authority_of(name) or name for name in said.back_ends)
    if (said.tls_cert is None) != (said.tls_key is None):
        raise UsageError("a certificate needs its private key", "say both: --tls-cert FILE --tls-key FILE")
    if said.plain and said.tls_cert:
        raise UsageError("--plain and --tls-cert contradict each other", "say one of them")
    # Plain HTTP was asked for on one address; for another it must be asked again.
    changes["plain"] = said.plain or (known.plain and said.host in (None, known.host) and not said.tls_cert)
    if said.plain:
        changes["tls"] = None
        changes.setdefault("hsts", 0)
    elif said.tls_cert and said.tls_key:
        changes["tls"] = Files(said.tls_cert, said.tls_key)
    settings = msgspec.structs.replace(known, **changes)
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """Raises UsageError for an address that is none, and for one that would carry keys and tokens in the open."""
    try:
        address = ipaddress.ip_address(settings.host)
    except ValueError as error:
        hint = "0.0.0.0 is every address of this machine, :: those of IPv6 too"
        raise UsageError(f"{settings.host!r} is not an IP address to listen on", hint) from error
    if settings.tls is None and not address.is_loopback and not settings.plain:
        hint = "give --tls-cert FILE --tls-key FILE; or --plain, where something in front ends TLS"
        raise UsageError(f"on {settings.host} keys and tokens would pass in the open without TLS", hint)
    for name in settings.back_ends:
        if outside.authority_of(name) != name:
            raise UsageError(
                f"{name!r} is no host that could be a back end", "expected HOST or HOST:PORT, without https://"
            )
    if settings.traces:
        tracing.collector(settings.traces)
    if settings.tls is None and settings.hsts:
        raise UsageError("--hsts means nothing without TLS", "give --tls-cert FILE --tls-key FILE, or --hsts 0")


def load(home: Home) -> Settings:
    with contextlib.suppress(FileNotFoundError):
        try:
            settings = msgspec.json.decode(home.settings.read_bytes(), type=Settings)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{home.settings}: {error}", "mend it, or delete it for the defaults") from error
        return settings
    return Settings()


def save(home: Home, settings: Settings) -> None:
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    making = home.settings.with_suffix(".new")
    making.touch(mode=0o600)
    making.write_bytes(msgspec.json.format(msgspec.json.encode(settings)))
    making.replace(home.settings)
