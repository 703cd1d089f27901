"""Erasing a user's letters, and waiting until it is quiet: both are true when they answer, on every store."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from desks import Provided
from effort import sliced
from shelves import command, shelf

from actors import Notifier
from actors.domain.attempts import Attempt, Provider
from actors.kernel.effects import Effect
from actors.messages import NotificationMovedToDeadLetter
from actors.outcomes import Outcome, Permanent
from actors.pipeline.dead_letter_queue import RedriveDeadLetter
from actors.service.operations.dead_letters import DeadLetters
from actors.storage.sqlite.store import SqliteStore

MANY = 400
"""More than the loop takes in one piece, after which it lets others in."""

MOMENTS = {"at once": 0, "the first has died": 1, "half have died": MANY // 2, "all have died": MANY}


class Deaths:
    """Opens a notifier whose notifications die as they come."""

    def __init__(self, notifier: Notifier, nursery: trio.Nursery) -> None:
        self.notifier = notifier
        self.letters = DeadLetters(notifier, nursery)

    async def send(self, count: int) -> None:
        """Send so many of Ann's; return when all are accepted."""
        for answer in [self.notifier.send(command(f"n{n}", message="bad: no", user_id="ann")) for n in range(count)]:
            await answer


async def erased_while_they_die(kind: str, directory: Path, count: int, moment: int, **config: Any) -> None:
    """Erase a user when so many of the user's notifications have died, and check what is said of it."""
    died, reached = 0, trio.Event()

    def watch(event: object) -> None:
        nonlocal died
        died += type(event) is NotificationMovedToDeadLetter
        if died >= moment:
            reached.set()

    async with (
        shelf(kind, directory) as made,
        Notifier.open(config, providers=Provided(), store=made.store, on_event=watch) as notifier,
        trio.open_nursery() as nursery,
    ):
        deaths = Deaths(notifier, nursery)
        await deaths.send(count)
        await reached.wait()
        erased = await deaths.letters.erase("ann", by="otto")
        left, in_flight = len(notifier.dead_letter_queue), notifier.in_flight
        assert erased.in_flight == in_flight + left
        assert left == 0 or erased.in_flight > 0
        assert erased.cancelled + erased.discarded + left + in_flight <= count
        assert await notifier.wait_until_quiet()
        again = await deaths.letters.erase("ann", by="otto")
        assert again.in_flight == 0
        assert notifier.dead_letter_queue == [] == list(made.store.dead_letters())
        if not config:
            assert erased.cancelled + erased.discarded + again.discarded == count


@pytest.mark.parametrize("moment", sliced([pytest.param(count, id=name) for name, count in MOMENTS.items()], 4))
async def test_nothing_is_left_that_is_not_said_to_be_in_flight(kind, moment, tmp_path):
    await erased_while_they_die(kind, tmp_path, MANY, moment)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_nor_while_the_queue_discards_what_is_too_much(moment, tmp_path):
    await erased_while_they_die("sqlite", tmp_path, MANY, moment, dead_letters={"at_most": MANY // 4})


@pytest.mark.slow
@pytest.mark.parametrize("at_most", [10**6, 500])
@pytest.mark.parametrize("count", [1_000, 5_000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 1.0])
async def test_nor_of_thousands(kind, count, share, at_most, tmp_path):
    await erased_while_they_die(kind, tmp_path, count, int(share * count), dead_letters={"at_most": at_most})


async def test_when_it_is_quiet_every_letter_can_be_seen(kind, tmp_path):
    async with (
        shelf(kind, tmp_path) as made,
        Notifier.open(providers=Provided(), store=made.store) as notifier,
        trio.open_nursery() as nursery,
    ):
        deaths = Deaths(notifier, nursery)
        nursery.start_soon(deaths.send, MANY)
        while notifier.in_flight == 0 and not notifier.dead_letter_queue:
            await trio.lowlevel.checkpoint()
        assert await notifier.wait_until_quiet()
        assert len(notifier.dead_letter_queue) == len(deaths.letters.list(limit=MANY + 1).letters) == MANY


async def test_many_letters_are_durable_together_when_they_are_erased(tmp_path):
    async with (
        SqliteStore.open(tmp_path / "store.db") as store,
        Notifier.open(providers=Provided(), store=store) as notifier,
        trio.open_nursery() as nursery,
    ):
        deaths = Deaths(notifier, nursery)
        await deaths.send(200)
        await notifier.wait_until_quiet()
        before = store.transactions
        assert (await deaths.letters.erase("ann", by="otto")).discarded == 200
        assert store.transactions - before < 50  # mostly 2, where each was one of its own


class Held(Provider):
    """Refuses all for good, but for what waits until it is released."""

    def __init__(self) -> None:
        self.release = trio.Event()

    async def release_soon(self) -> None:
        """Let it go on when all others wait."""
        await trio.testing.wait_all_tasks_blocked()
        self.release.set()

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        async def answer() -> Outcome:
            if attempt.command.message == "waits":
                await self.release.wait()
            return Permanent(reason="no")

        return answer


async def test_a_redrive_that_waits_for_room_is_refused_when_its_letter_is_erased(kind, tmp_path):
    provider = Held()
    async with (
        shelf(kind, tmp_path) as made,
        Notifier.open({"max_pending": 1}, providers=provider, store=made.store) as notifier,
        trio.open_nursery() as nursery,
    ):
        deaths = Deaths(notifier, nursery)
        await deaths.send(1)
        await notifier.wait_until_quiet()
        await notifier.send(command("b", message="waits", user_id="bob"))
        answer: list[bool] = []

        async def retry() -> None:
            answer.append(await deaths.letters.retry("n0", by="otto"))

        nursery.start_soon(retry)
        await trio.testing.wait_all_tasks_blocked()
        assert notifier.dead_letter_queue == []  # it waits for room
        assert await deaths.letters.discard("n0", by="otto", why="somebody else was first") is False
        erased = await deaths.letters.erase("ann", by="otto")
        assert (erased.discarded, erased.in_flight) == (1, 0)
        assert (await deaths.letters.erase("bob", by="otto")).in_flight == 1  # an attempt of his is at the provider
        assert list(made.store.dead_letters()) == []
        provider.release.set()
        assert await notifier.wait_until_quiet()
        await trio.testing.wait_all_tasks_blocked()
        assert answer == [False]
        assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["b"]


async def test_it_is_not_quiet_while_a_redrive_waits_and_is_as_soon_as_that_is_refused(autojump_clock):
    provider = Held()
    async with Notifier.open({"max_pending": 1}, providers=provider) as notifier, trio.open_nursery() as nursery:
        await Deaths(notifier, nursery).send(1)
        await notifier.wait_until_quiet()
        await notifier.send(command("b", message="waits"))
        assert await notifier.pipeline.dead_letter_queue.ask(RedriveDeadLetter(notification_id="n0"), block=False)
        assert notifier.dead_letter_queue == []
        del notifier.pipeline.store._dead["n0"]  # as when another node is faster
        began = trio.current_time()
        nursery.start_soon(provider.release_soon)
        assert await notifier.wait_until_quiet(50)
        assert trio.current_time() == began
        assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["b"]
