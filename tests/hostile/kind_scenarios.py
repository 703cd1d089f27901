"""Scenarios: shipped ones with values, keys and whole parts changed, and texts that are made to take long to read."""

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml
from bounds import Bounds, Kind

import simulation
from actors.errors import ConfigurationError, RunCancelled
from simulation.running import runner
from simulation.scenario.lint import lint_scenario
from simulation.scenario.run_size import size_of, warning_of
from simulation.studio.checking import check

_LOADED = simulation.run, runner  # what the first input would import, while its steps are counted

ROOT = Path(__file__).parents[2]
LOOKS = 2
"""After so many times 256 events a run has shown what it takes."""

_EVERYTHING = """
duration: 20s
nodes: {count: 3, routing: by_user, takeover_after: 5s}
max_pending: 50
workload:
  - {channel: email, arrivals: {burst: {size: 20, every: 5s}}, users: {count: 9, zipf: 1}, hosts: 3, tenants: 4,
     repeats: 10%, resend: {after: 1s, at_most: 2}, expires_after: 1m}
  - {channel: sms, clients: 3, think: 1s}
  - {event: OrderPlaced, arrivals: {stages: [{to: 5/s, over: 5s}, {hold: 5s}]}}
  - {channel: push, arrivals: {weekly: {mean: 1/s, factors: [FACTORS]}}}
  - {channel: webhook, arrivals: {times: [0s, 1s, 1s]}}
channels:
  email:
    provider: {failure_rate: 20%, latency: {mixture: [{weight: 1, gamma: {mean: 1s, shape: 2}},
      {weight: 2, pareto: {minimum: 10ms, alpha: 2}}]}, capacity: 4, connections: 9, price: 0.1}
    retry: {max_attempts: 4, backoff: linear, increment: 1s, budget: {kind: aws, capacity: 10}, per_outcome: {}}
    circuit_breaker: {window: {calls: 20}, failure_rate: 50%, minimum_calls: 5, half_open_permits: 2, shared: quorum}
    max_in_flight: 9
    hedging: {max_attempts: 3, delay: 1s}
    tenant: {max_in_flight: 2}
    rate_limit: {kind: token_bucket, rates: [5/s], burst: 3}
  sms:
    retry: {schedule: [1s, 2s], jitter: none}
    circuit_breaker: {window: {ema: 9}, failure_rate: 50%, open_growth: {multiplier: 2, max: 1m}}
    concurrency_limit: {kind: vegas, initial: 4, minimum: 1, maximum: 9, alpha: 3, beta: 6, probe_multiplier: 9}
    quota: {kind: token_bucket, rates: [9/s], burst: 2}
  push:
    concurrency_limit: {kind: gradient, initial: 4, minimum: 1, maximum: 9, queue_size: 2, long_window: 99}
    provider: {script: [{outcome: transient, retry_after: 1s}, {outcome: hang}]}
    failover: {other: {max_in_flight: 3}}
    switch_after: 2
  webhook: {adaptive_throttle: {k: 2}, endpoints: {}, redrive: {at_most: 2}}
dead_letters: {at_most: 5}
faults:
  - {channel: all, at: 2s, for: 5s, failure_rate: 80%, latency_factor: 3}
  - {channel: email, at: 1s, fail_first: 3}
  - {channel: sms, at: 1s, for: 9s, capacity: 2, speed: 0.5}
  - {channel: push, at: 1s, for: 9s, duplicate_rate: 10%}
  - {channel: push, at: 1s, for: 9s, failure_rate: 10%, node: [1, 2]}
  - {at: 9s, scale: {to: 5}}
operations:
  - {at: 15s, redrive: {reason: exhausted}}
expect: [sent_fraction >= 10%, {from: 1s, to: 9s, that: [attempts <= 9999]}]
preferences: [{share: 10%, channel: email, enabled: false}]
quiet_hours: [{share: 10%, from: "22:00", to: "07:00"}]
templates: {a: {body: "{x}"}}
sweep: {channels.email.retry.max_attempts: [1, 2], replicates: 3}
""".replace("FACTORS", ", ".join(["1"] * 168))

_NUMBERS = (0, -1, 1, 2, 0.5, 1e-300, 1e300, 10**9, 10**18, 2**63, 2**63 - 1, 10**30, float("inf"), float("nan"), True)
_TEXTS = (
    *("", " ", "0s", "1ns", "1e-12s", "36525d", "1e300s", "-5m", "0/s", "1e9/s", "1/36525d", "1e-12/s", "100/0s", "0%"),
    *("100%", "101%", "1e-9%", "2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2200-12-31T23:59:59Z"),
    *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "24:00", "23:59", "Europe/Berlin"),
    *("../../etc/passwd", "/etc/passwd", "/dev/zero", "/proc/self/mem", ".", "\0", "a\nb", "\x1b[2J", "é" * 99),
    *("email", "all", "sms", "process", "primary", "x" * 9999, "1" * 5000, "{a}", "=1", "*", "none", "yes"),
)


@cache
def _documents() -> list[Any]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "scenarios").glob("*.yaml"))]
    return [yaml.load(text, yaml.BaseLoader) for text in [_EVERYTHING, *texts]]  # scalars as they are written


@cache
def _keys() -> list[str]:
    schema = json.loads((ROOT / "scenarios" / "scenario.schema.json").read_text(encoding="utf-8"))
    return sorted({key for part in [schema, *schema["$defs"].values()] for key in part.get("properties", ())})


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return each container of a document with each key in it."""
    places, todo = [], [document]
    while todo:
        here = todo.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        places += [(here, key) for key in keys]
        todo += [here[key] for key in keys]
    return places


def _value(random: Random) -> Any:
    kind = random.randrange(6)
    if kind < 3:
        return random.choice(_NUMBERS)
    if kind < 5:
        return random.choice(_TEXTS)
    return random.choice(([], {}, None, [[]], [None], {"": 0}))


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _typed(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _typed(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_typed(value) for value in document]
    return _scalar(document) if isinstance(document, str) else document


def _changed(document: Any, random: Random) -> Any:
    places = _places(document)
    if not places:
        return document
    container, key = random.choice(places)
    match random.randrange(7):
        case 0 | 1:
            container[key] = _value(random)
        case 2:
            del container[key]
        case 3:
            other, of = random.choice(_places(random.choice(_documents())))
            container[key] = _typed(other[of])
        case 4 if isinstance(container, dict):
            container[random.choice(_keys())] = _value(random)
        case 5 if isinstance(container, dict):
            container[random.choice(_keys())] = container.pop(key)
        case _:
            lists = [(each, at) for each, at in places if isinstance(each[at], list) and each[at]]
            if lists:
                each, at = random.choice(lists)
                each[at] = each[at] * random.choice((2, 9, 30))
    return document


def _bomb(random: Random) -> str:
    """Return a text that is small, or long on one line, and large or deep when it is read."""
    size = random.choice((30, 300, 3_000))
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return random.choice(
        (
            f"a0: &a0 1\n{levels}",
            "a: &a {b: *a}",
            f"a: {'[' * size}{']' * size}",
            f"a: {'{a: ' * size}",
            f"workload: [{', '.join(['{channel: email}'] * size)}]",
            f"a: {{{', '.join(f'k{n}: {n}' for n in range(size))}}}",
            f"faults: [{','.join('1' * size)}]",
            f"duration: {'9' * size}s",
            f"seed: 0x{'f' * size}",
            f"seed: {'1' * size}",
            f"{'? ' * size}",
            f"a: {'- ' * size}",
            f"{'&a ' * size}",
            f"a: !!python/object:os.system {'x' * size}",
            f'a: "{chr(92)}UFFFFFFFF"',
            f"{'#' * size}\n{'---' * size}",
            f"%YAML 9.9\n--- {'*a ' * size}",
        )
    )


def draw(random: Random) -> str:
    if random.random() < 0.15:
        return _bomb(random)
    document = _typed(random.choice(_documents()[:1] * 3 + _documents()))
    document["duration"] = "20s"
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        document = _changed(document, random)
    text = json.dumps(document, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.1:
        at = random.randrange(len(text))
        text = (
            text[:at]
            + random.choice(("", "\0", "\t", "\n", "{", "]", "'", "\ud800", "\ufeff", "&a ", "*a"))
            + text[at + 1 :]
        )
    return text


def feed(text: str) -> None:
    """Do with a text all that commands and studio do with one, and begin to run it."""
    if len(text) % 4 == 0:  # which reads it once more
        check(text, str(ROOT / "scenarios" / "drawn.yaml"))
    scenario = simulation.parse(text, str(ROOT / "scenarios" / "drawn.yaml"))
    for _ in lint_scenario(scenario):
        pass
    warning_of(size_of(scenario))
    looks = iter(range(LOOKS))
    result = simulation.run(scenario, cancelled=lambda: next(looks, None) is None)
    json.dumps(result.summary, allow_nan=False)


KIND = Kind(
    "scenarios",
    draw,
    feed,
    refuses=(ConfigurationError, RunCancelled),
    short=1,
    long=400,
    bounds=Bounds(steps=30_000_000, cpu_s=20.0, memory=150 * 10**6),
)
"""No scenario is read or run on a loop that serves anyone, so what counts is that it ends."""
