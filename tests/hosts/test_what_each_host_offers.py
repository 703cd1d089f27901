"""What a caller asks of a notifier, it asks of one in any host, by the same name and with the same arguments."""

import asyncio
import inspect

import pytest
from hosted import EMAIL_ONLY, Post
from worlds import email

from actors import AsyncioNotifier, Notifier, ThreadNotifier

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

OPENS = {"open", "open_asyncio", "open_in_thread"}
"""What opens a notifier, in whichever host."""


class TracedPost(Post):
    def __init__(self):
        super().__init__()
        self.traces = []

    def attempt(self, attempt, now_ns):
        self.traces.append(attempt.traceparent)
        return super().attempt(attempt, now_ns)


@pytest.mark.parametrize("hosted", [AsyncioNotifier, ThreadNotifier])
def test_each_method_of_a_notifier_is_there_with_its_arguments(hosted):
    asked = {name for name in vars(Notifier) if not name.startswith("_")} - OPENS
    assert asked <= set(dir(hosted))
    for name in asked:
        method, here = getattr(Notifier, name), getattr(hosted, name)
        if inspect.isfunction(method):
            arguments, own = (inspect.signature(each).parameters for each in (method, here))
            assert list(arguments) == [argument for argument in own if argument in arguments]
            assert set(own) - set(arguments) <= {"timeout"}


def test_in_asyncio_one_cancels_asks_for_a_state_and_names_a_trace():
    async def main(post):
        async with Notifier.open_asyncio(EMAIL_ONLY, providers=lambda: post) as notifier:
            await notifier.send(email("traced"), traceparent=TRACE)
            await notifier.wait_until_quiet()
            await notifier.operate_breaker("email", "force-open")
            await notifier.send(email("waits"))
            assert (await notifier.state("waits")).state == "in flight"
            assert await notifier.cancel("waits")
            assert not await notifier.cancel("traced")
            assert [(await notifier.state(each)).state for each in ("traced", "waits")] == ["sent", "cancelled"]
            assert await notifier.state("unknown") is None

    asyncio.run(main(post := TracedPost()))
    assert post.traces == [TRACE]


def test_from_a_thread_one_cancels_asks_for_a_state_and_names_a_trace():
    post = TracedPost()
    with Notifier.open_in_thread(EMAIL_ONLY, providers=lambda: post) as notifier:
        notifier.send(email("traced"), traceparent=TRACE)
        notifier.wait_until_quiet()
        notifier.operate_breaker("email", "force-open")
        notifier.send(email("waits"))
        assert notifier.state("waits", timeout=20).state == "in flight"
        assert notifier.cancel("waits", timeout=20)
        assert not notifier.cancel("traced")
        assert [notifier.state(each).state for each in ("traced", "waits")] == ["sent", "cancelled"]
        assert notifier.state("unknown") is None
    assert post.traces == [TRACE]
