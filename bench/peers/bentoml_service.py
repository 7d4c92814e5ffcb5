"""BentoML, plain and with its adaptive batching (docs.bentoml.com/en/latest/get-started/adaptive-batching.html)."""

import os
from typing import Any

import bentoml
import model


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Plain:
    def __init__(self) -> None:
        self.model = model.load(os.environ["MODEL"])

    @bentoml.api
    async def predict(self, row: dict[str, Any]) -> dict[str, float]:
        return model.predict(self.model, [row])[0]


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Batching:
    def __init__(self) -> None:
        self.model = model.load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    async def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
        return model.predict(self.model, rows)
