"""Asking a candidate before it takes traffic: its golden examples, and its answers against the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from mawasu.errors import BlockedError
from mawasu.ports import Log
from mawasu.spec.examples import Example, difference
from mawasu.words import Endpoint

if TYPE_CHECKING:
    import httpx

TIMEOUT = 30.0
SHOWN = 2  # differing examples that one line tells; the step's log has all

Identity = Callable[[str], str]
"""An audience → a token that says who asks: for endpoints that have a URL."""

Printed = Callable[[str], Sequence[str]]
"""A text → the last lines that the candidate printed, once one of them holds it (or too long after)."""


class Answer(msgspec.Struct, frozen=True):
    """What a replica answered; `body` is UNSET when it was not JSON, `kind` the content type."""

    status: int
    text: str
    body: Any = UNSET
    kind: str = ""


def ask(endpoint: Endpoint, example: Example, identity: Identity | None = None) -> list[Answer]:
    """Send one example's request past the gateway: to every replica that has a socket, or to the revision's URL."""
    import httpx

    answers = []
    for client in clients(endpoint, identity):
        with client:
            try:
                body = {} if example.request.body is UNSET else {"json": example.request.body}
                response = client.request(example.request.method, example.request.path, **body)
            except httpx.HTTPError as error:
                raise BlockedError(
                    f"example `{example.name}`: the new version gave no answer ({error})", "see the revision's log"
                ) from error
        kind = response.headers.get("content-type", "")
        answers.append(Answer(response.status_code, response.text, _json(response.text), kind))
    return answers


def clients(endpoint: Endpoint, identity: Identity | None) -> Iterator[httpx.Client]:
    """One for every replica that has a socket, or one for the revision's URL."""
    import httpx

    for socket in endpoint.sockets:
        yield httpx.Client(
            transport=httpx.HTTPTransport(uds=socket), base_url="http://candidate", timeout=TIMEOUT, trust_env=False
        )
    if endpoint.url:
        headers = {} if identity is None else {"authorization": f"Bearer {identity(endpoint.audience)}"}
        yield httpx.Client(base_url=endpoint.url, headers=headers, timeout=TIMEOUT)


def check_examples(
    endpoint: Endpoint, examples: Sequence[Example], log: Log, printed: Printed, identity: Identity | None = None
) -> dict[str, list[Answer]]:
    """Ask every example; raise BlockedError with all that differ. Returns the answers by example."""
    answers: dict[str, list[Answer]] = {}
    wrong: list[str] = []
    for example in sorted(examples, key=lambda example: example.same_as is not None):
        answers[example.name] = ask(endpoint, example, identity)
        for answer in answers[example.name]:
            found = _differs(example, answer, answers, printed)
            log.write(f"example `{example.name}`: {found or 'as expected'}")
            if found:
                wrong.append(f"example `{example.name}`: {found}")
    if wrong:
        told = list(dict.fromkeys(wrong))
        left = len(told) - SHOWN
        more = f"; and {left} more example{'s differ' if left > 1 else ' differs'} (`mawasu logs`)" if left > 0 else ""
        hint = "mend the handler, or the example if it is out of date"
        raise BlockedError("; ".join(told[:SHOWN]) + more, hint)
    return answers


def _differs(example: Example, answer: Answer, answers: Mapping[str, list[Answer]], printed: Printed) -> str | None:
    if answer.status != example.expect.status:
        cause = cause_of(answer.text, printed) or answer.text
        return f"answered {answer.status}, expected {example.expect.status}: {cause[:200]}"
    if example.expect.body is not UNSET:
        if answer.body is UNSET:
            return f"the answer is not JSON: {answer.text[:200]}"
        found = difference(example.expect.body, answer.body, example.tolerance)
        if found:
            return found
    if example.same_as is not None:
        other = answers[example.same_as][0].body
        found = difference(other, answer.body, example.tolerance, exactly=True)
        return f"{found} (the answer of `{example.same_as}`)" if found else None
    return None


def cause_of(text: str, printed: Printed) -> str:
    """The exception behind a failed answer: callers get only an id, under which the candidate's log says more."""
    body = _json(text)
    trace = body.get("id") if isinstance(body, dict) else None
    if not isinstance(trace, str):
        return ""
    for line in printed(f"{trace}: "):
        _, found, cause = line.partition(f"{trace}: ")
        if found:
            return cause
    return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return UNSET
