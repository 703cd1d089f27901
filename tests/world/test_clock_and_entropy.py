"""The interpreter's clocks and generators under a run: they follow its clock and its seed, bound early or late."""

from pathlib import Path

import pytest
from own_process import printed

EARLY = """
import functools, time
from time import monotonic, perf_counter_ns
from datetime import datetime, date

class Meter:
    clock = time.monotonic

def since(start, clock=time.perf_counter):
    return clock() - start

later = functools.partial(time.monotonic_ns)
class Kept:
    def __init__(self): self.clock = time.monotonic
kept = Kept()
"""

CLOCKS = """
import early, json, time, datetime, uuid, trio, trio.testing
from simulation.world import clock as clocks
from simulation.world.clock import START_S, virtual_clock
from simulation.world.patching import keepers_of

clock = trio.testing.MockClock(autojump_threshold=0)
clock.jump(START_S)
seen = {}

async def main():
    from time import monotonic
    await trio.sleep(90.25)
    seen["trio"] = trio.current_time()
    seen["monotonic"] = [time.monotonic(), early.monotonic(), monotonic(), time.perf_counter()]
    seen["ns"] = [time.monotonic_ns(), early.perf_counter_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC)]
    seen["wall"] = [time.time(), time.clock_gettime(time.CLOCK_REALTIME),
        datetime.datetime.now(datetime.UTC).timestamp(), early.datetime.now(datetime.UTC).timestamp(),
        time.time_ns() / 1e9]
    seen["day"] = [str(early.date.today()), time.strftime("%Y-%m-%d", time.gmtime())]
    seen["uuid1"] = (uuid.uuid1().time - 0x01b21dd213814000) / 1e7

real = time.monotonic
seen["held"] = keepers_of(clocks.REAL_CLOCKS.values())
with virtual_clock(clock, 1_000_000_000.0):
    trio.run(main, clock=clock)
    inside = time.monotonic
seen["after"] = [time.monotonic is real, early.monotonic is real, abs(inside() - real()) < 5, time.time() > 1.7e9]
print(json.dumps(seen))
"""


def test_every_clock_follows_the_run(tmp_path: Path) -> None:
    seen = printed(CLOCKS, tmp_path, files={"early.py": EARLY})

    assert seen["trio"] == 10_090.25
    assert seen["monotonic"] == [10_090.25] * 4
    assert seen["ns"] == [10_090_250_000_000] * 3
    assert seen["wall"] == pytest.approx([1_000_000_090.25] * 5, abs=1e-6)
    assert seen["day"] == ["2001-09-09"] * 2
    assert seen["uuid1"] == pytest.approx(1_000_000_090.25, abs=1e-5)
    assert seen["after"] == [True] * 4, "the real clocks are back, also for who kept a function of the run"
    assert seen["held"] == ["early", "early.Kept", "early.Meter", "early.since"], "they kept a clock before the run"


STRANGERS = """
import alone, client, json, middle, simulation

scenario = simulation.parse(
    "duration: 5s\\n"
    "workload: [{channel: payments, arrivals: {constant: 1/s}}]\\n"
    "channels: {payments: {kind: call}}\\n"
    "world: {api.example.com: payments}"
)
print(json.dumps([simulation.run_service(each, scenario).findings for each in (alone.main, client.Client().main)]))
"""


def test_a_function_that_the_service_does_not_import_is_no_finding(tmp_path: Path) -> None:
    files = {
        "early.py": EARLY,
        "middle.py": "import early",
        "alone.py": "import trio\nasync def main(): await trio.sleep(1)",
        "client.py": "import trio\nclass Client:\n"
        "    def meter(self):\n        import middle\n"
        "    async def main(self): await trio.sleep(1)",
    }
    alone, client = printed(STRANGERS, tmp_path, files=files)
    assert alone == []
    assert [finding.split()[0] for finding in client] == ["early", "early.Kept", "early.Meter", "early.since"]


DRAWS = """
import gc, json, os, random, secrets, trio, trio.testing, uuid
from simulation.world.clock import collector_off, seeded_entropy, seeded_scheduler

def draws():
    return [random.random(), random.Random().random(), random.SystemRandom().random(), secrets.token_hex(4),
        os.urandom(4).hex(), str(uuid.uuid4()), os.getrandom(3).hex()]

def seeded(seed):
    with seeded_entropy(seed):
        first = draws()
        import shop
        shop.draw()  # another module's draws come between
        random.seed()
        return first, draws(), shop.draw(), uuid.getnode()

def order(seed):
    done = []
    async def work(number):
        for _ in range(3):
            await trio.sleep(1)
            done.append(number)
    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(work, number)
    with seeded_scheduler(seed):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return done

state = random.getstate()
runs = [seeded(7), seeded(7), seeded(8)]
restored = random.getstate() == state
with collector_off():
    off = not gc.isenabled()
print(json.dumps([runs, [order(1), order(1), order(2), order(3)], os.urandom(8).hex(), restored, off, gc.isenabled()]))
"""
SHOP = "import os\nat_import = os.urandom(8)\ndef draw(): return os.urandom(4).hex()\n"


def test_everything_random_follows_the_seed(tmp_path: Path) -> None:
    (one, again, other), orders, real, *flags = printed(DRAWS, tmp_path, files={"shop.py": SHOP})
    (elsewhere, *_), orders_elsewhere, real_elsewhere, *_ = printed(DRAWS, tmp_path, hash_seed=5)

    assert one == elsewhere
    assert one[:2] == again[:2], "a module that is imported in the first run alone does not shift the others"
    assert all(a != b for a, b in zip(one[0], other[0], strict=True))
    assert all(a != b for a, b in zip(one[0], one[1], strict=True))
    assert orders[0] == orders[1] == orders_elsewhere[0]
    assert orders[0] not in orders[2:], "another seed, another order of tasks that are ready at the same instant"
    assert real != real_elsewhere, "after the block entropy is real"
    assert flags == [True, True, True]
