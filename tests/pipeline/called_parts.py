"""What a program that is drawn calls its notifier with: providers, preferences, templates, and a clock."""

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.domain.attempts import Attempt, WrappedProvider
from actors.kernel.effects import Effect
from actors.messages import SendNotification
from actors.storage.sqlite.store import SqliteStore

HUNG_S = 1e9
"""By then every program has ended."""


class Asked(WrappedProvider):
    """Notes when it is asked, and may refuse recipients."""

    def __init__(self, provider: Any, asked_ns: dict[str, int], is_choosy: bool) -> None:
        super().__init__(provider)
        self._asked_ns = asked_ns
        self._is_choosy = is_choosy

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        self._asked_ns[attempt.command.notification_id] = now_ns
        return self._provider.attempt(attempt, now_ns)

    def recipient_problem(self, command: SendNotification) -> str | None:
        return no_bobs(command) if self._is_choosy else None


def no_bobs(command: SendNotification) -> str | None:
    return "wanted anyone but bob" if "bob" in command.recipient else None


def clock_for_tests() -> MockClock:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    return clock


async def pass_time(store: SqliteStore) -> None:
    """Have the clock for tests go on to what is due next each time that nothing is under way, in the store neither."""
    while True:
        await wait_all_tasks_blocked()
        written = store.transactions
        await store.past("nobody-has-this-id")  # which is answered behind all that has been handed over
        await wait_all_tasks_blocked()
        if store.transactions == written and not store._to_do:
            clock_for_tests().jump(min(HUNG_S, trio.lowlevel.current_statistics().seconds_to_next_deadline))
