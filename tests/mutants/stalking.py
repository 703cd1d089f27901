"""Runs one copy of the product, with or without a mistake in it, until it is seen to break: the hunt's own process.

Run by :mod:`hunt`, with the copy first on the path. It knows nothing of what was planted: every copy is led over the
same grounds, each seed of each until one breaks. Prints the find as one line of JSON.
"""

import json
import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from comparable import comparable
from fleets import as_fleet, at_odds, cut_off
from isolating import isolated
from reopening import reopened
from small_worlds import small_world

import simulation.running.runner as runner
from actors.messages import NotificationChannel, NotificationMovedToDeadLetter, NotificationSent
from actors.notifier import Pipeline
from actors.outcomes import Ambiguous
from actors.settings.redrive import EndpointsConfig
from simulation.scenario import Scenario, load
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt
from simulation.verification.exploring.variation import varied
from simulation.verification.known import KNOWN

ROOT = Path(__file__).parents[2]
SLOW = ("clocks-change", "obligations", "restarts-in-an-outage")
"""Scenarios whose runs take a second or two; the others are tried before them."""
SWARM = ROOT / "tests" / "verification" / "drawing" / "swarm.yaml"
OWN = sorted((Path(__file__).parent / "scenarios").glob("*.yaml"), key=lambda path: path.stem in SLOW)
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))

LONGEST_S = 60
"""A run that takes longer does not end: seconds of CPU time, of which a loaded machine takes no more."""

LOCK_STEP = "swarm, in lock-step"
"""Cases of the swarm whose actors take turns as usual, with and without settings of their own."""

REOPENED = "swarm, reopened"
"""Cases of the swarm whose changes go through a store on disk, with what people and deaths add; in every other one,
webhooks' endpoints are disabled soon."""

DRAWN = "swarm, settings drawn"
"""Cases of the swarm with settings of their own; every other one is compared with the reference model."""

ISOLATED = "swarm, isolated"
"""Cases of the swarm over a store that outlives their processes, which die."""

FLEETS = "fleets"
"""Cases of the swarm, and of the scenarios here, at several nodes; all but every third are compared with the reference
model, and in half of these the nodes see different things."""

CUT_OFF = "fleets, cut off"
"""The fleets, some of whose nodes do not reach the store for a while, or whose store takes its time."""

VARIED = "swarm, varied"
"""Variations of the cases of the swarm: something is aimed at an instant that matters in them. Every other one is of a
case that the reference model is compared with."""

SMALL = "small worlds"
"""Worlds that are drawn whole, all of whose times are a few steps."""

RESET = "copies, reset"
"""The scenario of copies with providers some of whose connections break before the answer."""

SHIPPED_SEEDS = 1
"""Their expectations are about the seed that they come with."""


class DoesNotEnd(BaseException):
    """A run goes on and on. No actor is to take it for an error of its own."""


class AwkwardCompany(Pipeline):
    """A pipeline among people whose code raises: the admin's pager, every other time, and a subscriber, always."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._alerts = 0
        self._told = kwargs.get("notify")
        super().__init__(*args, **{**kwargs, "notify": self._page})
        self.bus.subscribe(NotificationSent, NotificationMovedToDeadLetter)(_raise)

    def _page(self, text: str) -> None:
        self._alerts += 1
        if self._told is not None:
            self._told(text)  # the reference model hears of each
        if self._alerts % 2:
            raise ConnectionError(f"nobody could be paged: {text}")


def _raise(event: object) -> None:
    raise LookupError(f"a subscriber has no idea what {event!r} is")


def grounds() -> dict[str, int | None]:
    """Return the names of the grounds, each with how many seeds there are of it; None: as many as you like."""
    own = dict.fromkeys((path.stem for path in OWN), None)
    return {
        LOCK_STEP: None,
        VARIED: None,
        "swarm": None,
        DRAWN: None,
        FLEETS: None,
        CUT_OFF: None,
        SMALL: None,
        **own,
        RESET: None,
        REOPENED: None,
        ISOLATED: None,
        **dict.fromkeys((f"shipped {path.stem}" for path in SHIPPED), SHIPPED_SEEDS),
    }


def trial(ground: str, seed: int) -> tuple[str, str] | None:
    """Run one seed of a ground; return what broke and how, or None."""
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        if ground == REOPENED:
            wrong = reopened(_with_endpoints(seed) if seed % 2 else scenario_of("swarm", seed), seed)
            return None if wrong is None else ("reopened", wrong)
        if ground == ISOLATED:
            found = isolated(scenario_of(DRAWN if seed % 2 else "swarm", seed), seed)
        else:
            found = attempt(scenario_of(ground, seed), rules=_resets() if ground == RESET else None)
        if found.failing_case is not None:
            kind = "crash" if found.failing_case.is_error else found.failing_case.kind
            return kind, found.failing_case.text
        assert found.result is not None
        failing = [each for each in found.result.summary["expectations"] if not each["holds"]]
        return ("expectations", f"{failing[0]['text']}, got {failing[0]['value']}") if failing else None
    except DoesNotEnd as error:
        return "no end", str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _resets() -> dict[str, list[Any]]:
    """Return rules by which every third attempt at a provider is cut off, and may have been sent."""

    def resetting() -> Any:
        attempts = count(1)
        return lambda _attempt, _now_ns, _load: (
            Ambiguous(reason="connection reset") if next(attempts) % 3 == 0 else None
        )

    return {channel: [resetting()] for channel in ("push", "webhook", "sms")}


def scenario_of(ground: str, seed: int) -> Scenario:
    """Return what a seed of a ground runs."""
    if ground == RESET:
        ground = "copies"
    if ground == "swarm":
        return case(_loaded(SWARM), seed, settings="given")
    if ground == DRAWN:
        drawn = case(_loaded(SWARM), seed, settings="drawn")
        return drawn if seed % 2 else comparable(drawn)
    if ground == LOCK_STEP:
        return comparable(case(_loaded(SWARM), seed, schedule="normal"))
    if ground == FLEETS:
        return _fleet(seed)
    if ground == SMALL:
        return small_world(seed)
    if ground == CUT_OFF:
        return cut_off(_fleet(seed), seed)
    if ground == VARIED:
        of = case(_loaded(SWARM), seed)
        return varied(of if seed % 2 else comparable(of), seed)
    if ground.startswith("shipped "):
        return _loaded(ROOT / "scenarios" / f"{ground.removeprefix('shipped ')}.yaml")
    return _loaded(Path(__file__).parent / "scenarios" / f"{ground}.yaml").model_copy(update={"seed": seed})


def _fleet(seed: int) -> Scenario:
    of = _loaded((SWARM, *OWN)[seed % (1 + len(OWN))])
    fleet = as_fleet(case(of, seed, settings="drawn" if seed % 2 else "given"), seed)
    if seed % 3:
        fleet = comparable(fleet)
    return at_odds(fleet, seed) if seed % 3 == 1 else fleet


def _with_endpoints(seed: int) -> Scenario:
    swarm = _loaded(SWARM)
    webhook = swarm.channel_as_given(NotificationChannel.WEBHOOK)
    soon = webhook.model_copy(update={"endpoints": EndpointsConfig(disable_after=20.0)})
    channels = swarm.channels.model_copy(update={"webhook": soon})
    return case(swarm.model_copy(update={"channels": channels}), seed, settings="given")


_loaded = cache(load)


def route(seeds: int) -> Iterator[tuple[str, int]]:
    """Yield every ground and seed: a few of each ground at first, then more and more, and the shipped ones last."""
    done = 0
    while done < seeds:
        block = range(done, min(seeds, 3 * done + 4))
        yield from ((ground, seed) for ground, most in grounds().items() if most is None for seed in block)
        done = block.stop
    yield from ((ground, seed) for ground, most in grounds().items() if most is not None for seed in range(most))


def stalk(route: Iterable[tuple[str, int]]) -> dict[str, Any] | None:
    """Follow a route until something breaks, and return what and where."""
    for ground, seed in route:
        broken = trial(ground, seed)
        if broken is not None:
            return {"ground": ground, "seed": seed, "killer": broken[0], "text": broken[1]}
    return None


def main() -> None:
    """Follow the route that is on standard input, as a JSON list of pairs, without the laws that are named."""
    copy = Path(sys.argv[1]).resolve()
    left_out = {KNOWN[law] for law in sys.argv[2:]}
    for name in [name for name, law in KNOWN.items() if law in left_out]:
        del KNOWN[name]
    assert Path(runner.__file__).is_relative_to(copy), f"wanted the copy in {copy}, got {runner.__file__}"
    signal.signal(signal.SIGPROF, _stop)
    logging.disable(logging.CRITICAL)
    runner.Pipeline = AwkwardCompany  # type: ignore[misc]
    print(json.dumps(stalk(map(tuple, json.load(sys.stdin)))))  # type: ignore[arg-type]


def _stop(_number: int, _frame: object) -> None:
    raise DoesNotEnd(f"the run had not ended after {LONGEST_S} s of CPU time")


if __name__ == "__main__":
    main()
