"""Values in trio's memory channels carry the arrival for which they were sent: a worker that takes one works for it.

They carry the time, too: where no bound keeps a channel from growing, values that wait for long pile up in an outage.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import trio

from simulation.world.escape import service_line
from simulation.world.patching import Patches
from simulation.world.sockets import origin

_Sender: Any = trio.MemorySendChannel
_Receiver: Any = trio.MemoryReceiveChannel

_WAIT: Final = 4
"""So many values in a channel without a bound count as piled up, once the first has waited for `_FOR_S`."""

_FOR_S: Final = 5.0


class _Sent(NamedTuple):
    value: Any
    origin: str | None
    at_s: float
    line: tuple[str, int] | None
    """Of the service, where the channel has no bound."""


@contextmanager
def memory_channels(piled_up: Callable[[str], object]) -> Iterator[None]:
    """Let values carry their origin through memory channels; call a function with a sentence when one is taken from a
    channel without a bound in which values have piled up."""
    send_nowait, send = _Sender.send_nowait, _Sender.send
    receive_nowait, receive = _Receiver.receive_nowait, _Receiver.receive

    def sent(channel: Any, value: Any) -> _Sent:
        if type(value) is _Sent:
            return value
        line = service_line(sys._getframe(2)) if channel._state.max_buffer_size == math.inf else None
        return _Sent(value, origin.get(), trio.current_time(), line)

    def received(channel: Any, value: Any) -> Any:
        if type(value) is not _Sent:
            return value
        origin.set(value.origin)
        if value.line is not None:
            waiting, for_s = 1 + len(channel._state.data), trio.current_time() - value.at_s
            if waiting >= _WAIT and for_s >= _FOR_S:
                file, line = value.line
                what = f"{waiting} values waited in a memory channel without a bound, the first for {for_s:.3g} s"
                piled_up(f"{file}:{line}: {what}")
        return value.value

    async def send_sent(self: Any, value: Any) -> None:
        await send(self, sent(self, value))

    async def receive_sent(self: Any) -> Any:
        return received(self, await receive(self))

    with Patches() as patches:
        patches.put(_Sender, "send_nowait", lambda self, value: send_nowait(self, sent(self, value)))
        patches.put(_Sender, "send", send_sent)
        patches.put(_Receiver, "receive_nowait", lambda self: received(self, receive_nowait(self)))
        patches.put(_Receiver, "receive", receive_sent)
        yield
