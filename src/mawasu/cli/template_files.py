"""The files of a first feature, as they are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


def template() -> dict[str, bytes]:
    """Contents by path."""
    return dict(_walk(files("mawasu.cli") / "template", ""))


def _walk(folder: Traversable, start: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name == "__pycache__":
            continue
        if item.is_dir():
            yield from _walk(item, f"{start}{item.name}/")
        else:
            yield start + item.name, item.read_bytes()
