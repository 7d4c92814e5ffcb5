"""One Envoy: its files, its admin socket, and whether it took what it was told.

Envoy follows four files of dynamic configuration by rename (file-based xDS: CDS, RDS, ECDS for two filters). Each is
told as a version named by its content, and has taken effect when the admin interface names that version; a refusal
moves a counter instead. The listener is static and is never drained. See decisions/0005-envoy-by-files.md.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mawasu.errors import PlatformError
from mawasu.gateway import limiter, listener
from mawasu.gateway.authn import FILTER, digest
from mawasu.gateway.edge import CERTIFICATE, SECRET, Edge
from mawasu.gateway.routes import NAME
from mawasu.platforms.local.files import replace

Resources = Sequence[dict[str, Any]]

POLL = 0.005  # seconds
PREFIXES = {
    listener.CLUSTERS: "cluster_manager.cds",
    listener.ROUTES: f"http.ingress.rds.{NAME}",
    listener.AUTHN: f"extension_config_discovery.http_filter.{FILTER}",
    listener.QUOTAS: f"extension_config_discovery.http_filter.{limiter.FILTER}",
    CERTIFICATE: f"sds.{SECRET}",
}
"""Where Envoy's statistics speak of each file."""


class Envoy:
    """What one Envoy reads and says, in one private directory. Starting it is somebody else's work."""

    def __init__(self, directory: Path, log: Path) -> None:
        self.directory = directory
        self._log = log

    # ------------------------------------------------------------------------------------------ what it reads

    def write_bootstrap(self, edge: Edge, access_log: Path, trust: str) -> Path:
        """Another bootstrap is another file: a running Envoy can be asked which one it was started with."""
        body = listener.bootstrap(edge, str(self.directory), str(access_log), trust)
        path = self.directory / f"bootstrap-{digest(body)}.json"
        replace(path, json.dumps(body, indent=1).encode(), durable=False)
        return path

    def write_keys(self, text: str) -> str:
        """A key set as a file of its own: its path. Another set is another file, for Envoy reads each once."""
        path = self.directory / f"keys-{digest(text)}.json"
        if not path.exists():
            replace(path, text.encode(), durable=False)
        return str(path)

    def drop_keys(self, keep: str) -> None:
        """Remove all key sets but the one that Envoy was told of."""
        for path in self.directory.glob("keys-*.json"):
            if str(path) != keep:
                path.unlink(missing_ok=True)

    def read(self, file: str) -> Resources | None:
        """The resources that the file holds now, None when there is none (or it is not what was written here)."""
        try:
            resources: Resources = json.loads((self.directory / file).read_bytes())["resources"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return resources

    def write(self, file: str, resources: Resources) -> str:
        """Put a file in place; returns its version. Does not wait for Envoy."""
        version = digest(resources)
        body = {"version_info": version, "resources": resources}
        replace(self.directory / file, json.dumps(body).encode(), durable=False)
        return version

    # ------------------------------------------------------------------------------------------ what it says

    def tell(self, files: Mapping[str, Resources], timeout: float) -> None:
        """Write files and wait until Envoy has taken all of them. Raises PlatformError with Envoy's own words."""
        refused, said = self.refusals(), self.log_end()
        wanted = {file: self.write(file, resources) for file, resources in files.items()}
        deadline = time.monotonic() + timeout
        while waiting := self.not_taken(wanted):
            counts = self.refusals()
            for file in waiting:
                if counts[file] > refused[file]:
                    raise PlatformError(f"Envoy refused {file}: {self.complaint(said)}")
            if time.monotonic() > deadline:
                raise PlatformError(f"Envoy did not take {', '.join(waiting)} within {timeout:g} s")
            time.sleep(POLL)

    def not_taken(self, wanted: Mapping[str, str]) -> list[str]:
        """The files whose version is not in effect."""
        taken = self.versions()
        return [file for file, version in wanted.items() if taken.get(file) != version]

    def versions(self) -> dict[str, str]:
        said = self._ask(r"/stats?type=TextReadouts&filter=version_text$")
        found = dict(re.findall(r'^(\S+)\.version_text: "(.*)"$', said, re.MULTILINE))
        return {file: found[prefix] for file, prefix in PREFIXES.items() if prefix in found}

    def refusals(self) -> dict[str, int]:
        """How often each file was refused since Envoy started."""
        said = self._ask(r"/stats?type=Counters&filter=update_(rejected|failure)$")
        counts = dict.fromkeys(PREFIXES, 0)
        for file, prefix in PREFIXES.items():
            pattern = rf"^{re.escape(prefix)}\.update_(?:rejected|failure): (\d+)$"
            counts[file] = sum(int(count) for count in re.findall(pattern, said, re.MULTILINE))
        return counts

    def active_requests(self) -> int:
        said = self._ask("/stats?type=Gauges&filter=^http.ingress.downstream_rq_active$")
        return int(said.rpartition(":")[2] or 0)

    def bootstrap(self) -> str | None:
        """The path of the bootstrap that a live Envoy was started with; None when none is live here."""
        try:
            info = json.loads(self._ask("/server_info"))
        except PlatformError:
            return None
        return str(info["command_line_options"]["config_path"]) if info["state"] == "LIVE" else None

    def stop_listening(self) -> None:
        self._ask("/drain_listeners", method="POST")

    def reopen_logs(self) -> None:
        self._ask("/reopen_logs", method="POST")

    def log_end(self) -> int:
        """How long Envoy's own log is, to read on from later."""
        return self._log.stat().st_size if self._log.exists() else 0

    def complaint(self, since: int = 0) -> str:
        """What Envoy last complained of in its log, from byte `since` on: the only place where it says why."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
        records = re.split(r"^(?=\[\d{4}-\d\d-\d\d )", text, flags=re.MULTILINE)
        loud = [record for record in records if re.search(r"\[(warning|error|critical)\]", record)] or records
        words = re.sub(r"^(\[[^]]*\] ?)+", "", loud[-1])
        return " ".join(words.removeprefix("Filesystem config update rejected: ").split())[:500]

    def _ask(self, path: str, method: str = "GET") -> str:
        connection = _UnixConnection(self.directory / "admin.sock")
        try:
            connection.request(method, path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise PlatformError(f"the gateway's Envoy does not answer: {error}", "is mawasu up?") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
