"""The process that decides what a candidate is asked next, and what is wrong with an answer (see `contract.py`).

It reads what a pusher wrote (patterns, references, what a candidate answered) and asks nobody itself: one JSON value a
line, `Given` in, then `Said` out and `Came` in by turns.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence

import msgspec

from mawasu.executor.confined import in_process
from mawasu.gateway.contract import Ask, Came, Contract, judge, simpler, size
from mawasu.gateway.openapi import Reading
from mawasu.words import Value

SMALLER = 60  # requests that may be spent on making one that failed smaller


class Example(Value, frozen=True):
    """An example that was asked before, and what every replica answered."""

    name: str
    method: str
    path: str
    came: tuple[Came, ...]


class Given(Value, frozen=True):
    text: str
    file: str
    examples: tuple[Example, ...] = ()
    asks: tuple[Ask, ...] = ()


class Wrong(Value, frozen=True):
    """An answer that the document does not have: the request, what came, what the document says."""

    ask: Ask
    kind: str
    came: Came
    says: str


class Said(Value, frozen=True):
    """One of: the faults of the examples, a request to be asked, a fault found. None of them: that was all."""

    examples: tuple[str, ...] | None = None
    ask: Ask | None = None
    wrong: Wrong | None = None


def of_examples(contract: Contract, examples: Iterable[Example]) -> tuple[str, ...]:
    """A line for each example that is no operation of the document, and for each answer that does not fit."""
    wrong: list[str] = []
    for one in examples:
        what = f"{one.method} {one.path} (example `{one.name}`)"
        found = contract.find(one.method, one.path)
        if found is None:
            wrong.append(f"{what} is not in the OpenAPI document")
            continue
        faults = (contract.fault(found, came) for came in one.came)
        wrong += [f"{what}: {fault}" for fault in faults if fault]
    return tuple(dict.fromkeys(wrong))


def examine(contract: Contract, asks: Sequence[Ask]) -> Generator[Said, Came | None, None]:
    """Ask all, the smallest first. The first fault of a kind in an operation is told, and again when it got smaller."""
    told: set[tuple[str, str]] = set()
    for ask in sorted(asks, key=lambda one: (len(one.data or "") + len(one.path), one.data or "", one.path)):
        wrong = yield from _try(contract, ask)
        if wrong is None or (ask.operation, wrong.kind) in told:
            continue
        told.add((ask.operation, wrong.kind))
        yield Said(wrong=wrong)
        smaller = yield from _smaller(contract, wrong)
        if smaller != wrong:
            yield Said(wrong=smaller)


def _try(contract: Contract, ask: Ask) -> Generator[Said, Came | None, Wrong | None]:
    came = yield Said(ask=ask)
    found = contract.find(ask.method, ask.path)
    assert came is not None
    assert found is not None, "only operations of the document are asked"
    kind, says = judge(contract, found, ask, came)
    return Wrong(ask, kind, came, says) if kind else None


def _smaller(contract: Contract, wrong: Wrong) -> Generator[Said, Came | None, Wrong]:
    """The same kind of fault by a smaller JSON body, which the document allows, or does not allow, as before."""
    found = contract.find(wrong.ask.method, wrong.ask.path)
    if found is None or wrong.ask.data is None or wrong.ask.where in ("path", "query"):
        return wrong
    tries = 0
    while True:
        body = json.loads(wrong.ask.data or "null")
        for less in simpler(body):
            said = contract.against(found, wrong.ask.kind, less)
            if bool(said) != bool(wrong.ask.wrong) or size(less) >= size(body):
                continue
            if tries == SMALLER:
                return wrong
            tries += 1
            data = json.dumps(less)
            again = yield from _try(contract, msgspec.structs.replace(wrong.ask, data=data, wrong=said))
            if again is not None and again.kind == wrong.kind:
                wrong = again
                break
        else:
            return wrong


def main() -> None:
    with in_process() as parent:
        given = parent.hear(Given)
        contract = Contract(Reading(given.text, given.file))
        parent.tell(Said(examples=of_examples(contract, given.examples)))
        turns = examine(contract, given.asks)
        came: Came | None = None
        while True:
            try:
                said = turns.send(came)
            except StopIteration:
                break
            parent.tell(said)
            came = parent.hear(Came) if said.ask is not None else None
        parent.tell(Said())


if __name__ == "__main__":
    main()
