"""Values in trio's memory channels carry the arrival for which they were sent: a worker that takes one works for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import trio

from simulation.world.patching import Patches
from simulation.world.sockets import origin

_Sender: Any = trio.MemorySendChannel
_Receiver: Any = trio.MemoryReceiveChannel


class _Sent(NamedTuple):
    value: Any
    origin: str | None


@contextmanager
def memory_channels() -> Iterator[None]:
    """Let values carry their origin through memory channels."""
    send_nowait, send = _Sender.send_nowait, _Sender.send
    receive_nowait, receive = _Receiver.receive_nowait, _Receiver.receive

    def sent(value: Any) -> _Sent:
        return value if type(value) is _Sent else _Sent(value, origin.get())

    def received(value: Any) -> Any:
        if type(value) is not _Sent:
            return value
        origin.set(value.origin)
        return value.value

    async def send_sent(self: Any, value: Any) -> None:
        await send(self, sent(value))

    async def receive_sent(self: Any) -> Any:
        return received(await receive(self))

    with Patches() as patches:
        patches.put(_Sender, "send_nowait", lambda self, value: send_nowait(self, sent(value)))
        patches.put(_Sender, "send", send_sent)
        patches.put(_Receiver, "receive_nowait", lambda self: received(receive_nowait(self)))
        patches.put(_Receiver, "receive", receive_sent)
        yield
