"""`python -m mawasu.serving --config JSON`: one server, as a platform starts it.

A configuration without `listen` is for Cloud Run, which names the port in `PORT`
(cloud.google.com/run/docs/container-contract).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import msgspec

from mawasu.serving.config import Config
from mawasu.serving.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mawasu.serving", description="Serve one worker over HTTP.")
    parser.add_argument("--config", required=True, help="a JSON object: mawasu.serving.config.Config")
    config = msgspec.json.decode(parser.parse_args().config, type=Config)
    port = os.environ.get("PORT", "")
    if not config.listen and not (port.isdigit() and 0 < int(port) < 65536):
        parser.error(f"without `listen` the port comes from $PORT, which is {port!r}")
    asyncio.run(serve(config, port=0 if config.listen else int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
