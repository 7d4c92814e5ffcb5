"""All that is remembered of builds, wherever it is kept: the store, the ledgers and the logs of a home or a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mawasu.executor.logs import BucketLog, FileLog, StepLog, log_path, log_prefix, read_file, read_parts
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.home import Home
from mawasu.ledger import cloud, shelf
from mawasu.ledger.cloud import CloudShelf
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.ports import Store
from mawasu.store.cloud import CloudStore
from mawasu.store.directory import DirectoryStore


class Records(Protocol):
    """Creating one touches nothing. Everything raises PlatformError when the disk or the network refuses."""

    @property
    def place(self) -> str:
        """Where they are, for people."""

    @property
    def store(self) -> Store: ...

    def features(self) -> list[str]:
        """Those that have a ledger, sorted."""

    def ledger(self, feature: str) -> Ledger:
        """Opened anew; it begins to exist with its first entry."""

    def log(self, feature: str, build: int, step: str) -> StepLog:
        """To write; what is there stays."""

    def read_log(self, feature: str, build: int, step: str, offset: int = 0) -> bytes:
        """What the log holds by now, from a byte on; b"" where there is none."""


class LocalRecords:
    """Those of a home on this machine."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.place = str(home.records)
        self.store = DirectoryStore(home.store)

    def features(self) -> list[str]:
        return shelf.features(self.home.ledger)

    def ledger(self, feature: str) -> Ledger:
        return Ledger(DirectoryShelf(self.home.ledger, feature, self.home.checkpoints))

    def log(self, feature: str, build: int, step: str) -> FileLog:
        return FileLog(log_path(self.home, feature, build, step))

    def read_log(self, feature: str, build: int, step: str, offset: int = 0) -> bytes:
        return read_file(log_path(self.home, feature, build, step), offset)


class CloudRecords:
    """Those of a bucket, for whoever may read it, from anywhere. `cache` is a directory for checkpoints."""

    def __init__(self, client: Client, bucket: str, cache: Path) -> None:
        self.place = f"gs://{bucket}"
        self.bucket = Bucket(client, bucket)
        self.store = CloudStore(self.bucket)
        self._cache = cache

    def features(self) -> list[str]:
        return cloud.features(self.bucket)

    def ledger(self, feature: str) -> Ledger:
        return Ledger(CloudShelf(self.bucket, feature, self._cache))

    def log(self, feature: str, build: int, step: str) -> BucketLog:
        return BucketLog(self.bucket, log_prefix(feature, build, step))

    def read_log(self, feature: str, build: int, step: str, offset: int = 0) -> bytes:
        return read_parts(self.bucket, log_prefix(feature, build, step), offset)
