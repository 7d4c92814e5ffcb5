"""Is what came an answer? Pure."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from mawasu.client.answer import ApiError
from mawasu.client.effects import Lost, Reply

LONGEST_MESSAGE = 300  # characters of the API's own words


def judge(came: Reply | Lost, count: int | None, request_id: str) -> list[str] | ApiError:
    """The JSON texts of the answers. `count`: that many items were asked for as an array; None: one, as itself."""
    if isinstance(came, Lost):
        return ApiError(came.code, came.message, request_id=request_id)
    request_id = came.headers.get("x-request-id", request_id)
    if came.status != 200:
        return ApiError(*_refusal(came), status=came.status, request_id=request_id)
    try:
        value = json.loads(came.body, parse_constant=_refuse)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        return ApiError("garbage", "the answer is not JSON", status=200, request_id=request_id)
    if count is None:
        return [came.body.decode()]
    if not isinstance(value, list) or len(value) != count:
        return ApiError("garbage", f"the answer is not an array of {count}", status=200, request_id=request_id)
    return [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in value]


def _refusal(came: Reply) -> tuple[Any, str]:
    """(code, the API's own words: `{"code": N, "message": "…"}`)."""
    code = "busy" if came.status in (429, 503) else "broken" if came.status >= 500 else "refused"
    try:
        said = json.loads(came.body)
        message = said["message"] if isinstance(said, dict) else ""
    except (ValueError, KeyError, RecursionError):
        message = ""
    words = "".join(letter if letter.isprintable() else " " for letter in str(message))[:LONGEST_MESSAGE]
    return code, f"{came.status} {words}".strip()


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
