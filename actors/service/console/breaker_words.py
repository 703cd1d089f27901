"""Circuit breakers in words: why they have changed, and what they do with attempts now or after an override."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping

from actors.messages import BreakerState, BreakerTransitioned, NotificationChannel
from actors.notifier import BreakerOverride
from actors.pipeline.wiring import Stages
from actors.policies.breaker.states import NOT_CLOSED
from actors.service.operations.breakers import RELOAD, BreakerNow

ORDERS: dict[BreakerOverride, str] = {
    "force-open": "Force open",
    "close": "Close",
    "disable": "Disable",
    "metrics-only": "Metrics only",
}
_FATES = {"wait": "waits", "fail": "fails at once, and uses up an attempt"}
"""The fate of an attempt that meets an open breaker, by `when_open`."""

_CAUSES: dict[str, str] = {
    "wait-over": "its open time has passed: a probe may go",
    "recover": "the provider answered the probe",
    "others-open": "other nodes say that theirs is open",
    "probes-overdue": "the probe gave no result in time",
    "benefit-of-the-doubt": "the probe gave no result in time",
    RELOAD: "the settings were read again, and it began anew",
    **dict.fromkeys(map(str, ORDERS), "an operator's override"),
}


def because(transition: BreakerTransitioned) -> str:
    """Return the cause of a transition in words."""
    if transition.cause == "trip":
        return "the probe failed" if transition.from_state == BreakerState.HALF_OPEN else "calls failed"
    return _CAUSES.get(transition.cause, transition.cause)


def arriving(breaker: BreakerNow) -> str:
    """Return the fate of an attempt that comes to a breaker now."""
    kept_back = _FATES[breaker.when_open]
    if breaker.instead is not None:
        kept_back = f"goes to {breaker.instead}, where that takes it"
    is_one = breaker.probes_left == 1
    probes = "once, as a probe" if is_one else f"{breaker.probes_left} times, as probes"
    return {
        "all": "is let through",
        "paced": "is let through at a limited rate, behind what has waited",
        "share": f"is let through in a growing share; the rest {kept_back}",
        "probe": f"is let through {probes}; until {'that is' if is_one else 'they are'} answered, the rest {kept_back}",
        "none": kept_back,
    }[breaker.admits]


def keeping_back(breakers: Iterable[BreakerNow]) -> list[str]:
    """Return a sentence for each group of breakers that are not closed: their name, their state, and what arrives."""
    hosts: Counter[str] = Counter()
    groups: Counter[tuple[str, BreakerState, str]] = Counter()
    for each in breakers:
        hosts[each.name] += 1
        if each.state in NOT_CLOSED:
            groups[each.name, each.state, arriving(each)] += 1
    return [
        f"The circuit breaker of {name} {_of_hosts(count, hosts[name])}is {state}: what arrives {fate}."
        for (name, state, fate), count in groups.items()
    ]


def retried(breakers: Iterable[BreakerNow], channels: Container[str]) -> list[str]:
    """Return a sentence for each breaker that would hold back retries on these channels now."""
    return keeping_back(each for each in breakers if each.channel in channels and each.admits in ("none", "probe"))


def _of_hosts(count: int, of: int) -> str:
    return f"for {count:,} of {of:,} hosts " if of > 1 else ""


def meaning(override: BreakerOverride, channels: Mapping[NotificationChannel, Stages]) -> str:
    """Return the effect of an override, by the settings of the channels."""
    match override:
        case "force-open":
            return f"Nothing is sent; what arrives {_kept_back(channels)}, until another override or a restart."
        case "close":
            waits = any(_when_open(stages) == "wait" for stages in channels.values())
            return f"Start again with all counts at zero{'; what waits resumes at a limited rate' if waits else ''}."
        case "disable":
            return "Let everything through, and count nothing."
        case _:
            return "Let everything through and count, but never open."


def _kept_back(channels: Mapping[NotificationChannel, Stages]) -> str:
    on: dict[str, list[str]] = {}
    for channel, stages in channels.items():
        on.setdefault(_FATES[_when_open(stages)], []).append(channel)
    said = [f"{fate} ({', '.join(names)})" if len(on) > 1 else fate for fate, names in on.items()]
    others = ", unless another provider takes it" if any(len(each.lanes) > 1 for each in channels.values()) else ""
    return " or ".join(said) + others


def _when_open(stages: Stages) -> str:
    return stages.lanes[0].config.circuit_breaker.when_open
