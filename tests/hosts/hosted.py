"""What a notifier in any host is tested with."""

from contextlib import asynccontextmanager

import trio

from actors import MemoryStore
from actors.domain.attempts import Provider
from actors.outcomes import Sent

EMAIL_ONLY = {"channels": {"email": {}}, "drain": 20}


class Post(Provider):
    """Delivers while its gate is open; what it has delivered outlives the notifier."""

    def __init__(self, *, is_open=True):
        self.delivered = []
        self.is_open = is_open

    def attempt(self, attempt, now_ns):
        async def deliver():
            while not self.is_open:
                await trio.sleep(0.01)
            self.delivered.append(attempt.command.notification_id)
            return Sent()

        return deliver


class SlowStore(MemoryStore):
    """Makes a change durable only when its gate is open."""

    def __init__(self, failure=None):
        super().__init__()
        self.gate = trio.Event()
        self.failure = failure

    def commit(self, event, command):
        super().commit(event, command)

        async def make_durable():
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure

        return make_durable


@asynccontextmanager
async def opened(resource):
    yield resource
