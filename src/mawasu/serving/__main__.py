"""`python -m mawasu.serving --config JSON`: one server, as a platform starts it."""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec

from mawasu.serving.config import Config
from mawasu.serving.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mawasu.serving", description="Serve one worker over HTTP.")
    parser.add_argument("--config", required=True, help="a JSON object: mawasu.serving.config.Config")
    asyncio.run(serve(msgspec.json.decode(parser.parse_args().config, type=Config)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
