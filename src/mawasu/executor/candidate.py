"""Asking a candidate before it takes traffic: its golden examples, and its answers against the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mawasu.errors import BlockedError
from mawasu.ports import Log
from mawasu.spec.examples import Example, difference
from mawasu.words import Endpoint

TIMEOUT = 30.0


@dataclass(frozen=True)
class Answer:
    """What a replica answered; `body` is None when it was not JSON."""

    status: int
    body: Any
    text: str


def ask(endpoint: Endpoint, example: Example) -> list[Answer]:
    """Send one example's request to every replica, past the gateway."""
    import httpx

    answers = []
    for socket in endpoint.sockets:
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://candidate") as client:
            try:
                response = client.request(
                    example.method, example.path, json=example.body, timeout=TIMEOUT, headers=dict(example.headers)
                )
            except httpx.HTTPError as error:
                raise BlockedError(
                    f"example `{example.name}`: the new version gave no answer ({error})", "see the revision's log"
                ) from error
        answers.append(Answer(response.status_code, _json(response.text), response.text))
    return answers


def check_examples(endpoint: Endpoint, examples: Sequence[Example], log: Log) -> dict[str, list[Answer]]:
    """Ask every example; raise BlockedError with all that differ. Returns the answers by example."""
    answers: dict[str, list[Answer]] = {}
    wrong: list[str] = []
    for example in examples:
        answers[example.name] = ask(endpoint, example)
        for answer in answers[example.name]:
            found = _differs(example, answer, answers)
            log.write(f"example `{example.name}`: {found or 'as expected'}")
            if found:
                wrong.append(f"example `{example.name}`: {found}")
    if wrong:
        raise BlockedError("; ".join(dict.fromkeys(wrong)), "mend the handler, or the example if it is out of date")
    return answers


def _differs(example: Example, answer: Answer, answers: Mapping[str, list[Answer]]) -> str | None:
    if answer.status != example.status:
        return f"answered {answer.status}, expected {example.status}: {answer.text[:200]}"
    if example.same_as is not None:
        return difference(answers[example.same_as][0].body, answer.body, example.tolerance)
    if example.expect is None:
        return None
    if answer.body is None:
        return f"the answer is not JSON: {answer.text[:200]}"
    return difference(example.expect, answer.body, example.tolerance)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
