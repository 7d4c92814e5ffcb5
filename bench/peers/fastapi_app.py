"""FastAPI as its manual says: the row a Pydantic model, the answer one too (serialized in Rust).

`async def`, because nothing here waits: a plain `def` would send every request to a thread and back
(fastapi.tiangolo.com/async, "In a hurry?").
"""

import os
from typing import Any

import model
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
loaded: dict[str, Any] = model.load(os.environ["MODEL"])


class Row(BaseModel):
    carrier: str
    origin: str
    dest: str
    hour: int
    distance: int
    temp: float
    humid: float
    wind_speed: float
    precip: float
    visib: float


class Answer(BaseModel):
    late: float


@app.post("/predict")
async def predict(row: Row) -> Answer:
    return Answer(**model.predict(loaded, [row.model_dump()])[0])
