"""Circuit breakers in words: why they have changed, and the fate of what arrives at them now or after an override."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence

from actors.messages import BreakerState, BreakerTransitioned
from actors.notifier import BreakerOverride
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
    probes = "once, as a probe" if breaker.probes_left == 1 else f"{breaker.probes_left} times, as probes"
    return {
        "all": "is let through",
        "paced": "is let through at a limited rate, behind what has waited",
        "share": f"is let through in a growing share; the rest {kept_back}",
        "probe": f"is let through {probes}; the rest {kept_back}",
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
    """Return a sentence for each breaker that keeps back what is retried now on these channels."""
    return keeping_back(each for each in breakers if each.channel in channels and each.admits in ("none", "probe"))


def _of_hosts(count: int, of: int) -> str:
    return f"for {count:,} of {of:,} hosts " if of > 1 else ""


def meaning(override: BreakerOverride, breakers: Sequence[BreakerNow]) -> str:
    """Return the effect of an override, by the settings of the channels that have breakers here."""
    match override:
        case "force-open":
            return f"Nothing is sent; what arrives {_kept_back(breakers)}, until an operator closes it."
        case "close":
            resumes = all(each.when_open == "fail" for each in breakers) and bool(breakers)
            return f"Start again with all counts at zero{'' if resumes else '; what waits resumes at a limited rate'}."
        case "disable":
            return "Let everything through, and count nothing."
        case _:
            return "Let everything through and count, but never open."


def _kept_back(breakers: Sequence[BreakerNow]) -> str:
    on: dict[str, dict[str, None]] = {}
    for each in breakers:
        on.setdefault(_FATES[each.when_open], {})[each.channel] = None
    said = [f"{fate} ({', '.join(channels)})" if len(on) > 1 else fate for fate, channels in on.items()]
    others = ", unless another provider takes it" if any(each.name != each.channel for each in breakers) else ""
    return (" or ".join(said) or "waits or fails, by its settings") + others
