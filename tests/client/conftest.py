from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mawasu.client import Answer, Api, AsyncApi
from mawasu.client.testing import FakeApi


class Caller:
    """Api or AsyncApi, asked alike."""

    def __init__(self, url: str, runner: asyncio.Runner | None, **told: Any) -> None:
        self._runner = runner
        self.api: Api[Any] | AsyncApi[Any] = Api(url, **told) if runner is None else AsyncApi(url, **told)

    def predict(self, item: Any, **told: Any) -> Answer[Any]:
        answer: Answer[Any] = self._done(self.api.predict(item, **told))
        return answer

    def predict_many(self, items: list[Any], **told: Any) -> list[Answer[Any]]:
        answers: list[Answer[Any]] = self._done(self.api.predict_many(items, **told))
        return answers

    def close(self) -> None:
        self._done(self.api.close())

    def _done(self, found: Any) -> Any:
        return found if self._runner is None else self._runner.run(found)


Made = Callable[..., Caller]


@pytest.fixture(params=["threads", "loop"])
def caller(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Makes callers that are closed at the end."""
    made: list[Caller] = []
    runner = asyncio.Runner() if request.param == "loop" else None

    def make(url: str, **told: Any) -> Caller:
        made.append(Caller(url, runner, **told))
        return made[-1]

    yield make
    for one in made:
        one.close()
    if runner is not None:
        runner.close()


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with FakeApi({"delay": 12}) as one:
        yield one
