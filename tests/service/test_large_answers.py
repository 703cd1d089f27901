"""Large answers are few at once, whoever takes them slowly."""

from typing import Any

import pytest
import trio
from served import OTTO, service
from starlette.requests import Request
from starlette.responses import Response
from trio.testing import wait_all_tasks_blocked

from actors.service.large_answers import AT_ONCE, LARGE_BYTES, PATIENCE_S, LargeAnswers


class Asked:
    """Asks an application, and takes an answer only when it is let."""

    def __init__(self, app: Any, nursery: trio.Nursery) -> None:
        self._app = app
        self._nursery = nursery
        self.statuses: list[int] = []
        self.taken: list[int] = []
        self.may_take = trio.Semaphore(0)

    def ask(self, path: str, method: str = "GET") -> None:
        headers = [(b"authorization", f"Bearer {OTTO}".encode())]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        self._nursery.start_soon(self._app, scope, self._receive, self._send)

    async def _receive(self) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])
        else:
            if len(message["body"]) > LARGE_BYTES:
                await self.may_take.acquire()
            self.taken.append(len(message["body"]))


class Sized:
    """Answers with as many bytes as the path says, and counts what it has made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = Request(scope).url.path
        self.made.append(path)
        if path == "/fail":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"999999")]})
            raise ValueError
        await Response(b"x" * int(path[1:]))(scope, receive, send)


async def test_large_answers_are_made_four_at_once_and_small_ones_meanwhile(autojump_clock):
    app = Sized()
    async with trio.open_nursery() as nursery:
        asked = Asked(LargeAnswers(app), nursery)
        for _ in range(AT_ONCE + 3):
            asked.ask(f"/{LARGE_BYTES + 1}")
        await wait_all_tasks_blocked()
        assert asked.statuses == [200] * AT_ONCE
        asked.ask(f"/{LARGE_BYTES}")
        await wait_all_tasks_blocked()
        assert asked.taken == [LARGE_BYTES]
        for taken in range(1, AT_ONCE + 4):
            asked.may_take.release()
            await wait_all_tasks_blocked()
            assert asked.statuses.count(200) == 1 + min(AT_ONCE + taken, AT_ONCE + 3)
    assert len(asked.taken) == AT_ONCE + 4


async def test_one_that_waits_too_long_is_503_and_one_that_has_done_something_is_answered(autojump_clock):
    app = Sized()
    async with trio.open_nursery() as nursery:
        asked = Asked(LargeAnswers(app), nursery)
        for _ in range(AT_ONCE):
            asked.ask("/300000")
        await wait_all_tasks_blocked()
        asked.ask("/300001")
        asked.ask("/300002", "POST")
        await wait_all_tasks_blocked()
        assert asked.statuses[AT_ONCE:] == []
        await trio.sleep(PATIENCE_S + 1)
        assert asked.statuses[AT_ONCE:] == [503]
        asked.may_take.release()
        await wait_all_tasks_blocked()
        assert asked.statuses[AT_ONCE:] == [503, 200]
        assert app.made.count("/300002") == 1
        nursery.cancel_scope.cancel()


async def test_an_answer_that_ends_early_makes_room(autojump_clock):
    answers = LargeAnswers(Sized())
    for _ in range(2 * AT_ONCE):
        with pytest.RaisesGroup(ValueError):
            async with trio.open_nursery() as nursery:
                Asked(answers, nursery).ask("/fail")
    for _ in range(2 * AT_ONCE):
        async with trio.open_nursery() as nursery:
            Asked(answers, nursery).ask("/300000")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        asked = Asked(answers, nursery)
        asked.may_take.release()
        asked.ask("/300000")
    assert asked.taken == [300_000]


async def test_a_service_bounds_its_own(tmp_path):
    table = "channel,address,reason\n" + "".join(
        f"email,{number:0100}@example.com,bounced\n" for number in range(2_500)
    )
    async with service(tmp_path) as served, trio.open_nursery() as nursery:
        headers = {"authorization": f"Bearer {OTTO}", "content-type": "text/csv"}
        added = await served.client.post("/api/suppressions", content=table, headers=headers)
        assert added.json() == {"imported": 2_500}
        answers = served.server._http._app
        asked = Asked(answers, nursery)
        for _ in range(AT_ONCE + 2):
            asked.ask("/api/suppressions.csv")
        with trio.fail_after(60):
            while answers._room.statistics().tasks_waiting < 2:  # it is made in a thread
                await trio.sleep(0.01)
        assert asked.statuses == [200] * AT_ONCE
        nursery.cancel_scope.cancel()
