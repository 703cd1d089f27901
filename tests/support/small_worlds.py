"""Worlds of a few dozen notifications, drawn whole, all of whose times are a few steps.

What a case of the swarm is takes a scenario and changes it. Here everything is drawn at once: little happens, but much
of it at the same instant, and with settings that are seldom together. So a world is small enough to be read, too.

    python tests/support/small_worlds.py --seeds 0:1000

runs them with all invariants, of which the reference model is one, and prints those that break.
"""

import argparse
import json
import sys
import time
import traceback
from random import Random
from typing import Any

import simulation
from actors.errors import InvariantBreach
from simulation.scenario import Scenario
from simulation.scenario.loading import parse

STEPS_S = (0.25, 0.5, 1.0, 2.0, 0.001, 0.1)  # 0.1 is no sum of powers of two

OUTCOMES = {
    "sent": 8,
    "transient": 6,
    "throttled": 3,
    "ambiguous": 3,
    "permanent": 1,
    "lost": 1,
    "hang": 1,
    "channel_fault": 1,
    "dead_destination": 1,
}
"""What a written answer may be, each with how often."""

BUDGETS = (
    {"kind": "token_bucket", "share": 0.3, "capacity": 3},
    {"kind": "grpc", "max_tokens": 4},
    {"kind": "envoy"},
    {"kind": "aws", "capacity": 40},
)


def small_world(seed: int) -> Scenario:
    """Return the world of a seed: every other one with several nodes, every third with messages that go astray."""
    drawn = _World(seed).drawn(has_nodes=seed % 2 == 1, goes_astray=seed % 3 == 2)
    return parse(json.dumps(drawn), f"small-world-{seed}.yaml")


class _World:
    """What is drawn for a seed, as a scenario file has it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random(seed)
        self._step_s = self._random.choice(STEPS_S)
        self._steps = self._random.randint(8, 30)
        names = self._random.sample(("email", "sms", "push", "webhook"), self._random.randint(1, 2))
        self._channels: dict[str, dict[str, Any]] = {name: {} for name in names}

    # ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _one_of(self, *values: Any) -> Any:
        return self._random.choice(values)

    def _from(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def _time(self, least: int, most: int) -> str:
        """Draw a duration of so many steps."""
        return f"{round(self._from(least, most) * self._step_s * 1000)}ms"

    def _rate(self, least: int = 1, most: int = 3) -> str:
        return f"{self._from(1, 3)}/{self._time(least, most)}"

    def _times(self, least: int, most: int) -> Any:
        """Draw a duration, or two that are met by chance."""
        if self._chance(0.5):
            return self._time(least, most)
        return {"mixture": [{"weight": self._from(1, 3), "constant": self._time(least, most)} for _ in range(2)]}

    def _some(self, **drawn: Any) -> dict[str, Any]:
        """Draw which settings there are: each is a share, and what draws its value."""
        return {name: draw() for name, (share, draw) in drawn.items() if self._chance(share)}

    # ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────

    def drawn(self, *, has_nodes: bool, goes_astray: bool) -> dict[str, Any]:
        for name in self._channels:
            self._channels[name] = self._channel(name, has_nodes=has_nodes)
        faults = [self._fault(has_nodes=has_nodes) for _ in range(self._from(1, 6))]
        faults += [self._astray()] if goes_astray else []
        operations = [self._operation() for _ in range(self._from(0, 4))]
        drawn = {
            "seed": self._seed,
            "duration": self._time(self._steps, self._steps),
            "drain": "100h",
            "workload": [entry for name in self._channels for entry in self._workload(name)],
            "channels": self._channels,
        }
        drawn |= {"faults": faults} if faults else {}
        drawn |= {"operations": operations} if operations else {}
        drawn |= self._some(
            commit_latency=(0.5, lambda: self._time(1, 3)),
            remember_ids=(0.3, lambda: self._time(3, 10)),
            max_pending=(0.2, lambda: self._from(3, 12)),
            dead_letters=(0.2, lambda: {"keep": self._time(3, 10)}),
        )
        if has_nodes:
            routing = self._one_of("round_robin", "random", "by_user", "by_host")
            drawn["nodes"] = {"count": self._from(2, 3), "routing": routing, "takeover_after": self._time(4, 10)}
        return drawn

    def _workload(self, channel: str) -> list[dict[str, Any]]:
        return [
            {
                "channel": channel,
                "arrivals": {"burst": {"size": self._from(1, 3), "every": self._time(1, 4)}},
                **self._some(
                    expires_after=(0.5, lambda: self._times(1, 8)),
                    not_before=(0.2, lambda: self._times(1, 5)),
                    users=(0.4, lambda: self._from(1, 3)),
                    priority=(0.3, lambda: self._one_of("critical", "normal", "bulk")),
                    repeats=(0.2, lambda: 0.3),
                    hosts=(0.3, lambda: 2),
                    tenants=(0.2, lambda: 2),
                    resend=(0.2, lambda: {"after": self._time(1, 2), "at_most": 2}),
                ),
            }
            for _ in range(self._from(1, 2))
        ]

    # ── channels ────────────────────────────────────────────────────────────────────────────────────────────────

    def _channel(self, name: str, *, has_nodes: bool) -> dict[str, Any]:
        others = [other for other in self._channels if other != name]
        falls_back = bool(others) and name == next(iter(self._channels))
        lane = self._lane(has_nodes=has_nodes)
        return {
            **lane,
            **self._some(
                rate_limit=(0.25, lambda: {"rate": self._rate(2, 5)}),
                failover=(0.3, lambda: {"spare": self._spare(lane, has_nodes=has_nodes)}),
                fallback=(0.4 * falls_back, lambda: {"channel": others[0], **self._after()}),
                redrive=(0.2, lambda: {"when": "breaker_closes", "rate": f"1/{self._time(1, 1)}"}),
                endpoints=(0.15, lambda: {"disable_after": self._time(3, 10)}),
                tenant=(0.15, lambda: {"max_in_flight": self._from(1, 2)}),
                order=(0.15, lambda: {"kind": "strict", "aging": self._time(1, 4)}),
            ),
        }

    def _after(self) -> dict[str, Any]:
        return self._some(after=(0.6, lambda: self._time(1, 8)))

    def _lane(self, *, has_nodes: bool) -> dict[str, Any]:
        """Draw what a provider has of its own."""
        return {
            "timeout": self._time(1, 6),
            "retry": self._retry(4),
            "circuit_breaker": self._breaker(has_nodes=has_nodes),
            "provider": self._provider(),
            **self._some(
                hedging=(0.3, lambda: {"max_attempts": self._from(2, 4), "delay": self._time(0, 3)}),
                max_in_flight=(0.3, self._bulkhead),
                quota=(0.3, lambda: self._quota(has_nodes=has_nodes)),
            ),
        }

    def _spare(self, first: dict[str, Any], *, has_nodes: bool) -> dict[str, Any]:
        """Draw a further provider: each setting is its own, that of the first, or none."""
        own = self._lane(has_nodes=has_nodes)
        del own["retry"]
        own["circuit_breaker"].pop("when_open", None)
        own["circuit_breaker"]["per"] = first["circuit_breaker"].get("per", "channel")
        kept = {key: value for key, value in own.items() if key == "provider" or self._chance(0.5)}
        return kept | self._some(
            max_in_flight=(0.1, lambda: None), quota=(0.1, lambda: None), hedging=(0.1, lambda: None)
        )

    def _retry(self, most: int) -> dict[str, Any]:
        return {
            "max_attempts": self._from(1, most),
            "initial_delay": self._time(self._one_of(0, 1, 1), 3),
            "backoff": self._one_of("constant", "exponential", "linear"),
            "max_delay": self._time(6, 8),
            "jitter": "none",
            **self._some(
                max_elapsed=(0.2, lambda: self._time(2, 10)),
                budget=(0.2, lambda: self._one_of(*BUDGETS, {"share": "50%", "ttl": self._time(2, 6)})),
            ),
        }

    def _breaker(self, *, has_nodes: bool) -> dict[str, Any]:
        breaker = {"failure_threshold": self._from(1, 3), "timeout": self._time(1, 4)}
        if self._chance(0.2):
            del breaker["failure_threshold"]
            window = self._one_of({"calls": 3}, {"time": self._time(2, 5)})
            breaker |= {"window": window, "minimum_calls": self._from(1, 3)}
            breaker |= self._some(slow_call=(0.5, lambda: {"duration": self._time(1, 3)}))
        if self._chance(0.3):
            breaker |= {"half_open_max": self._time(1, 3), "half_open_then": self._one_of("open", "closed", "probe")}
        if self._chance(0.3):
            decide = self._one_of("first_failure", "when_decided", "when_all_used")
            breaker |= {"half_open_permits": self._from(1, 3), "decide": decide}
        if has_nodes and self._chance(0.4):
            breaker |= {"shared": self._one_of("any", "quorum"), "share_latency": self._time(0, 2)}
        return breaker | self._some(
            reopen=(0.2, lambda: "after"),
            when_open=(0.3, lambda: "fail"),
            resume_rate=(0.3, lambda: f"1/{self._time(1, 1)}"),
            ramp=(0.2, lambda: {"over": self._time(1, 4)}),
            per=(0.15, lambda: "host"),
            open_growth=(0.1, lambda: {"max": self._time(6, 8)}),
        )

    def _bulkhead(self) -> Any:
        return self._one_of(1, 2, 3, {"limit": 2, "wait": self._time(0, 2)})

    def _quota(self, *, has_nodes: bool) -> dict[str, Any]:
        kind = self._one_of("fixed_window", "sliding_window", "token_bucket", "leaky_bucket")
        is_divided = has_nodes and "bucket" in kind and self._chance(0.5)
        return {
            "rate": self._rate(),
            "kind": kind,
            **self._some(on_limit=(0.3, lambda: "drop")),
            **({"across": "nodes"} if is_divided else {}),
        }

    def _provider(self) -> dict[str, Any]:
        provider = {"latency": self._times(0, 5)} | self._some(
            failure_rate=(0.4, lambda: self._one_of(0.1, 0.5)),
            upstream=(0.6, self._upstream),
            connections=(0.15, lambda: self._from(1, 3)),
            script=(0.25, lambda: [self._answer() for _ in range(self._from(1, 15))]),
        )
        if self._chance(0.3):
            discipline = self._one_of("fifo", "critical_first", "processor_sharing")
            provider |= {"capacity": self._from(1, 3), "discipline": discipline}
        return provider

    def _upstream(self) -> dict[str, Any]:
        return {
            "latency": self._times(0, 3),
            "failure_rate": self._one_of(0, 0.3, 0.7),
            "retry": self._retry(3),
            **self._some(timeout=(0.5, lambda: self._time(1, 4))),
        }

    def _answer(self) -> dict[str, Any]:
        (outcome,) = self._random.choices(list(OUTCOMES), list(OUTCOMES.values()))
        answer = {"outcome": outcome}
        if outcome not in ("lost", "hang"):
            answer["latency"] = self._time(0, 6)
        if outcome == "throttled" and self._chance(0.5):
            answer["retry_after"] = self._time(0, 4)
        return answer

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def _fault(self, *, has_nodes: bool) -> dict[str, Any]:
        at = {"at": self._time(0, self._steps)}
        if has_nodes and self._chance(0.2):
            return at | self._fault_of_nodes()
        channel = self._one_of(*self._channels)
        if self._chance(0.5):
            trouble = self._trouble(channel)
            is_at_node = has_nodes and "speed" not in trouble and self._chance(0.3)
            return at | {"channel": channel} | trouble | (self._node() if is_at_node else {})
        if self._chance(0.1):
            return at | {"channel": "all", "clock_step": self._time(1, 5)}
        restart = self._some(restart_after=(0.75, lambda: self._time(0, 4)))
        if self._chance(0.4):
            node = self._node() if has_nodes and self._chance(0.7) else {}
            return at | {"channel": "all", "crash": "process"} | restart | node
        actors = ["handler", "handler", "breaker", "channel", "dlq", "alert"]
        actors += ["limiter"] if "rate_limit" in self._channels[channel] else []
        return at | {"channel": channel, "crash": {"actor": self._one_of(*actors)}} | restart

    def _node(self) -> dict[str, Any]:
        return {"node": self._from(1, 2)}

    def _fault_of_nodes(self) -> dict[str, Any]:
        return self._one_of(
            {"deploy": {"each_down": self._time(0, 3), "every": self._time(1, 4), "drain": self._time(0, 2)}},
            {"scale": {"to": self._from(1, 4), "drain": self._time(0, 2)}},
            {"partition": "store", "for": self._time(1, 8), **self._node()},
        )

    def _trouble(self, channel: str) -> dict[str, Any]:
        """Draw what a provider has for a while."""
        troubles = [
            {"outage": True},
            {"throttle": {"rate": f"1/{self._time(1, 2)}", "retry_after": self._time(0, 3)}},
            {"lost_reply_rate": 0.4},
            {"hang": True},
            {"failure_rate": 0.5},
            {"permanent_rate": 0.3},
        ]
        provider = self._channels[channel]["provider"]
        troubles += [{"failure_rate": 0.5, "upstream": True}] if "upstream" in provider else []
        troubles += [{"speed": self._one_of(0, 0.5)}] if "capacity" in provider else []
        return {"for": self._time(1, 10), **self._one_of(*troubles)}

    def _astray(self) -> dict[str, Any]:
        found: dict[str, Any] = {"channel": "all", "at": self._time(0, 3)}
        found |= self._some(duplicate_rate=(0.6, lambda: self._one_of(0.1, 0.5, 1.0)))
        if "duplicate_rate" not in found or self._chance(0.5):
            found["reorder"] = {"delay": self._times(0, 3)}
        return found | self._some(**{"for": (0.5, lambda: self._time(4, 20))})

    def _operation(self) -> dict[str, Any]:
        at = {"at": self._time(1, self._steps + 10)}
        match self._one_of("redrive", "discard", "cancel", "cancel", "breaker"):
            case "breaker":
                order = self._one_of("force-open", "disable", "close", "metrics-only")
                return at | {"breaker": order, "channel": self._one_of(*self._channels)}
            case "redrive":
                return at | {"redrive": "all"} | self._some(served=(0.3, lambda: "include"))
            case order:
                return at | {order: "all"}


def broken(seed: int) -> str | None:
    """Run the world of a seed with all invariants, and return what breaks."""
    try:
        simulation.run(small_world(seed), invariants="all")
    except InvariantBreach as breach:
        return f"{breach.invariant}: {breach.message}"
    except Exception:
        return traceback.format_exc()
    return None


def main() -> int:
    """Run the seeds that are asked for, print what breaks, and return 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:100", help="first:behind the last")
    first, last = map(int, parser.parse_args().seeds.split(":"))
    began, count = time.monotonic(), 0
    for seed in range(first, last):
        if (found := broken(seed)) is not None:
            count += 1
            print(f"{seed}: {found}\n", flush=True)
    print(f"{last - first} worlds, {count} break, {(last - first) / (time.monotonic() - began):.1f} a second")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
