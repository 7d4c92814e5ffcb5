"""One instance of a Cloud Run revision, inside: its containers in one network of their own, as one process of bwrap.

    python instance.py '{"containers": [{"name", "argv", "cwd", "environ"}…], "port": 8080, "door": "/door/ingress"}'

Prints a JSON line for each line that a container printed, and one for the first that ends; then all end. What comes in
at the door, a Unix socket, goes to the port on the instance's own loopback.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def contain(spec: dict[str, Any]) -> None:
    """Run one container to its end, which is the instance's end."""
    try:
        process = await asyncio.create_subprocess_exec(
            *spec["argv"],
            cwd=spec["cwd"],
            env=spec["environ"],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        say(container=spec["name"], line=f"terminated: failed to start: {error}")
        say(container=spec["name"], status=127)
        return
    assert process.stdout is not None
    async for line in process.stdout:
        say(container=spec["name"], line=line.decode(errors="replace").rstrip("\n"))
    say(container=spec["name"], status=await process.wait())


async def door(path: str, port: int) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # nobody listens yet
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        inner_writer.close()
        writer.close()

    await asyncio.start_unix_server(carry, path)


async def main() -> None:
    spec = json.loads(sys.argv[1])
    await door(spec["door"], spec["port"])
    running = [asyncio.create_task(contain(one)) for one in spec["containers"]]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(main())
