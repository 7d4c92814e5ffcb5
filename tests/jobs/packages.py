"""Small packages made by hand, so that images can be tested without an index."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping

WHEEL = "tiny-1.0-py3-none-any.whl"
SDIST = "tiny-1.0.tar.gz"
_METADATA = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"


def wheel(files: Mapping[str, str]) -> bytes:
    """A wheel of `tiny` 1.0 (PEP 427) with these files."""
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    every = {**files, "tiny-1.0.dist-info/METADATA": _METADATA, "tiny-1.0.dist-info/WHEEL": tag}
    record = "".join(f"{name},sha256={_b64(text)},{len(text.encode())}\n" for name, text in every.items())
    every["tiny-1.0.dist-info/RECORD"] = record + "tiny-1.0.dist-info/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in every.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def sdist(at_build: str) -> bytes:
    """A source package of `tiny` 1.0 whose own back end (PEP 517) runs `at_build`, which leaves text in `seen`."""
    backend = f"""
import base64, os, zipfile
from pathlib import Path
def build_wheel(directory, config_settings=None, metadata_directory=None):
{"".join(f"    {line}{chr(10)}" for line in at_build.splitlines())}
    info = "tiny-1.0.dist-info/"
    with zipfile.ZipFile(Path(directory) / {WHEEL!r}, "w") as archive:
        archive.writestr("tiny.py", "seen = " + repr(seen))
        archive.writestr(info + "METADATA", {_METADATA!r})
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", f"tiny.py,,\\n{{info}}METADATA,,\\n{{info}}WHEEL,,\\n{{info}}RECORD,,\\n")
    return {WHEEL!r}
"""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "tiny"\nversion = "1.0"\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in {"PKG-INFO": _METADATA, "pyproject.toml": project, "backend.py": backend}.items():
            entry = tarfile.TarInfo(f"tiny-1.0/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def hash_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
