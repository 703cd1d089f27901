"""The private parts of trio and the standard library that a world uses: a version without one of them fails here."""

import inspect
import queue
import random
import threading
import time

import time_machine
import trio
import trio.testing
from trio._core import _run, _traps

from simulation.world.clock import START_S, stepping_clock
from simulation.world.sockets import origin
from simulation.world.waiting import memory_channels


def test_trio_has_what_the_world_replaces() -> None:
    assert isinstance(_run._r, random.Random)
    assert _run._ALLOW_DETERMINISTIC_SCHEDULING in (True, False)
    assert "batch.sort(key=lambda t: t._counter)" in inspect.getsource(_run.unrolled_run)
    assert list(inspect.signature(trio._threads.start_thread_soon).parameters) == ["fn", "deliver", "name"]
    assert list(inspect.signature(trio._threads._send_message_to_trio).parameters) == ["trio_token", "message_to_trio"]
    assert trio._threads.Run(trio.sleep, (1,)).queue.empty()
    assert trio._threads.to_thread_run_sync.__globals__["start_thread_soon"] is trio._threads.start_thread_soon


async def test_a_checkpoint_and_a_wait_are_told_apart_by_what_they_yield() -> None:
    checkpoint = trio.lowlevel.cancel_shielded_checkpoint()
    assert checkpoint.send(None) is _traps.CancelShieldedCheckpoint
    checkpoint.close()
    waits = trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
    assert callable(waits.send(None).abort_func)
    waits.close()
    assert trio.lowlevel.current_task()._schedule_points > 0


async def test_a_task_says_when_its_wait_ends() -> None:
    with trio.move_on_after(3):
        deadline = trio.lowlevel.current_task()._cancel_status.effective_deadline()
    assert deadline - trio.current_time() <= 3
    assert trio.lowlevel.current_task()._cancel_status.effective_deadline() == float("inf")
    assert trio.lowlevel.current_task()._counter >= 0


async def test_memory_channels_call_the_methods_that_the_world_replaces() -> None:
    piled_up: list[str] = []
    with memory_channels(piled_up.append):
        send, receive = trio.open_memory_channel[str](1)
        token = origin.set("payments-0-7")
        await send.send("a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send.send, "b")  # which waits for room
            await trio.testing.wait_all_tasks_blocked()
            origin.set("payments-0-8")
            assert [await receive.receive(), origin.get()] == ["a", "payments-0-7"]
            assert [receive.receive_nowait(), origin.get()] == ["b", "payments-0-7"]
        origin.reset(token)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send.send, "c")
            assert [await receive.receive(), origin.get()] == ["c", None]


def test_a_run_asks_the_clock_for_a_function_that_can_be_replaced() -> None:
    clock = stepping_clock()
    assert clock.current_time() == trio.testing.MockClock.current_time(clock) == START_S

    async def main() -> float:
        await trio.sleep(2.5)
        return trio.current_time()

    assert trio.run(main, clock=clock) == START_S + 2.5


def test_the_standard_library_and_time_machine_have_what_the_world_replaces() -> None:
    with time_machine.travel(0, tick=False):

        class Fixed(time_machine.Traveller):
            def time_ns(self) -> int:
                return 42_000_000_000

        time_machine.traveller_stack[-1] = Fixed(0, None, False)
        assert time.time() == 42
    assert issubclass(queue._PySimpleQueue, object)  # type: ignore[attr-defined]
    assert threading._PyRLock()._block  # type: ignore[attr-defined]
    assert {"_allocate_lock", "_time"} <= vars(threading).keys()
    assert "time" in vars(queue)
