"""`python -m mawasu.serving --config FILE`: one server, as a platform starts it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from mawasu.serving.config import Config
from mawasu.serving.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mawasu.serving", description="Serve one worker over HTTP.")
    parser.add_argument("--config", required=True, type=Path, help="a JSON file: mawasu.serving.config.Config")
    path: Path = parser.parse_args().config
    asyncio.run(serve(msgspec.json.decode(path.read_bytes(), type=Config)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
