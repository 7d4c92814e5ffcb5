"""The daemon: one per home. Takes pushes over a socket, builds them, and keeps what is served."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mawasu.daemon.control import Control
from mawasu.daemon.converge import Converge
from mawasu.daemon.exporter import Exporter
from mawasu.daemon.ledgers import Ledgers
from mawasu.daemon.lock import lock
from mawasu.daemon.pushes import Pushes
from mawasu.daemon.refresh import refreshing
from mawasu.daemon.settings import check, load
from mawasu.data.reach import Reach
from mawasu.errors import MawasuError, UsageError
from mawasu.executor.build import Shop
from mawasu.executor.commit import git_dir
from mawasu.executor.follow import follow
from mawasu.executor.logs import FileLog
from mawasu.executor.queue import Job, Queue
from mawasu.executor.records import LocalRecords
from mawasu.executor.sites import Live, Sites
from mawasu.executor.taking import Taken
from mawasu.gateway.authn import AGAIN
from mawasu.gateway.openapi import check as check_api
from mawasu.git.repository import heads
from mawasu.home import Home
from mawasu.ledger.entries import BuildFinished
from mawasu.platforms.local.platform import LocalPlatform
from mawasu.platforms.local.process import ensure_running
from mawasu.triggers.projects import install_hooks, projects
from mawasu.triggers.scan import delivered, fresh, scan
from mawasu.triggers.watch import Watcher
from mawasu.words import Push, Result

TICK = 5.0
"""Seconds between looks: the supervisor, expiry, branches whose hook was missed, watched remotes that are due."""

LOOK = 1.0
"""Seconds between looks at which data sets are due. Where nothing is, that is one look into each ledger."""


class Daemon:
    """`start` returns when pushes are taken and everything that was served is served again."""

    def __init__(self, home: Home, trust_pushers: bool) -> None:
        self.home = home
        self._lock_file = lock(home)
        settings = load(home)
        check(settings)
        self.log = FileLog(home.path / "daemon.log")
        self.platform = LocalPlatform(
            home,
            edge=settings.edge,
            certificate=settings.tls,
            redis=settings.redis,
            trust_pushers=trust_pushers,
            back_ends=settings.back_ends,
        )
        records = LocalRecords(home)
        self.ledgers = Ledgers(records)
        live = Live(self.platform.services, Sites(self.platform.gateway))
        self.shop = Shop(
            home,
            records,
            self.platform,
            live,
            self.platform.secrets.resolve,
            Reach(settings.data),
            check_api=partial(check_api, back_ends=settings.back_ends),
        )
        self.queue = Queue(settings.builds, self._bug)
        self.pushes = Pushes(self.shop, live, self.ledgers, self.queue)
        self.converge = Converge(self.shop, live, self.ledgers, self.log)
        self.control = Control(home.daemon_socket, self._answer, self.log)
        self.exporter = Exporter(home, settings.metrics) if settings.metrics else None
        self.stopped = threading.Event()
        self._warned: list[str] = []
        self._watched: dict[str, tuple[float, Watcher]] = {}  # project → when to look again

    def start(self) -> None:
        self.platform.start()
        self.converge.adopt()
        for project in projects(self.home):
            install_hooks(self.home, Path(project.repo))
        self.pushes.resume()
        self.scan()
        self.control.start()
        if self.exporter is not None:
            self.exporter.start()
        threading.Thread(target=self._tick, name="tick", daemon=True).start()
        threading.Thread(target=self._refresh, name="refresh", daemon=True).start()
        threading.Thread(target=self._collect, name="predictions", daemon=True).start()
        threading.Thread(target=self._issuers, name="key sets", daemon=True).start()
        threading.Thread(target=_warm, name="warm", daemon=True).start()

    def stop(self) -> None:
        """Leave: what is served is served on, unfinished builds are resumed by the next start."""
        self.control.stop()
        if self.exporter is not None:
            self.exporter.stop()
        self.queue.stop()
        self.stopped.set()

    # ------------------------------------------------------------------------------------------------ time

    def scan(self) -> None:
        """Pushes whose hook was never heard (the daemon was down): compare heads with what was taken."""
        for project in projects(self.home):
            for push in scan(project.name, Path(project.repo), self.pushes.known_heads(project.name)):
                self._take(push)

    def _tick(self) -> None:
        nap = TICK
        while not self.stopped.wait(nap):
            nap = TICK
            try:
                now = time.time()
                nap = min(TICK, self.platform.gateway.expire_keys(now) - now)
                ensure_running(self.home)  # a killed supervisor took all it ran with it; the next one starts it again
                self._certificate()
                self.converge.expire()
                self.converge.mend()
                self._poll()
                self.scan()
                self.pushes.resume()
            except MawasuError as error:
                self.log.write(f"tick: {error}")

    def _collect(self) -> None:
        """The prediction log, on a thread of its own: writing a large spool as Parquet keeps nothing else waiting."""
        from mawasu.platforms.local.predictions import collect  # pyarrow takes a while to load

        said = ""
        while not self.stopped.is_set():
            try:
                collect(self.home)
            except (OSError, ValueError) as error:  # a full disk, a file that was damaged; Arrow's errors are of these
                if str(error) != said:
                    self.log.write(f"prediction log: {error}")
                said = str(error)
            self.stopped.wait(TICK)

    def _issuers(self) -> None:
        """Copies of key sets, on a thread of its own: an issuer that is slow keeps nothing else waiting."""
        while not self.stopped.wait(AGAIN):
            try:
                self.platform.gateway.refresh_key_sets()
            except MawasuError as error:
                self.log.write(f"key sets: {error}")

    def _refresh(self) -> None:
        """New data, on a thread of its own: reading a large source keeps nothing else waiting."""
        refresh = refreshing(self.shop)
        while not self.stopped.wait(LOOK):
            try:
                for line in refresh.run(self.ledgers.all(), time.time()):
                    self.log.write(line)
                    self.scan()  # it may say that a branch has moved
            except MawasuError as error:
                self.log.write(f"refresh: {error}")

    def _certificate(self) -> None:
        """Take a renewed certificate; what is wrong at the edge is logged once and shown by `status`."""
        before = self.platform.gateway.certificate
        self.platform.gateway.refresh_certificate()
        if (now := self.platform.gateway.certificate) != before and now is not None:
            self.log.write(f"gateway: another certificate is served, for {', '.join(now.names)}")
        warnings = self.platform.gateway.warnings()
        for line in warnings:
            if line not in self._warned:
                self.log.write(f"gateway: {line}")
        self._warned = warnings

    def _poll(self) -> None:
        """Look at the followed remotes that are due; what moved there is found by the scan that comes next."""
        for project in projects(self.home):
            if project.watch is None:
                self._watched.pop(project.name, None)
                continue
            due, watcher = self._watched.get(project.name, (0.0, Watcher(project, project.watch)))
            if time.monotonic() >= due:
                before = watcher.state
                watcher.poll_once()
                if watcher.state != before:
                    self.log.write(f"watch {project.name}: {watcher.state}")
                self._watched[project.name] = (time.monotonic() + watcher.wait, watcher)

    # ------------------------------------------------------------------------------------------------ pushes

    def _take(self, push: Push) -> tuple[list[Taken], list[str]]:
        taken, said = self.pushes.take(push)
        for line in said:
            self.log.write(f"{push.project} {push.branch!a}: {line}")
        return taken, said

    def _answer(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One request of the hook or the command line; each answer is one JSON line."""
        match request.get("op"):
            case "ping":
                yield {
                    "pid": os.getpid(),
                    "url": self.platform.gateway.url,
                    "warnings": self.platform.gateway.warnings(),
                    "limiter": self.platform.limiter,
                    "sandbox": self.platform.sandbox.name,
                }
            case "push":
                yield from self._pushed(request["project"], request["updates"])
            case "stop":
                yield {"stopping": os.getpid()}
                threading.Thread(target=self.stop, daemon=True).start()
            case other:
                yield {"error": f"unknown request {other!r}"}

    def _pushed(self, project: str, updates: list[list[str]]) -> Iterator[dict[str, Any]]:
        """The hook's message: take what is new, then tell how it goes until all its builds are done.

        A scan may have taken the push between its storing and this message: then its builds are found and told.
        """
        if project not in [known.name for known in projects(self.home)]:
            raise UsageError(f"there is no project {project!r} here", "`mawasu up --project NAME` makes one")
        taken: list[Taken] = []
        pushes = delivered(project, updates)
        known = self.pushes.known_heads(project)
        new = fresh(pushes, known, heads(git_dir(self.home.repos, project)))
        for push in pushes:
            if push not in new and known.get(push.branch) != push.new:
                continue  # it comes late, after a newer push of its branch
            more, said = self._take(push)
            taken += more
            yield from ({"say": line} for line in said)
        for build in taken:
            yield {"follow": f"mawasu logs -f {build.build} --feature {build.feature}"}
            yield from ({"say": line} for line in self._follow(build))
        yield {"done": True}

    def _follow(self, build: Taken) -> Iterator[str]:
        return follow(
            self.ledgers.of(build.feature), self.platform.store, build.build, build.entry, until=self.stopped.is_set
        )

    def _bug(self, job: Job, error: BaseException) -> None:
        """A build ended by a fault of mawasu itself: it is recorded, with where its traceback stands."""
        import traceback

        for line in traceback.format_exception(error):
            self.log.write(line.rstrip())
        reason = f"mawasu itself failed: {type(error).__name__}: {error}"
        hint = f"the traceback is in {self.log.path}; please report it"
        try:
            self.ledgers.of(job.feature).append(BuildFinished(job.build, Result.FAILED, reason, hint))
        except MawasuError as cannot_say:  # it stays unfinished, and is taken up again when the ledger can be written
            self.log.write(f"{job.feature} build {job.build}: {cannot_say}")


def _warm() -> None:
    """Import what the first build would otherwise wait for."""
    import httpx
    import jsonschema_rs
    import numpy as np
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.parquet

    del httpx, jsonschema_rs, np, pyarrow
