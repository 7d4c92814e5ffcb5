"""A store that is a directory and nothing more: the real one is in a room of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mawasu.errors import CorruptError
from mawasu.words import Digest, digest_of


class DirectoryStore:
    """`mawasu.ports.Store` without durability."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def put_bytes(self, data: bytes) -> Digest:
        digest = digest_of(data)
        (self.root / digest).write_bytes(data)
        return digest

    def put_file(self, path: Path) -> Digest:
        return self.put_bytes(path.read_bytes())

    def put_tree(self, root: Path) -> Digest:
        files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        manifest = {name: [self.put_file(path), path.stat().st_mode & 0o100] for name, path in sorted(files.items())}
        return self.put_bytes(json.dumps(manifest).encode())

    def has(self, digest: Digest) -> bool:
        return (self.root / digest).exists()

    def read(self, digest: Digest) -> bytes:
        if not self.has(digest):
            raise CorruptError(f"{digest} is missing")
        return (self.root / digest).read_bytes()

    def write_file(self, digest: Digest, path: Path) -> None:
        path.write_bytes(self.read(digest))

    def write_tree(self, digest: Digest, root: Path) -> None:
        root.mkdir()
        for name, (file, _) in json.loads(self.read(digest)).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            self.write_file(file, root / name)

    def tree(self, digest: Digest) -> list[str]:
        """The names of a stored directory's files."""
        return list(json.loads(self.read(digest)))

    def create(self, name: str, data: bytes) -> bool:
        if self.get(name) is not None:
            return False
        (self.root / name).write_bytes(data)
        return True

    def get(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.exists() else None

    def names(self, prefix: str) -> Iterable[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name.startswith(prefix))
