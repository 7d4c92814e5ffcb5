"""The local platform put together."""

from __future__ import annotations

from collections.abc import Collection

from mawasu.gateway.certificate import Files
from mawasu.gateway.edge import Edge
from mawasu.home import Home
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.platforms.local.process import LocalProcesses, ensure_running
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.platforms.local.services import LocalServices
from mawasu.platforms.local.workshop import LocalWorkshop, lay_out


class LocalPlatform(LocalWorkshop):
    """`ports.Platform` on this machine. `start` brings the supervisor and the gateway up, or finds them up."""

    def __init__(
        self,
        home: Home,
        *,
        edge: Edge,
        certificate: Files | None,
        trust_pushers: bool,
        redis: str = "",
        back_ends: Collection[str] = (),
    ) -> None:
        super().__init__(home, Sandbox.detect(trust_pushers))
        host = LocalProcesses(home)
        traces = edge.traces.url if edge.traces else ""
        self.services = LocalServices(home, host, self.sandbox, self.store, lay_out, redis, traces)
        self.gateway = LocalGateway(home, edge, host, certificate, back_ends=back_ends)

    def start(self) -> None:
        self.jobs.sweep()
        ensure_running(self.home)
        self.gateway.start()
