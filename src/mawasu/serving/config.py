"""What one server is told when it starts, by the platform that runs it: a JSON object, which holds no secrets."""

from __future__ import annotations

from mawasu.words import Value


class Config(Value, frozen=True):
    """Paths are absolute; times in seconds; `queue` and `max_batch` count items."""

    listen: str  # the Unix socket callers use; "": a TCP port on every interface, told in $PORT
    worker: str  # the worker's Unix socket (handler); the bridge's, or the user's server itself as http://host:port
    release: str  # its digest, sent with every answer
    command: bool = False
    workers: int = 1  # processes; worker N's socket is `worker.path_of(worker, N)`
    max_batch: int = 64
    queue: int = 1024
    deadline: float = 15.0  # a batch (command: a silent answer) that takes longer is given up
    max_body: int = 32 * 2**20  # bytes
    prefix: str = (
        ""  # behind Cloud Endpoints: /<feature>/<environment>, which its requests still have before their path
    )
