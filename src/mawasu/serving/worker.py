"""The worker: runs a user's handler, or their HTTP server, inside the user's own image.

One file, standard library only, Python ≥ 3.9: it is shown to the sandbox as it is and adds nothing to the image.

    worker.py --socket S --handler package.module:function [--model DIR]    answers batches over the socket S
              [--workers N] [--memory BYTES] [--apart]                      N processes: S, S.1, S.2 …
    worker.py --socket S --command 'node server.js'        [--model DIR]    bridges S to the command's $PORT
              [--silence SECONDS]                                           after which a hung one is ended

**Frames** (handler mode; all numbers big-endian). A frame is a header `length:u32 id:u32 parts:u32`, then `length`
bytes holding the parts, each `length:u32 status:u8` and its bytes. A request's part is what one caller sent: OK (a JSON
array of items) or RAW (bytes, as they came). The reply carries the same id and either one part ALL (a JSON array of
what each part's OK would say) or one part per part: OK (a JSON array with one answer per item), RAW (bytes), BAD (the
items could not be read: a message), REFUSED (the handler will not have them: a status, a space and a message) or FAILED
(the handler did not answer: an id to find in the log). A handler that streams replies with any number of frames of one
part MORE (one JSON value), then one of OK, BAD, REFUSED or FAILED. Any number of requests may be under way. A request
of no parts takes its id back: nobody waits for it any more. From the worker, id 0 is about itself: OK (loaded; a JSON
object, `describe`), and RAW (it leaves: what it has not answered it has not begun).
"""
# ruff: noqa: PTH100, PTH108, PTH109, PTH110, PTH112, PTH115, PTH120, PTH123, PTH208, RUF021, UP045
# (os.path on purpose: importing pathlib takes longer than all this file does before it loads the model)

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib
import inspect
import itertools
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
import typing
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, TypeVar, cast

if TYPE_CHECKING:
    import asyncio

HEADER = struct.Struct("!III")
PART = struct.Struct("!IB")
OK, BAD, FAILED, RAW, MORE, REFUSED, ALL = 0, 1, 2, 3, 4, 5, 6
NPY = b"\x93NUMPY"  # how numpy's files begin
TOGETHER = 2**20  # bytes of JSON that are read in one go: more would cost their copy, and gain nothing
LEAK = 64 * 2**20  # bytes that a worker may always grow by
LOOK = 1.0  # seconds between looks at its size
SILENCE = 30.0  # seconds without a word on /healthz, after which a user's server hangs
YOUNG = 1.0  # seconds: one that ended sooner is not started again at once
GROWN, UNLOADABLE = 80, 81  # how a worker's process ends
QUITS = (Exception, SystemExit)  # what a user's code may raise: `sys.exit()` must not end a worker without a word
FORKABLE = ("jemalloc_bg_thd",)  # names of threads that look after forks themselves: pyarrow's allocator

Part = tuple[int, bytes]
Frame = tuple[int, list[Part]]
T = TypeVar("T")


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


def path_of(path: str, number: int) -> str:
    """The socket of worker `number` of a replica."""
    return f"{path}.{number}" if number else path


# ------------------------------------------------------------------------------------------------ types


class ItemError(ValueError):
    """An item is not what the handler's type hints say."""


class AnswerError(Exception):
    """The handler is not one, or answered with something that is not one JSON value per item."""


def theirs(ask: Callable[..., T], *given: Any) -> T:
    """What the user's code says. What it raises is an error, also what Python takes for more: a panic of a library
    written in Rust is a BaseException, and would end the worker without a word."""
    try:
        return ask(*given)
    except QUITS:
        raise
    except BaseException as error:
        raise strange(error) from error


def strange(error: BaseException) -> AnswerError:
    return AnswerError(f"the handler raised {type(error).__qualname__}, which is no Exception: {error}")


def convert(value: Any, hint: Any, at: str) -> Any:
    """A JSON value as the type that a hint names: dataclasses, TypedDicts, lists, unions … Raises ItemError.

    What it does not know it leaves as it is. Keys that nobody asked for are left out (dataclass) or kept (TypedDict).
    """
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return _expect(value, value is None, "null", at)
    if origin is typing.Literal:
        return _expect(value, value in given, " or ".join(json.dumps(one) for one in given), at)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return _any_of(value, given, at)
    if hint in (str, bool, int, float):
        return _scalar(value, hint, at)
    kind = origin or hint
    if not isinstance(kind, type):
        return value
    if issubclass(kind, (list, tuple)) or kind.__module__ == "collections.abc" and kind.__name__ in _LISTS:
        _expect(value, isinstance(value, list), "a list", at)
        given = tuple(one for one in given[:1] if one is not Any)  # anything goes: nothing to look at, one by one
        made = [convert(one, given[0], f"{at}[{n}]") for n, one in enumerate(value)] if given else value
        return tuple(made) if issubclass(kind, tuple) else made
    if hasattr(kind, "__required_keys__") or hasattr(kind, "__dataclass_fields__"):
        return _record(_expect(value, isinstance(value, dict), "an object", at), kind, at)
    if kind is dict or kind.__module__ == "collections.abc" and kind.__name__ in ("Mapping", "MutableMapping"):
        _expect(value, isinstance(value, dict), "an object", at)
        free = not given or given[1] is Any  # most handlers say `list[dict]` or `list[dict[str, Any]]`
        return value if free else {key: convert(one, given[1], f"{at}.{key}") for key, one in value.items()}
    return _foreign(value, kind, at)


_LISTS = ("Sequence", "MutableSequence", "Iterable", "Collection")
_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def _expect(value: Any, fits: bool, what: str, at: str) -> Any:
    if not fits:
        found = json.dumps(value)
        raise ItemError(f"{at}: expected {what}, found {found if len(found) < 40 else found[:40] + '…'}")
    return value


def _scalar(value: Any, hint: type, at: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = isinstance(value, int) or isinstance(value, float) and value.is_integer()
    fits = isinstance(value, hint) if hint in (str, bool) else number and (hint is float or whole)
    return hint(_expect(value, fits, _NAMES[hint], at))


def _any_of(value: Any, hints: Sequence[Any], at: str) -> Any:
    faults = []
    for hint in hints:
        try:
            return convert(value, hint, at)
        except ItemError as fault:
            faults.append(str(fault))
    raise ItemError(faults[0] if len(faults) < 3 else f"{at}: it is none of what it may be")


def _record(value: Mapping[str, Any], kind: Any, at: str) -> Any:
    needed, hints = _fields(kind)
    for key in sorted(needed - value.keys()):
        raise ItemError(f"{at}: `{key}` is missing")
    made = {key: convert(value[key], hint, f"{at}.{key}") for key, hint in hints.items() if key in value}
    return {**value, **made} if hasattr(kind, "__required_keys__") else kind(**made)


@functools.cache
def _fields(kind: Any) -> tuple[frozenset[str], dict[str, Any]]:
    """The names that must be there, and the types of all. Finding them costs more than the rest of an item."""
    hints = typing.get_type_hints(kind)
    if hasattr(kind, "__required_keys__"):
        return frozenset(kind.__required_keys__), hints
    import dataclasses

    fields = [one for one in dataclasses.fields(kind) if one.init]
    needed = {one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING}
    return frozenset(needed), {one.name: hints[one.name] for one in fields}


def _foreign(value: Any, kind: Any, at: str) -> Any:
    import enum

    try:
        if issubclass(kind, enum.Enum):
            try:
                return kind(value)
            except ValueError:
                return _expect(value, False, " or ".join(json.dumps(one.value, default=str) for one in kind), at)
        if kind.__module__ == "datetime" and hasattr(kind, "fromisoformat"):
            return kind.fromisoformat(value)
        if hasattr(kind, "model_validate"):  # pydantic's, where the image has it
            return kind.model_validate(value)
    except (ValueError, TypeError) as error:
        raise ItemError(f"{at}: {error}") from error
    return value


def plain(value: Any) -> Any:
    """What JSON can say of a value it does not know: arrays and scalars of numpy and torch, dataclasses, dates."""
    for name in ("tolist", "item", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "_value_"):  # an Enum
        return value.value
    raise AnswerError(f"predict gave a {type(value).__module__}.{type(value).__qualname__}, which is not JSON")


# ------------------------------------------------------------------------------------------------ handler mode


class Handler:
    """What a function's signature says of it; `predict(model, batch)` unless it says something else.

    One item at a time: the second parameter is called `item`, or its hint is of one thing (a dict, a dataclass, bytes)
    and not of many (a list, an array, a data frame). A generator streams, and is asked one item at a time.
    """

    def __init__(self, predict: Callable[..., Any]) -> None:
        given = list(inspect.signature(predict).parameters.values())
        if len(given) < 2:
            raise AnswerError("predict takes the model and a batch: `def predict(model, batch)`")
        self.predict = predict
        self.streams = inspect.isgeneratorfunction(predict) or inspect.isasyncgenfunction(predict)
        self.waits = inspect.iscoroutinefunction(predict) or inspect.isasyncgenfunction(predict)
        hint = hints_of(predict).get(given[1].name, Any)
        kind = typing.get_origin(hint) or hint
        self.frame = kind if getattr(kind, "__name__", "") in ("ndarray", "DataFrame") else None
        many = isinstance(kind, type) and (kind is list or kind.__name__ in _LISTS)
        self.single = self.streams or given[1].name == "item" or not (hint is Any or many or self.frame)
        self.hint = hint if self.single else (typing.get_args(hint) or (Any,))[0] if many else Any
        self.raw = "bytes" if self.hint is bytes else "array" if self.frame and self.frame.__name__ == "ndarray" else ""

    def describe(self) -> dict[str, Any]:
        """What the server must know: how to send items, and how many requests to have under way."""
        return {"streams": self.streams, "waits": self.waits, "raw": self.raw, "single": self.single}

    def read(self, parts: Sequence[Part]) -> list[Any]:
        """The JSON of several callers in one go, which costs a third of one by one; None for each if that fails."""
        if (
            len(parts) > 1
            and sum(len(data) for _, data in parts) < TOGETHER
            and all(status == OK for status, _ in parts)
        ):
            with contextlib.suppress(ValueError, RecursionError):
                return cast("list[Any]", json.loads(b"[%b]" % b",".join([data for _, data in parts])))
        return [None] * len(parts)

    def items(self, part: Part, read: Optional[list[Any]] = None) -> list[Any]:
        """What one caller sent, as the handler wants it; `read` is its JSON, where that is known.

        Raises ItemError when it cannot be read: too many digits, too deep, not what the hints say. What else is raised
        is the user's.
        """
        try:
            return theirs(self._typed, part, read)
        except (ValueError, RecursionError) as error:
            raise ItemError(str(error)) from error

    def _typed(self, part: Part, known: Optional[list[Any]]) -> list[Any]:
        status, data = part
        if status == RAW:
            if self.hint is bytes:
                return [data]
            array = load_array(data)
            return [array] if self.single else list(array)
        items = json.loads(data) if known is None else known
        if self.hint is Any or self.frame is not None:
            return [self._framed(item) for item in items] if self.single and self.frame else items
        at = "body" if len(items) == 1 else "body[{}]"
        return [convert(item, self.hint, at.format(n)) for n, item in enumerate(items)]

    def batch(self, items: list[Any]) -> Any:
        """Raises ItemError when they are not one array or data frame, such as rows of several lengths."""
        return self._framed(items) if self.frame is not None else items

    def _framed(self, items: Any) -> Any:
        try:
            if cast(Any, self.frame).__name__ == "DataFrame":
                return cast(Any, self.frame)(items)
            return importlib.import_module("numpy").asarray(items)
        except (ValueError, TypeError, AttributeError) as error:
            raise ItemError(f"the items are not one {cast(Any, self.frame).__name__}: {error}") from error


def load_array(data: bytes) -> Any:
    import io

    if not data.startswith(NPY):
        raise ItemError("the body is neither JSON nor an array as numpy.save writes it")
    try:
        return importlib.import_module("numpy").load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # an array cut short or made up can make numpy raise nearly anything
        raise ItemError(f"the body is no array as numpy.save writes it: {error}") from error


def hints_of(predict: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(predict)
    except (NameError, TypeError, AttributeError) as error:  # names for type checkers only; syntax of a later Python
        print(f"mawasu: the type hints of {predict.__name__} are not used: {error}", file=sys.stderr)
        return {}


class Caller:
    """Whoever asked; they may leave before they have their answer."""

    def __init__(self) -> None:
        self.left = False

    async def waits_for(self, waiting: Any) -> Any:
        """What the handler says. That it was cancelled is its own error, unless that was because its caller left."""
        import asyncio

        try:
            return await waiting
        except asyncio.CancelledError as error:
            if self.left:
                raise
            raise AnswerError("predict was cancelled, by nobody who asked it") from error
        except QUITS:
            raise
        except BaseException as error:
            raise strange(error) from error


class Worker:
    """A loaded model and the function that asks it.

    Its methods are coroutines for handlers that wait; those of others never do (`at_once`).
    """

    def __init__(self, handler: Handler, model: Any) -> None:
        self.handler = handler
        self.model = model

    async def answer(self, groups: Sequence[Part], caller: Caller) -> list[Part]:
        """Answer each caller's items; what one caller sent never costs another its answer."""
        replies: dict[int, Part] = {}
        items: dict[int, list[Any]] = {}
        for index, (part, read) in enumerate(zip(groups, self.handler.read(groups))):  # noqa: B905
            try:
                items[index] = self.handler.items(part, read)
            except ItemError as error:
                replies[index] = BAD, str(error).encode()
            except QUITS:  # by what the hints name: a `__post_init__` runs here too
                replies[index] = failed()
        if len(items) > 1 and not self.handler.single:
            try:
                answers = await self._call([item for group in items.values() for item in group], caller)
            except QUITS:  # told below, by the call that is at fault
                items = {index: self.handler.items(groups[index]) for index in items}  # that call may have changed them
            else:
                taken = iter(answers)
                shares = {index: [*itertools.islice(taken, len(group))] for index, group in items.items()}
                if not replies and (together := encode_all([*shares.values()])):
                    return [together]
                replies.update((index, encode(share)) for index, share in shares.items())
                return [replies[index] for index in range(len(groups))]
        replies.update(await self._apart(items, caller))
        return [replies[index] for index in range(len(groups))]

    async def _apart(self, items: dict[int, list[Any]], caller: Caller) -> dict[int, Part]:
        """One call for each caller, so that only the guilty fail."""
        if self.handler.waits and len(items) > 1:
            import asyncio

            alone = [self._alone(group, caller) for group in items.values()]
            return dict(zip(items, await asyncio.gather(*alone)))  # noqa: B905
        return {index: await self._alone(group, caller) for index, group in items.items()}

    async def _alone(self, items: list[Any], caller: Caller) -> Part:
        try:
            return encode(await self._call(items, caller))
        except ItemError as error:
            return BAD, str(error).encode()
        except QUITS:  # the user's code may raise anything; the caller sees only where to look
            return failed()

    async def _call(self, items: list[Any], caller: Caller) -> Sequence[Any]:
        handler = self.handler
        if handler.single:
            made = theirs(self._each, items)
            return [await caller.waits_for(one) for one in made] if handler.waits else made
        answers = theirs(self._together, items)
        if handler.waits:
            answers = await caller.waits_for(answers)
        if hasattr(answers, "tolist"):  # an array
            answers = answers.tolist()
        if not isinstance(answers, (list, tuple)):
            raise AnswerError(f"predict gave a {type(answers).__name__}, not a list")
        if len(answers) != len(items):
            raise AnswerError(f"predict gave {len(answers)} answers for {len(items)} items")
        return answers

    def _each(self, items: list[Any]) -> list[Any]:
        return [self.handler.predict(self.model, item) for item in items]

    def _together(self, items: list[Any]) -> Any:
        return self.handler.predict(self.model, self.handler.batch(items))

    def stream(self, part: Part) -> Any:
        """The user's generator. Raises what `Handler.items` does."""
        (item,) = self.handler.items(part)
        return self.handler.predict(self.model, item)


ENCODER = json.JSONEncoder(default=plain, allow_nan=False, separators=(",", ":"))  # dumps() would make one each time


def encode(answers: Sequence[Any]) -> Part:
    if len(answers) == 1 and isinstance(answers[0], (bytes, bytearray, memoryview)):
        return RAW, bytes(answers[0])
    try:
        return OK, theirs(ENCODER.encode, answers).encode()
    except QUITS:  # the values' own methods are asked what they are
        return failed()


def encode_all(shares: Sequence[Sequence[Any]]) -> Optional[Part]:
    """All callers' answers in one go; None when they must be told apart: one is bytes, or is not JSON."""
    if isinstance(shares[0][0], (bytes, bytearray, memoryview)):
        return None
    with contextlib.suppress(*QUITS):
        return ALL, theirs(ENCODER.encode, shares).encode()
    return None


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
    handler = Handler(predict)
    loader = getattr(module, "load", None)
    return Worker(handler, loader(model) if callable(loader) else model)


# ------------------------------------------------------------------------------------------------ talking


class Size:
    """How much a worker may grow; it does not leave because of what it shares with the others."""

    def __init__(self, memory: int, workers: int) -> None:
        self._start = resident()
        self._most = max(LEAK, (memory * 9 // 10 - self._start) // workers) if memory else 0
        self._looked = 0.0

    def too_large(self) -> bool:
        now = time.monotonic()
        if not self._most or now - self._looked < LOOK:
            return False
        self._looked = now
        return resident() - self._start > self._most


def resident() -> int:
    """Bytes of this process in memory; 0 where /proc does not say (proc_pid_statm(5))."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Wire:
    """Frames of one connection, for handlers that do not wait."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()
        self._frames: deque[Frame] = deque()

    def send(self, number: int, *parts: Part) -> None:
        self.connection.sendall(pack(number, parts))

    def frame(self) -> Frame:
        """The next one. Raises ConnectionError when the server has left."""
        while not self._frames:
            self._read(0)
        return self._frames.popleft()

    def taken_back(self, number: int) -> bool:
        """Whether the server has said so by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._read(socket.MSG_DONTWAIT)
        return (number, []) in self._frames

    def _read(self, flags: int) -> None:
        data = self.connection.recv(262144, flags)
        if not data:
            raise ConnectionResetError
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, number, count = HEADER.unpack_from(self._buffer)
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            self._frames.append((number, unpack(bytes(self._buffer[HEADER.size : end]), count)))
            del self._buffer[:end]


def serve(listener: socket.socket, worker: Worker, size: Size) -> None:
    """Answer one server after another (a server that was restarted comes back), until it has grown too large."""
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):  # the server left
            wire = Wire(connection)
            wire.send(0, (OK, json.dumps(worker.handler.describe()).encode()))
            while not size.too_large():
                number, parts = wire.frame()
                if parts and worker.handler.streams:
                    wire.send(number, stream(wire, worker, number, parts[0]))
                elif parts:
                    wire.send(number, *at_once(worker.answer(parts, Caller())))
            wire.send(0, (RAW, b""))
            return


def stream(wire: Wire, worker: Worker, number: int, part: Part) -> Part:
    """Send piece by piece, until the end or until nobody listens; what comes last is for the caller to send.

    Raises ConnectionError when the server has left: the wire's, for what the generator raises is told.
    """
    try:
        pieces = worker.stream(part)
    except ItemError as error:
        return BAD, str(error).encode()
    except QUITS:
        return failed()
    try:
        while True:
            status, data = next_piece(pieces)
            if status != MORE:
                return status, data
            if wire.taken_back(number):
                return OK, b""
            wire.send(number, (MORE, data))
    finally:
        try:
            theirs(pieces.close)
        except QUITS:
            failed()


def next_piece(pieces: Any) -> Part:
    """MORE, or how the generator ended."""
    try:
        return encode_piece(theirs(next, pieces))
    except StopIteration:
        return OK, b""
    except QUITS:
        return failed()


def encode_piece(piece: Any) -> Part:
    status, data = encode([piece])
    return (
        (MORE, data[1:-1])
        if status == OK
        else (status, data)
        if status in (FAILED, REFUSED)
        else (MORE, json_text(data))
    )


def json_text(data: bytes) -> bytes:
    return json.dumps(data.decode(errors="replace")).encode()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AnswerError("predict waits, but is not `async def`")


async def serve_waiting(listener: socket.socket, worker: Worker, size: Size) -> None:
    """As `serve`, for handlers that wait: their requests are answered side by side, on one event loop."""
    import asyncio

    listener.setblocking(False)
    left = False
    while not left:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(pack(0, [(OK, json.dumps(worker.handler.describe()).encode())]))
        tasks: dict[int, tuple[asyncio.Task[None], Caller]] = {}
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the server left
            while not (left := size.too_large()):
                await take(reader, writer, worker, tasks)
        if left:
            await asyncio.gather(*(task for task, _ in tasks.values()), return_exceptions=True)
            writer.write(pack(0, [(RAW, b"")]))
        for task, caller in list(tasks.values()):
            caller.left = True
            task.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def take(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    worker: Worker,
    tasks: dict[int, tuple[asyncio.Task[None], Caller]],
) -> None:
    """Begin with the next request, or end one that was taken back."""
    import asyncio

    length, number, count = HEADER.unpack(await reader.readexactly(HEADER.size))
    parts = unpack(await reader.readexactly(length), count)

    def over(task: asyncio.Task[None]) -> None:
        del tasks[number]
        if task.cancelled() and not writer.is_closing():
            writer.write(pack(number, [(OK, b"")]))  # the server counts on an end to everything

    if parts:
        caller = Caller()
        task = asyncio.get_running_loop().create_task(reply(writer, worker, number, parts, caller))
        tasks[number] = task, caller
        task.add_done_callback(over)
    elif number in tasks:
        task, caller = tasks[number]
        caller.left = True
        task.cancel()


async def reply(writer: asyncio.StreamWriter, worker: Worker, number: int, parts: list[Part], caller: Caller) -> None:
    if worker.handler.streams:
        last = [await stream_waiting(writer, worker, number, parts[0], caller)]
    else:
        last = await worker.answer(parts, caller)
    writer.write(pack(number, last))


async def stream_waiting(writer: asyncio.StreamWriter, worker: Worker, number: int, part: Part, caller: Caller) -> Part:
    """Send piece by piece; what comes last is for the caller to send."""
    try:
        pieces = worker.stream(part)
    except ItemError as error:
        return BAD, str(error).encode()
    except QUITS:
        return failed()
    try:
        while True:
            status, data = await next_piece_waiting(pieces, caller)
            if status != MORE:
                return status, data
            writer.write(pack(number, [(MORE, data)]))
            await writer.drain()
    except ConnectionError:  # the server left
        return OK, b""
    finally:
        try:
            await caller.waits_for(pieces.aclose())
        except QUITS:
            failed()


async def next_piece_waiting(pieces: Any, caller: Caller) -> Part:
    try:
        return encode_piece(await caller.waits_for(pieces.__anext__()))
    except StopAsyncIteration:
        return OK, b""
    except QUITS:
        return failed()


# ------------------------------------------------------------------------------------------------ keeping


class Task(typing.NamedTuple):
    """What the workers of one replica are for."""

    path: str
    target: str
    model: Optional[str]  # evaluated, and Python 3.9 has no other way
    workers: int
    memory: int  # bytes that all of them may use together; 0: any


def run_handler(task: Task, apart: bool) -> int:
    """Load the model once and fork: every worker has its pages without a copy, and a lost one is back in milliseconds.

    A process that has threads or connections cannot be forked safely (the threads are gone in the child, and a
    connection would have two users). So loading is a child's business: when it can be forked, it keeps the workers;
    else it is the first of them, and the others are forked from here and load for themselves.
    """
    if apart:
        return keep(task, None, {})
    reading, writing = os.pipe()
    pid = start(lambda: load_first(task, writing))
    os.close(writing)
    forked = os.read(reading, 1)
    os.close(reading)
    if forked == b"n":
        return keep(task, None, {pid: 0})
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        print("mawasu: the keeper of the workers was stopped; waking it", file=sys.stderr, flush=True)
        os.kill(pid, signal.SIGCONT)  # while it stands still nobody replaces a lost worker


def load_first(task: Task, writing: int) -> int:
    worker = loaded(task)
    if worker is None:
        return 1
    why = unforkable()
    if why:
        print(f"mawasu: {task.target} {why}: every worker loads for itself", file=sys.stderr, flush=True)
    os.write(writing, b"n" if why else b"y")
    os.close(writing)
    return work(task, worker, 0) if why else keep(task, worker, {})


def loaded(task: Task) -> Worker | None:
    try:
        worker = theirs(load, task.target, task.model)
    except QUITS as error:  # importing runs the user's code
        traceback.print_exc()
        summary = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
        print(f"mawasu: cannot load {task.target}: {summary}", file=sys.stderr, flush=True)
        return None
    # What was loaded stays: without this every full collection would walk the model again (100 ms seen at p99), and
    # write to its pages, which would then be a copy in every worker.
    gc.collect()
    gc.freeze()
    print(f"mawasu: {task.target} is loaded", file=sys.stderr, flush=True)
    return worker


def unforkable() -> str:
    """What loading left behind that only one process can have; "" for nothing."""
    if not os.path.isdir("/proc/self/fd"):
        return "is on a system where that cannot be known"
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/comm") as file:
            if int(thread) != os.getpid() and file.read().strip() not in FORKABLE:
                return "started threads while it loaded"
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(entry) > 2 and os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):
                return "opened connections while it loaded"
    return ""


def keep(task: Task, worker: Worker | None, running: dict[int, int]) -> int:
    """Start the workers that do not run yet, and another in place of each that ends. Returns when none can load."""
    for number in range(task.workers):
        if number not in running.values():
            running[start(lambda number=number: work(task, worker, number))] = number  # type: ignore[misc]
    began = dict.fromkeys(running, time.monotonic())
    while True:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if pid not in running:
            continue  # an orphan of the user's that was adopted
        number = running[pid]
        if os.WIFSTOPPED(status):  # it would hold its callers until their time is up
            print(f"mawasu: worker {number} was stopped; ending it", file=sys.stderr, flush=True)
            os.kill(pid, signal.SIGKILL)
            continue
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        if code == UNLOADABLE:
            return 1
        how = "has grown too large" if code == GROWN else f"ended with status {code}"
        print(f"mawasu: worker {number} {how}; starting another", file=sys.stderr, flush=True)
        if time.monotonic() - began.pop(pid) < YOUNG and code != GROWN:
            time.sleep(YOUNG / 10)
        del running[pid]
        pid = start(lambda number=number: work(task, worker, number))  # type: ignore[misc]
        running[pid], began[pid] = number, time.monotonic()


def start(task: Callable[[], int]) -> int:
    """Do it in a child, which ends with its result, and with us."""
    keeper = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        die_with_me()
        if os.getppid() == keeper:
            status = task()
    except BaseException:  # noqa: BLE001 - the last thing this process does is to say why
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def work(task: Task, worker: Worker | None, number: int) -> int:
    """Be worker `number`, which loads the model unless it was given."""
    worker = worker or loaded(task)
    if worker is None:
        return UNLOADABLE
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bind(listener, path_of(task.path, number))
    size = Size(task.memory, task.workers)
    if worker.handler.waits:
        import asyncio

        asyncio.run(serve_waiting(listener, worker, size))
    else:
        serve(listener, worker, size)
    return GROWN


def bind(listener: socket.socket, path: str) -> None:
    """Listen at `path` in place of whoever listened there before."""
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(128)


# ------------------------------------------------------------------------------------------------ command mode


def run_command(path: str, command: str, silence: float) -> int:
    """Run the user's HTTP server and carry bytes between the socket and its port; ends as the command ends."""
    import asyncio  # not at the top: handlers do without, and start sooner

    return asyncio.run(bridge(path, command, silence))


async def bridge(path: str, command: str, silence: float) -> int:
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
    watching = asyncio.get_running_loop().create_task(end_when_silent(process.pid, port, silence))
    status = await process.wait()
    watching.cancel()
    end(process.pid, signal.SIGKILL)  # whatever it left in its group
    print(f"mawasu: the command ended with status {status}", file=sys.stderr, flush=True)
    return status if status >= 0 else 128 - status


async def end_when_silent(group: int, port: int, silence: float) -> None:
    """A server that answered once and then says nothing at all hangs: it is ended, and whoever runs us starts another.

    Any answer will do. One that says 500 is not ready, which is its own word.
    """
    import asyncio

    heard = None
    while True:
        now = time.monotonic()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(say(port), silence)
            heard = time.monotonic()
        if heard is not None and time.monotonic() - heard >= silence:
            print(f"mawasu: the command said nothing for {silence:g} s; ending it", file=sys.stderr, flush=True)
            end(group, signal.SIGKILL)
            return
        await asyncio.sleep(max(0.0, now + silence / 6 - time.monotonic()))


async def say(port: int) -> None:
    """Raises OSError when nobody says anything to `GET /healthz`."""
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\r\n")
        if not await reader.read(1):
            raise ConnectionResetError
    finally:
        writer.close()


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
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--silence", type=float, default=SILENCE)
    parser.add_argument("--apart", action="store_true", help="every worker loads the model for itself")
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
        task = Task(options.socket, options.handler, options.model, options.workers, options.memory)
        return run_handler(task, options.apart)
    return run_command(options.socket, options.command, options.silence)


if __name__ == "__main__":
    sys.exit(main())
