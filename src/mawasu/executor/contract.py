"""A candidate against its OpenAPI document, before it takes traffic: its examples' answers, and requests made from it.

Who reads what a pusher wrote is a process of its own each time, bounded in time and memory, without any of our
secrets (`confined.py`): `requests.py` makes the requests, once for a document; `examiner.py` decides what is asked and
what an answer is worth. What they decide is done here, one request at a time.
"""

from __future__ import annotations

import base64
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from mawasu.errors import BlockedError, CancelledError
from mawasu.executor.candidate import Answer, Identity, Printed, cause_of, clients
from mawasu.executor.confined import Confined
from mawasu.executor.examiner import Example as Asked
from mawasu.executor.examiner import Given, Said, Wrong
from mawasu.executor.requests import Document, Made, Requests
from mawasu.gateway.contract import Ask, Came
from mawasu.ports import Cancel, Log
from mawasu.spec.examples import Example
from mawasu.words import Endpoint, Handler

if TYPE_CHECKING:
    import httpx

THINK = 20.0
"""Seconds that one of the processes may take for one of its turns."""
BOX = 10.0
"""Seconds after which no further request is begun; the last one still has its own time."""
LONGEST = 15.0
"""Seconds that an answer is waited for, whatever more the document gives it."""
MOST = 2**20
"""Bytes of an answer that are looked at: what streams on is not waited for."""
TRIES = 4  # while a candidate says 503 and when to come again: its worker is being restarted
SHOWN = 160  # characters of a body
CALLER = "contract-check"


# ---------------------------------------------------------------------------------------------------- requests


def make_requests(text: str, file: str, log: Log, cancel: Cancel, think: float = THINK) -> Requests:
    """The requests that a document gives. Whatever keeps some from being made is said, and stops nobody."""
    made: list[Made] = []
    with Confined("mawasu.executor.requests", cancel) as engine:
        engine.tell(Document(text, file))
        while (one := engine.hear(Made, think)) is not None and one.operation:
            made.append(one)
            log.write(f"{one.operation}: {len(one.asks)} requests{f' ({one.none})' if one.none else ''}")
        if one is None:
            _stopped(cancel)
            why = f"took more than {think:g} seconds" if engine.late else engine.last_words
            log.write(f"no more requests could be made: {why}")
    return Requests(tuple(made))


def _stopped(cancel: Cancel) -> None:
    if cancel.is_set():
        raise CancelledError("given up: a newer push took its place")


# ---------------------------------------------------------------------------------------------------- the check


@dataclass(frozen=True)
class Candidate:
    """Whom to ask, and how to find out what is behind an answer."""

    endpoint: Endpoint
    handler: Handler
    printed: Printed
    identity: Identity | None = None


def check_contract(
    text: str,
    file: str,
    examples: Sequence[Example],
    answers: Mapping[str, list[Answer]],
    requests: Requests,
    candidate: Candidate,
    log: Log,
    cancel: Cancel,
    think: float = THINK,
    box: float = BOX,
) -> str:
    """What was checked, in one line. Raises BlockedError with the smallest request whose answer is not the document's.

    Of faults of one kind in one operation only the first is told.
    """
    asks = tuple(ask for made in requests.made for ask in made.asks if _reaches(ask, candidate.handler))
    given = Given(text, file, tuple(_asked(one, answers[one.name]) for one in examples), asks)
    wrong: dict[tuple[str, str], Wrong] = {}
    tried, until = 0, time.monotonic() + box
    with Confined("mawasu.executor.examiner", cancel) as examiner, next(clients(*_whom(candidate))) as client:
        examiner.tell(given)
        while True:
            said = examiner.hear(Said, think)
            if said is None:
                _stopped(cancel)
                raise _unchecked(examiner, think)
            if said.examples:
                for line in said.examples:
                    log.write(line)
                raise BlockedError("; ".join(said.examples), f"make the answer and {file} agree")
            if said.wrong is not None:
                wrong[said.wrong.ask.operation, said.wrong.kind] = said.wrong
            elif said.ask is not None and time.monotonic() < until:
                examiner.tell(send(client, said.ask))
                tried += 1
            elif said.examples is None:
                break
    if wrong:
        raise _blocked(list(wrong.values()), file, candidate, log)
    short = "" if said.ask is None else f" ({box:g} seconds were over then)"
    made = f" and {tried} requests{short}" if asks else ""
    if not examples and not asks:
        return f"nothing was asked: there are no examples for {file} (api.examples)"
    return f"{len(examples)} examples{made} agree with {file}"


def _whom(candidate: Candidate) -> tuple[Endpoint, Identity | None]:
    return candidate.endpoint, candidate.identity


def _reaches(ask: Ask, handler: Handler) -> bool:
    """A handler is shown the body alone, so it cannot be held to what stands in a path or query."""
    return not (handler.target and ask.where in ("path", "query"))


def _asked(example: Example, answers: Sequence[Answer]) -> Asked:
    came = tuple(Came(answer.status, answer.kind, answer.text) for answer in answers)
    return Asked(example.name, example.request.method, example.request.path, came)


def _unchecked(examiner: Confined, think: float) -> BlockedError:
    if examiner.late:
        message = f"it was not checked within {think:g} seconds"
        return BlockedError(message, "is there a pattern or a path in the OpenAPI file that takes for ever?")
    return BlockedError(f"it cannot be checked: {examiner.last_words}", "does the OpenAPI file say what you mean?")


# ---------------------------------------------------------------------------------------------------- asking


def send(client: httpx.Client, ask: Ask) -> Came:
    """Ask once, or again while the candidate says when to come back. Never raises for what it does."""
    for _ in range(TRIES):
        came, again = _send(client, ask, min(ask.within, LONGEST))
        if came.status != 503 or not again:
            break
        time.sleep(0.3)
    return came


def _send(client: httpx.Client, ask: Ask, within: float) -> tuple[Came, bool]:
    import httpx

    headers = {"content-type": ask.kind} if ask.data is not None and ask.kind else {}
    headers |= {**ask.headers, **_caller(), "user-agent": f"mawasu-{CALLER}"}
    data = None if ask.data is None else ask.data.encode()
    until = time.monotonic() + within
    try:
        with client.stream(ask.method, ask.path, content=data, headers=headers, timeout=within) as response:
            body, cut = bytearray(), False
            for chunk in response.iter_bytes():
                body += chunk
                cut = len(body) > MOST or time.monotonic() > until
                if cut:
                    break
            kind = response.headers.get("content-type", "")
            text = body[:MOST].decode(errors="replace")
            return Came(response.status_code, kind, text, cut), "retry-after" in response.headers
    except httpx.TimeoutException:
        return Came(0, text=f"no answer within {within:g} seconds", cut=within < ask.within), False
    except httpx.HTTPError as error:
        return Came(0, text=f"no answer: {type(error).__name__} {error}"), False


def _caller() -> dict[str, str]:
    """Who calls, as the gateway tells it to a back end."""
    claims = json.dumps({"iss": "mawasu", "sub": CALLER}, separators=(",", ":")).encode()
    told = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    return {"x-endpoint-api-userinfo": told, "x-mawasu-consumer": CALLER}


# ---------------------------------------------------------------------------------------------------- telling


def _blocked(wrong: Sequence[Wrong], file: str, candidate: Candidate, log: Log) -> BlockedError:
    """Faults for people: the first in one line, all of them in the log."""
    lines = []
    for one in wrong:
        came = _came(one, candidate.printed)
        says = one.says.replace("the document", file)
        lines.append(f"{_request(one.ask)} was answered {came}; {says}")
        told = (f"{one.ask.method} {one.ask.path}", *_body(one.ask), f"came: {came}", f"but: {says}")
        log.write("\n  ".join((*told, f"again: {again(one.ask, candidate.handler)}")))
    more = f"; and {len(wrong) - 1} faults of other kinds (`mawasu logs`)" if len(wrong) > 1 else ""
    hint = f"mend the api or {file}; to see it again: {again(wrong[0].ask, candidate.handler)}"
    return BlockedError(lines[0] + more, hint)


def _request(ask: Ask) -> str:
    body = " without a body" if ask.data is None else f" with {_short(ask.data)}"
    return f"{ask.method} {ask.path}{body if ask.data is not None or ask.method not in ('GET', 'HEAD') else ''}"


def _body(ask: Ask) -> tuple[str, ...]:
    return () if ask.data is None else (f"{ask.kind}: {ask.data}",)


def _came(wrong: Wrong, printed: Printed) -> str:
    if wrong.came.status == 0:
        return f"nothing ({wrong.came.text})"
    cause = cause_of(wrong.came.text, printed) or _short(wrong.came.text)
    return f"{wrong.came.status} ({cause})" if cause else str(wrong.came.status)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def again(ask: Ask, handler: Handler) -> str:
    """A command that asks the same of the working tree: of the handler itself, or of a server on port 8000."""
    if handler.target and ask.data is not None:
        name, _, function = handler.target.partition(":")
        code = f"import json, os, sys, {name} as h; body = json.loads(sys.argv[1]); "
        code += 'model = getattr(h, "load", str)(os.environ["MAWASU_MODEL"]); '
        code += f"print(h.{function}(model, body if isinstance(body, list) else [body]))"
        return "MAWASU_MODEL=DIRECTORY " + shlex.join(["python", "-c", code, ask.data])
    words = ["curl", "-i", "-X", ask.method, f"http://127.0.0.1:8000{ask.path}"]
    words += [f"-H{name}: {value}" for name, value in ask.headers.items()]
    if ask.data is not None:
        words += ["-H", f"content-type: {ask.kind}", "--data-raw", ask.data]
    return shlex.join(words)


def encode(requests: Requests) -> bytes:
    """As they are kept in the store."""
    return msgspec.json.encode(requests)


def decode(data: bytes) -> Requests:
    return msgspec.json.decode(data, type=Requests)
