"""The only file put beside pykka's own tests: its conftest.py, with the `runtime` fixture replaced by our two systems.

pykka's conftest.py is renamed to upstream_conftest.py for this; everything else is untouched.
"""

import threading
import time

import pytest
import trio
from tests.types import Runtime
from tests.upstream_conftest import *  # noqa: F403
from tests.upstream_conftest import _stop_all  # noqa: F401

from actors.kernel.actor import STOP_ON_FAILURE, Actor
from actors.kernel.live import LiveSystem
from simulation.engine.system import SimulatedSystem


class PykkaLikeActor(Actor):
    """As pykka's own classes: an actor that raises is stopped."""

    supervision = STOP_ON_FAILURE


SIMULATED = SimulatedSystem(seed=1)


class SimulatedEvent:
    """threading.Event's interface in simulated time: waiting runs the clock."""

    def __init__(self):
        self._set = False

    def set(self):
        self._set = True

    def clear(self):
        self._set = False

    def is_set(self):
        return self._set

    def wait(self, timeout=None):
        env = SIMULATED.env
        end = float("inf") if timeout is None else env.now + timeout * 1_000_000_000
        while not self._set and SIMULATED._idle and env.peek() <= end and env.peek() != float("inf"):
            env.step()
        return self._set


def _live_system():
    ready, box = threading.Event(), []

    async def main():
        async with LiveSystem(seed=1) as system:
            box.append(system)
            ready.set()
            await trio.sleep_forever()

    threading.Thread(target=trio.run, args=(main,), daemon=True).start()
    ready.wait()
    return box[0]


LIVE = _live_system()
RUNTIMES = [
    pytest.param(
        Runtime(
            name="simulated",
            actor_class=SIMULATED.bind(PykkaLikeActor),
            event_class=SimulatedEvent,
            future_class=SIMULATED.future_class,
            sleep_func=lambda seconds: None,
        ),
        id="simulated",
    ),
    pytest.param(
        Runtime(
            name="live",
            actor_class=LIVE.bind(PykkaLikeActor),
            event_class=threading.Event,
            future_class=LIVE.future_class,
            sleep_func=time.sleep,
        ),
        id="live",
    ),
]


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request):
    return request.param
