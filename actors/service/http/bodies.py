r"""Bodies of requests: how many bytes are read, and which JSON is taken.

JSON can write half of a surrogate pair, such as ``\ud800`` alone, with an escape, but it is no text. msgspec then says
that the data was truncated, or names a byte; Python's own reader takes the text, which then breaks the answer, or the
store.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

BODY_MAX = 2**20
"""Bytes of a request's body."""

DEPTH_MAX = 64
"""How deep lists and objects may be nested in JSON. Reading, freezing, storing and sending take a piece of the stack
for each level; Python's ends between 100 and 500 levels."""

VALUES_MAX = 100_000
"""How many values and members there may be in JSON, all together: a million empty lists fit into a short body, and take
a second to go through."""

SETTINGS_VALUES_MAX = 10_000
"""How many values there may be in the body of an operator's request."""

NO_TEXT = "half a surrogate pair is no text"

_EXPLAINED_MAX = 2**16
"""Bytes of a body that is read a second time, to explain its problem."""


def not_now(why: str) -> JSONResponse:
    """Return the answer to a request that the client should repeat in a second."""
    return JSONResponse({"detail": why}, 503, {"Retry-After": "1"})


class Refusal(Exception):
    """A request is answered by this status and ``{"problems": […]}``."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem


async def content_or_nothing(request: Request) -> Any:
    """Return what the body of an operator's request says; none is as if it were an empty object. Raise HTTPException
    where it is too long, or no JSON, or nested too deep."""
    headers = request.headers
    has_one = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    return await content_of(request, SETTINGS_VALUES_MAX) if has_one else {}


async def object_of(request: Request) -> dict[str, Any]:
    """Return the object that the body of a request for settings is; raise Refusal where it is too long, or no JSON, or
    no object."""
    body = await body_of(request, BODY_MAX, Refusal(413, f"wanted at most {BODY_MAX:,} bytes"))
    try:
        content = json.loads(body)
        if (problem := problem_of_shape(content, SETTINGS_VALUES_MAX)) is not None:
            raise ValueError(problem)
        if has_half_a_character(content):  # which could not be answered, nor kept
            raise ValueError(NO_TEXT)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"wanted JSON: {error}") from None
    if not isinstance(content, dict):
        raise Refusal(422, "wanted an object")
    return content


async def content_of(request: Request, values_max: int = VALUES_MAX) -> Any:
    """Return the content of the body, which may have `values_max` values; raise HTTPException where the body is too
    long, has too many values, is no JSON, or is nested too deep."""
    too_long = HTTPException(413, f"wanted a body of at most {BODY_MAX:,} bytes")
    body = await body_of(request, BODY_MAX, too_long)
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = _reason_of(error)
        if _is_but_for_half_a_character(body):
            reason = NO_TEXT
        raise HTTPException(400, f"wanted JSON: {reason}") from None
    if (problem := problem_of_shape(content, values_max)) is not None:
        raise HTTPException(400, problem)
    return content


def _reason_of(error: Exception) -> str:
    if not isinstance(error, msgspec.DecodeError):
        return "not UTF-8, or too deep"
    text = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if text == "Input data was truncated" else text


async def body_of(request: Request, at_most: int, too_long: Exception) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > at_most:
        raise too_long
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > at_most:
                raise too_long
    return bytes(body)


def problem_of_shape(content: Any, values_max: int = VALUES_MAX) -> str | None:
    """Return the problem with the depth or the number of values in lists and objects; None: there is none.

    It takes no stack of its own, and looks no further than it has to.
    """
    level, left = [content] if isinstance(content, (dict, list)) else [], values_max
    for _ in range(DEPTH_MAX):
        left -= sum(map(len, level))
        if left < 0:
            return f"wanted at most {values_max:,} values"
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return None
    return f"wanted lists and objects that are nested at most {DEPTH_MAX} deep"


def has_half_a_character(content: Any) -> bool:
    """Return whether half of a surrogate pair is anywhere in what JSON says, keys included."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_but_for_half_a_character(body: bytes) -> bool:
    """Return whether JSON that msgspec does not read is that otherwise, but for half of a surrogate pair."""
    if len(body) > _EXPLAINED_MAX:
        return False
    try:
        return has_half_a_character(json.loads(body))
    except (ValueError, RecursionError):
        return False
