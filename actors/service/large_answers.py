"""Large answers, few at once: each stands in memory until its client has taken it."""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.service.http.bodies import not_now

LARGE_BYTES: Final = 256_000
"""An answer of more bytes is large."""

AT_ONCE: Final = 4
"""Large answers that are made, or being sent, at once."""

PATIENCE_S: Final = 10.0
"""Seconds that a request waits until another large answer has been sent."""


class LargeAnswers:
    """ASGI middleware that bounds how many large answers there are at once.

    The size of an answer shows when it is made. If there are too many large answers, a new answer to a GET is dropped
    at once, and made again when there is room; after `PATIENCE_S` the answer is 503. The answer to a request that may
    have changed something, such as a POST, waits as long as it takes: so its caller learns the result, and does not
    repeat the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._room = trio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_room, only_reads = False, scope["method"] in ("GET", "HEAD")
        attempt = trio.CancelScope()

        async def send_if_room(message: Message) -> None:
            nonlocal has_room
            if not has_room and _is_large(message):
                if only_reads and not self._room.value:
                    attempt.cancel()
                await self._room.acquire()
                has_room = True
            await send(message)

        try:
            with attempt:
                await self._app(scope, receive, send_if_room)
            if not attempt.cancelled_caught:
                return
            with trio.move_on_after(PATIENCE_S):
                await self._room.acquire()
                has_room = True
            if has_room:
                await self._app(scope, receive, send)
            else:
                await not_now("too many large answers are being sent")(scope, receive, send)
        finally:
            if has_room:
                self._room.release()


def _is_large(message: Message) -> bool:
    if message["type"] != "http.response.start":
        return False
    lengths = [int(value) for name, value in message["headers"] if name == b"content-length"]
    return any(length > LARGE_BYTES for length in lengths)
