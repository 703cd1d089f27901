"""Run a piece of code in a process of its own: it changes what the whole interpreter shares."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_IN_A_WORLD = """
import json
{before}
import trio, trio.testing
from simulation.world.clock import START_S, virtual_clock
from simulation.world.clock import seeded_entropy, seeded_scheduler
from simulation.world.refusals import refusals, watchdog

class World:
    escapes = []

world, seen = World(), []
clock = trio.testing.MockClock(autojump_threshold=0)
clock.jump(START_S)
with virtual_clock(clock, 0), seeded_entropy(1), seeded_scheduler(1), refusals(world):
    import service
    with watchdog(world.threads):
        trio.run(service.main, seen, clock=clock)
escapes = [[escape.file, escape.line, escape.sentence] for escape in world.escapes]
print()
print(json.dumps([seen, escapes, {after}]))
"""


def printed(source: str, folder: Path, *, hash_seed: int = 0, files: dict[str, str] | None = None) -> Any:
    """Return the JSON that a script prints in its last line; `files` are modules that it can import."""
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def in_a_world(
    folder: Path, files: dict[str, str], *, before: str = "", after: str = "None", hash_seed: int = 0
) -> tuple[list[Any], list[Any], Any]:
    """Run `main(seen)` of `service.py` in a world without hosts.

    Returns:
        What it has appended to `seen`, the escapes (file, line and sentence), and the value of `after` at the end.
    """
    found = printed(_IN_A_WORLD.format(before=before, after=after), folder, hash_seed=hash_seed, files=files)
    return found[0], found[1], found[2]
