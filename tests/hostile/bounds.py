"""What no input may do, whoever sends it: keep the loop, take the memory, end the process, raise what no one expects.

A kind of input (mails, requests, templates) is a `KIND` in a module `kind_NAME.py` beside this one, where
`test_hostile_input.py` finds it. Inputs run in forked children, so that a signal ends a child and names the input. Each
is drawn from a seed of its own; to run one again, without bounds: ``python tests/hostile/bounds.py NAME SEED``.
"""

import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path
from random import Random
from reprlib import Repr
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import trio

STEPS_MAX = 1_000_000
"""Lines, calls and returns of Python in one piece of work: 100 ms at 100 ns each. Parsing of mails, JSON and HTTP took
50 to 80 ns a step, with the C functions that the lines call; a loop of additions 20 ns."""

CPU_S_MAX = 3.0
"""Seconds of CPU in one piece while it is traced, which makes it five times slower. A child that takes more is killed:
that is for a C function that takes long without a step of Python."""

MEMORY_MAX = 50 * 10**6
"""Bytes that Python may take for an input beside those that it held before."""

DATA_MAX = 2 * 2**30
"""Bytes that a child may take in all beside those that it was born with: no input may fill the machine."""

HANG_S = 120.0
"""Seconds on the wall after which an input that is waited for has failed: nothing else would end the test."""

BATCH = 500
"""Inputs for each child."""


class Bounds(NamedTuple):
    """What an input may take."""

    steps: int = STEPS_MAX
    cpu_s: float = CPU_S_MAX
    memory: int = MEMORY_MAX


BOUNDS = Bounds()


@dataclass(frozen=True)
class Kind:
    """A kind of input, and what takes it."""

    name: str
    draw: Callable[[Random], Any]
    """Returns an input: from the same state always the same one."""
    feed: Callable[[Any], object] | None = None
    """Takes an input; may be async. None: `opened` has it."""
    opened: Callable[[], AbstractAsyncContextManager[Callable[[Any], object]]] | None = None
    """Opens, once for each child and under trio, what takes the inputs, such as a service."""
    refuses: tuple[type[Exception], ...] = ()
    """What an input may raise: the errors that the product means for bad ones."""
    short: int = 100
    """Inputs in the default run: as many as take about one second."""
    long: int = 3_000
    """Inputs in the slow run, at most."""
    bounds: Bounds = BOUNDS
    """What one may take; more where none is taken on a loop."""

    def input(self, seed: int) -> Any:
        return self.draw(Random(f"{self.name} {seed}"))


class Worst(NamedTuple):
    """The most that an input took, each with the seed of that input."""

    steps: tuple[int, int]
    memory: tuple[int, int]


class TooMuch(BaseException):
    """An input broke a bound; no handler of exceptions may take it for something else."""


def hold(kind: Kind, inputs: int, first: int = 0, bounds: Bounds | None = None) -> Worst:
    """Feed the inputs of so many seeds, from `first` on; return what the worst of them took.

    Raises:
        AssertionError: an input broke a bound, ended its process, or raised what `kind.refuses` does not name. The text
            has its seed and its beginning.
    """
    bounds = kind.bounds if bounds is None else bounds
    taken: list[dict[str, Any]] = []
    for start in range(first, first + inputs, BATCH):
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads, such as those of xdist, stay in the parent
            child = os.fork()
        if not child:
            os.close(reading)
            _run_child(kind, range(start, min(start + BATCH, first + inputs)), bounds, writing)
        os.close(writing)
        with open(reading, "rb") as said:
            lines = [json.loads(line) for line in said]
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            last = lines[-1] if lines else {"seed": start}
            raise AssertionError(_failure(kind, last["seed"], last.get("failure", ended)))
        taken += [line for line in lines if "steps" in line]
    return Worst(
        max((each["steps"], each["seed"]) for each in taken), max((each["memory"], each["seed"]) for each in taken)
    )


def _failure(kind: Kind, seed: int, why: str) -> str:
    again = f"python tests/hostile/bounds.py {kind.name} {seed}"
    return f"{kind.name}, seed {seed}: {why}\ninput: {shown(kind.input(seed))}\nagain: {again}"


def shown(given: Any) -> str:
    """Return the beginning of an input, as a failure has it."""
    cut = Repr()
    cut.maxstring = cut.maxother = 600
    return cut.repr(given)


# ── the child ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Pieces(trio.abc.Instrument):
    """Counts the steps of each piece of work, from one checkpoint of a task to the next, and ends one of too many."""

    def __init__(self, cpu_s_max: float) -> None:
        self.most = 0
        self._cpu_s_max = cpu_s_max
        self._is_counting = False
        count = steps_max = 0

        def step(frame: FrameType, _event: str, _argument: object) -> Any:
            nonlocal count
            count += 1
            if count > steps_max:
                at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise TooMuch(f"more than {steps_max:,} steps in one piece of work, the last one at {at}")
            return step

        def begin(bound: int | None = None) -> None:
            nonlocal count, steps_max
            self.most = max(self.most, count)
            count, steps_max = 0, steps_max if bound is None else bound
            signal.setitimer(signal.ITIMER_VIRTUAL, self._cpu_s_max)

        self._step, self._begin = step, begin

    @contextmanager
    def counted(self, steps_max: int) -> Iterator[None]:
        self._begin(steps_max)
        self.most = 0
        self._is_counting = True
        sys.settrace(self._step)
        try:
            yield
        finally:
            sys.settrace(None)
            self._is_counting = False
            self._begin()
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        if self._is_counting:
            self._begin()


def _run_child(kind: Kind, seeds: range, bounds: Bounds, writing: int) -> NoReturn:
    seed = seeds[0]

    def say(at: int, **what: object) -> None:
        nonlocal seed
        seed = at
        os.write(writing, json.dumps({"seed": seed, **what}).encode() + b"\n")

    code = 1
    try:
        faulthandler.disable()
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if (statm := Path("/proc/self/statm")).exists():
            data = int(statm.read_text().split()[5]) * resource.getpagesize() + DATA_MAX
            resource.setrlimit(resource.RLIMIT_DATA, (data, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        tracemalloc.start()
        pieces = _Pieces(bounds.cpu_s)
        trio.run(_feed_all, kind, seeds, bounds, pieces, say, instruments=[pieces])
        code = 0
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        say(seed, failure=f"{type(error).__name__}: {error}\n{text[-3_000:]}")
    finally:
        os._exit(code)


async def _feed_all(kind: Kind, seeds: range, bounds: Bounds, pieces: _Pieces, say: Callable[..., None]) -> None:
    async with AsyncExitStack() as stack:
        feed = kind.feed if kind.opened is None else await stack.enter_async_context(kind.opened())
        assert feed is not None
        for is_first, seed in ((True, seeds[0]), *((False, seed) for seed in seeds)):
            given = kind.input(seed)
            say(seed)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                with pieces.counted(100 * bounds.steps if is_first else bounds.steps):
                    answer = feed(given)
                    if isawaitable(answer):
                        with trio.fail_after(HANG_S):
                            await answer
            except kind.refuses:
                pass
            memory = tracemalloc.get_traced_memory()[1] - before
            if is_first:  # it may have imported modules
                continue
            if pieces.most > bounds.steps:
                raise TooMuch(f"more than {bounds.steps:,} steps in one piece of work")
            if memory > bounds.memory:
                raise TooMuch(f"took {memory:,} bytes, of at most {bounds.memory:,}")
            say(seed, steps=pieces.most, memory=memory)


def load(name: str) -> Kind:
    kind: Kind = importlib.import_module(f"kind_{name}").KIND
    assert kind.name == name
    return kind


def names() -> list[str]:
    return sorted(path.stem.removeprefix("kind_") for path in Path(__file__).parent.glob("kind_*.py"))


async def _run_again(kind: Kind, seed: int) -> None:
    async with AsyncExitStack() as stack:
        feed = kind.feed if kind.opened is None else await stack.enter_async_context(kind.opened())
        assert feed is not None
        answer = feed(kind.input(seed))
        print(await answer if isawaitable(answer) else answer)


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    sys.path += [str(root), str(root / "tests" / "support")]
    print(shown(load(sys.argv[1]).input(int(sys.argv[2]))))
    trio.run(_run_again, load(sys.argv[1]), int(sys.argv[2]))
