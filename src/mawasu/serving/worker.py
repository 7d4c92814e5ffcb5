"""The worker: runs a user's handler, or their HTTP server, inside the user's own image.

One file, standard library only, Python ≥ 3.9: it is shown to the sandbox as it is and adds nothing to the image.

    worker.py --socket S --handler package.module:function [--model DIR]    answers batches over the socket S
    worker.py --socket S --command 'node server.js'        [--model DIR]    bridges S to the command's $PORT

**Frames** (handler mode; all numbers big-endian). A frame is a header `length:u32 id:u32 parts:u32`, then `length`
bytes holding the parts, each `length:u32 status:u8` and its bytes. A request's part is one caller's JSON array of
items; the reply carries the same id and one part per part, whose status is OK (a JSON array with one answer per
item), BAD (the items could not be read: a message), REFUSED (the handler will not have them: a status, a space and a
message) or FAILED (the handler did not answer: an id to find in the log).
Replies come in the order of the requests; any number of requests may be under way. The first frame, from the worker,
has id 0 and no parts: the model is loaded.
"""
# ruff: noqa: PTH100, PTH108, PTH109, PTH110, PTH120
# (os.path on purpose: importing pathlib takes longer than all this file does before it loads the model)

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

if TYPE_CHECKING:
    import asyncio

HEADER = struct.Struct("!III")
PART = struct.Struct("!IB")
OK, BAD, FAILED, REFUSED = 0, 1, 2, 5

Part = tuple[int, bytes]
Predict = Callable[[Any, list[Any]], Any]


def pack(number: int, parts: Sequence[Part]) -> bytes:
    """One frame."""
    body = [piece for status, data in parts for piece in (PART.pack(len(data), status), data)]
    return b"".join((HEADER.pack(sum(map(len, body)), number, len(parts)), *body))


def unpack(body: bytes | memoryview, count: int) -> list[Part]:
    """The parts of a frame's body. Raises struct.error when it is cut short."""
    parts, at = [], 0
    for _ in range(count):
        length, status = PART.unpack_from(body, at)
        at += PART.size
        parts.append((status, bytes(body[at : at + length])))
        at += length
    return parts


# ------------------------------------------------------------------------------------------------ handler mode


class AnswerError(Exception):
    """The handler answered with something that is not one JSON value per item."""


class Worker:
    """A loaded model and the function that asks it."""

    def __init__(self, predict: Predict, model: Any) -> None:
        self.predict = predict
        self.model = model

    def answer(self, groups: Sequence[bytes]) -> list[Part]:
        """Answer each caller's items; what one caller sent never costs another its answer."""
        replies: dict[int, Part] = {}
        items: dict[int, list[Any]] = {}
        for index, text in enumerate(groups):
            try:
                items[index] = json.loads(text)
            except (ValueError, RecursionError) as error:  # too many digits, too deep: what JSON itself allows
                replies[index] = (BAD, str(error).encode())
        replies.update(self._together(items))
        return [replies[index] for index in range(len(groups))]

    def _together(self, items: dict[int, list[Any]]) -> dict[int, Part]:
        """One call for all; when it fails, one call for each, so that only the guilty fail."""
        if len(items) > 1:
            try:
                answers = self._call([item for group in items.values() for item in group])
            except Exception:  # noqa: BLE001 S110 - told below, by the call that is at fault
                pass
            else:
                replies, at = {}, 0
                for index, group in items.items():
                    replies[index] = self._encode(answers[at : at + len(group)])
                    at += len(group)
                return replies
        return {index: self._alone(group) for index, group in items.items()}

    def _alone(self, items: list[Any]) -> Part:
        try:
            return self._encode(self._call(items))
        except Exception:  # noqa: BLE001 - the user's code may raise anything; the caller sees only where to look
            return failed()

    def _call(self, items: list[Any]) -> list[Any]:
        answers = self.predict(self.model, items)
        if hasattr(answers, "tolist"):  # an array
            answers = answers.tolist()
        if not isinstance(answers, (list, tuple)):
            raise AnswerError(f"predict gave a {type(answers).__name__}, not a list")
        if len(answers) != len(items):
            raise AnswerError(f"predict gave {len(answers)} answers for {len(items)} items")
        return list(answers)

    def _encode(self, answers: list[Any]) -> Part:
        try:
            return OK, json.dumps(answers, default=plain, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError):
            return failed()


def plain(value: Any) -> Any:
    """What JSON can say of a value it does not know: arrays and scalars of numpy, torch and the like."""
    for name in ("tolist", "item"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise AnswerError(f"predict gave a {type(value).__module__}.{type(value).__qualname__}, which is not JSON")


def failed() -> Part:
    """Write the exception being handled to the log under a new id, and give the id to the caller.

    An exception with a `mawasu_status` of 400 to 499 is no fault: the handler refuses what its caller sent. (Plain
    `status` is what exceptions of HTTP clients call the answer of somebody else.)
    """
    kind, value, _ = sys.exc_info()
    status = getattr(value, "mawasu_status", None)
    if type(status) is int and 400 <= status < 500:
        return REFUSED, f"{status} {value}".encode(errors="replace")
    trace = os.urandom(8).hex()
    summary = "".join(traceback.format_exception_only(kind, value)).strip().replace("\n", " ")
    print(f"mawasu: error {trace}: {summary}", file=sys.stderr)
    traceback.print_exc()
    sys.stderr.flush()
    return FAILED, trace.encode()


def load(target: str, model: str | None) -> Worker:
    """Import `package.module:function` and let the module load its model (without `load`: the directory itself)."""
    name, _, function = target.partition(":")
    module = importlib.import_module(name)
    predict = getattr(module, function, None)
    if not callable(predict):
        raise AnswerError("{} has no function {}".format(name, function or "after the colon"))
    loader = getattr(module, "load", None)
    loaded = loader(model) if callable(loader) else model
    return Worker(cast(Predict, predict), loaded)


def serve(listener: socket.socket, worker: Worker) -> NoReturn:
    """Answer one server after another (a server that was restarted comes back), until the process is ended."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            try:
                connection.sendall(pack(0, ()))
                converse(connection, stream, worker)
            except ConnectionError:  # the server left
                continue


def converse(connection: socket.socket, stream: BinaryIO, worker: Worker) -> None:
    while True:
        header = stream.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        length, number, count = HEADER.unpack(header)
        body = stream.read(length)
        if len(body) < length:
            return
        connection.sendall(pack(number, worker.answer([data for _, data in unpack(body, count)])))


def run_handler(path: str, target: str, model: str | None) -> int:
    """Listens before it loads, so that the server's connection is already there when the model is."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bind(listener, path)
    try:
        worker = load(target, model)
    except Exception as error:  # noqa: BLE001 - importing runs the user's code
        traceback.print_exc()
        summary = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
        print(f"mawasu: cannot load {target}: {summary}", file=sys.stderr)
        return 1
    # What was loaded stays: without this every full collection would walk the model again (100 ms seen at p99).
    gc.collect()
    gc.freeze()
    print(f"mawasu: {target} is loaded", file=sys.stderr, flush=True)
    serve(listener, worker)


def bind(listener: socket.socket, path: str) -> None:
    """Listen at `path` in place of whoever listened there before."""
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(128)


# ------------------------------------------------------------------------------------------------ command mode


def run_command(path: str, command: str) -> int:
    """Run the user's HTTP server and carry bytes between the socket and its port; ends as the command ends."""
    import asyncio  # not at the top: handlers do without, and start sooner

    return asyncio.run(bridge(path, command))


async def bridge(path: str, command: str) -> int:
    import asyncio

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        env=dict(os.environ, PORT=str(port)),
        start_new_session=True,
        preexec_fn=die_with_me,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end, process.pid, signal.SIGTERM)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # not listening yet, or not any more
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        inner_writer.close()
        writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bind(listener, path)
    await asyncio.start_unix_server(carry, sock=listener)
    status = await process.wait()
    end(process.pid, signal.SIGKILL)  # whatever it left in its group
    print(f"mawasu: the command ended with status {status}", file=sys.stderr, flush=True)
    return status if status >= 0 else 128 - status


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:  # either side left: the other is told by closing both
        writer.close()


def die_with_me() -> None:
    """Called in the command's process: it ends when the worker is killed, as in the sandbox anyway. Only Linux can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # prctl(2): PR_SET_PDEATHSIG


def end(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def free_port() -> int:
    """A free port on loopback; in the sandbox loopback is the replica's own, so nobody can take it meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast(int, probe.getsockname()[1])


# ------------------------------------------------------------------------------------------------ both


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="worker.py", description="Run a handler or an HTTP server for mawasu.")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--model")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--handler")
    mode.add_argument("--command")
    options = parser.parse_args(arguments)
    here = os.path.dirname(os.path.abspath(__file__))
    # Python puts this file's directory first; the user's code lives in the working directory.
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if path != here)]
    if options.model:
        os.environ["MAWASU_MODEL"] = options.model
    if options.handler:
        return run_handler(options.socket, options.handler, options.model)
    return run_command(options.socket, options.command)


if __name__ == "__main__":
    sys.exit(main())
