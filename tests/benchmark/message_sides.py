"""Two actors send each other a message in turn, here, as JSON: ``python message_sides.py SIDE MESSAGES``."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka
import trio

from actors import Actor, handles
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem


class Player(Actor):
    """Sends what it gets, less one, to the other; at 0 it stops the system."""

    def __init__(self) -> None:
        super().__init__()
        self.other: Any = None

    @handles(int)
    def on_ball(self, left: int) -> None:
        if left:
            self.other.tell(left - 1)
        else:
            self.system.stop()


def _serve(system: SimulatedSystem | LiveSystem, messages: int) -> None:
    one, two = system.spawn(Player), system.spawn(Player)
    one.actor.other, two.actor.other = two, one
    one.tell(messages)


def simulated(messages: int) -> None:
    with SimulatedSystem() as system:
        _serve(system, messages)
        system.run()


def live(messages: int) -> None:
    """Play live, under trio."""

    async def main() -> None:
        async with LiveSystem() as system:
            _serve(system, messages)
            await system.run()

    trio.run(main)


class ThreadPlayer(pykka.ThreadingActor):
    """The same as an actor of pykka's with a thread of its own."""

    def __init__(self, is_over: threading.Event) -> None:
        super().__init__()
        self.is_over = is_over
        self.other: Any = None

    def on_receive(self, message: Any) -> None:
        """Play it back, or get to know the other."""
        if not isinstance(message, int):
            self.other = message
        elif message:
            self.other.tell(message - 1)
        else:
            self.is_over.set()


def threads(messages: int) -> None:
    """Play with pykka's threading actors."""
    is_over = threading.Event()
    one, two = ThreadPlayer.start(is_over), ThreadPlayer.start(is_over)
    one.tell(two)
    two.tell(one)
    one.tell(messages)
    is_over.wait()
    pykka.ActorRegistry.stop_all()


def channel(messages: int) -> None:
    """Play with two tasks of trio's and a memory channel each way."""

    async def player(sends: trio.MemorySendChannel[int], receives: trio.MemoryReceiveChannel[int]) -> None:
        async with sends:
            async for left in receives:
                if not left:
                    return
                await sends.send(left - 1)

    async def main() -> None:
        to_one, for_one = trio.open_memory_channel[int](1)
        to_two, for_two = trio.open_memory_channel[int](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(player, to_two, for_one)
            nursery.start_soon(player, to_one, for_two)
            await to_one.send(messages)

    trio.run(main)


SIDES: dict[str, Callable[[int], None]] = {
    "simulated": simulated,
    "live": live,
    "threads": threads,
    "channel": channel,
}


def main(side: str, messages: str) -> None:
    """Play once for warming up, and once for the clock: that of the processor, all threads together."""
    play = SIDES[side]
    play(1000)
    started = time.process_time()
    play(int(messages))
    print(json.dumps({"seconds": time.process_time() - started, "messages": int(messages) + 1}))


if __name__ == "__main__":
    main(*sys.argv[1:])
