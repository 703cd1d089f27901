"""Runs swarm cases in lock-step with the reference model, seed after seed, and goes on where it stopped.

The law `fates` looks on: what simulated providers answer is given to the model, and only that law works it out again.

    python tests/verification/many_seeds.py --seeds 0:30000 --out seeds.txt

Each seed draws a case of one scenario, of all of them in turn: by default the swarm's of the tests, and those of the
hunt for planted mistakes. With `--fleets` each of them runs at several nodes, which with `--latency` or `--cut-off`
know later of each other; with `--astray` messages come twice and late; with `--coinciding` all times are multiples of
one step, so that much falls due at one instant. Actors take their turns in the usual order, as
the model says nothing about others. Every line of the file is a seed and what became of it; those that are in it are
not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from comparable import comparable
from fleets import as_fleet, cut_off

from actors.errors import InvariantBreach
from actors.kernel.randomness import RandomStreams
from simulation.running.runner import run
from simulation.scenario import Scenario, load
from simulation.verification.drawing.coincidence import coinciding
from simulation.verification.drawing.late_messages import astray
from simulation.verification.drawing.swarm import SettingsKind, case

TESTS = Path(__file__).parent.parent
SCENARIOS = (TESTS / "verification/drawing/swarm.yaml", *sorted((TESTS / "mutants" / "scenarios").glob("*.yaml")))


def ordinary(scenario: Scenario, seed: int, settings: SettingsKind = "mixed") -> Scenario:
    """Return the case of a seed without what the model says nothing about."""
    return comparable(case(scenario, seed, schedule="normal", settings=settings))


def with_messages_astray(scenario: Scenario, seed: int) -> Scenario:
    """Return a scenario whose messages come twice, or late, or both, for a while or all the time."""
    faults = astray(scenario.duration, RandomStreams(seed).stream("messages astray"))
    return scenario.model_copy(update={"faults": (*scenario.faults, *faults)})


def difference(
    scenario: Scenario,
    seed: int,
    settings: SettingsKind = "mixed",
    *,
    is_fleet: bool = False,
    are_messages_astray: bool = False,
    latency: float = 0.0,
    is_cut_off: bool = False,
    is_coinciding: bool = False,
) -> str | None:
    """Return in what a seed's run differs from the model; None: in nothing."""
    try:
        drawn = ordinary(scenario, seed, settings)
        if is_fleet:
            drawn = as_fleet(drawn, seed).model_copy(update={"commit_latency": latency})
        if is_cut_off:
            drawn = cut_off(drawn, seed)
        if are_messages_astray:
            drawn = with_messages_astray(drawn, seed)
        if is_coinciding:
            drawn = coinciding(drawn, RandomStreams(seed).stream("coinciding"))
        run(drawn, invariants=["reference-model", "fates"])
    except InvariantBreach as breach:
        return breach.message
    except Exception:
        return traceback.format_exc()
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that are asked for, print what differs, and return 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:100", help="first:behind the last")
    parser.add_argument("--settings", default="mixed", choices=get_args(SettingsKind), help="of the cases")
    parser.add_argument("--fleets", action="store_true", help="at several nodes")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until a change of a node is durable")
    parser.add_argument("--cut-off", action="store_true", help="with nodes that do not reach the store for a while")
    parser.add_argument("--astray", action="store_true", help="with messages that come twice and late")
    parser.add_argument("--coinciding", action="store_true", help="with times that are multiples of one step")
    parser.add_argument("--out", type=Path, help="keeps what has been run")
    parser.add_argument("scenarios", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    first, last = map(int, options.seeds.split(":"))
    done = set() if options.out is None or not options.out.exists() else set(_seeds_in(options.out))
    paths = options.scenarios or SCENARIOS
    scenarios = {path: load(path) for path in paths}
    began, count, differ = time.monotonic(), 0, 0
    for seed in range(first, last):
        if seed in done:
            continue
        path = paths[seed % len(paths)]
        found = difference(
            scenarios[path],
            seed,
            options.settings,
            is_fleet=options.fleets,
            are_messages_astray=options.astray,
            latency=options.latency,
            is_cut_off=options.cut_off,
            is_coinciding=options.coinciding,
        )
        count += 1
        differ += found is not None
        line = f"{seed} {path.name} {'ok' if found is None else found!r}"
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as out:
                print(line, file=out)
        if found is not None:
            print(f"{seed} {path.name}: {found}\n", flush=True)
        if count % 100 == 0:
            print(f"{count} seeds, {differ} differ, {count / (time.monotonic() - began):.1f} a second", flush=True)
    print(f"{count} seeds, {differ} differ, {count / max(1e-9, time.monotonic() - began):.1f} a second")
    return int(differ > 0)


def _seeds_in(path: Path) -> Iterator[int]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield int(line.partition(" ")[0])


if __name__ == "__main__":
    sys.exit(main())
