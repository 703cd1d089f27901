"""The reaction of an Envoy proxy to a failed request, as settings of a channel: for Envoy's own files and Istio's.

Facts from Envoy 1.40, run, and Istio's source at 86c9f01f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.settings.quantities import write_duration
from simulation.importing.configuration import Draft, Section, Setting, Timed, default
from simulation.importing.policy import Mark

_RESETS = frozenset({"connection", "lost_reply", "timeout"})
_CONNECTION = (frozenset({"connection"}), "")
_GRPC = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
_GATEWAY = "of answers only 502, 503 and 504 there, not 500; here all that are transient"
_REASONS = {
    "5xx": (_RESETS | {"transient"}, ""),
    "gateway-error": (_RESETS | {"transient"}, _GATEWAY),
    "reset": (_RESETS, ""),
    **dict.fromkeys(("reset-before-request", "connect-failure", "refused-stream"), _CONNECTION),
    "http3-post-connect-failure": _CONNECTION,
    "envoy-ratelimited": (frozenset({"throttled"}), ""),
    "retriable-4xx": (frozenset[str](), "409 is tried again there; here it is permanent"),
    "retriable-headers": (frozenset[str](), "headers of the answer decide there"),
    **dict.fromkeys(("retriable-status-codes", *_GRPC), (frozenset[str](), "")),
}
"""The words of `retry_on`: the failures that are tried again, and what cannot be said of them."""

FOR_GRPC = "over gRPC alone: {words}; an answer of HTTP with 5xx is not tried again"
EJECTION = "it puts out one host of many, by a share of all; then all traffic comes back to it, not a probe"
WHOLE = "a whole number"


@dataclass
class Retries:
    """The effective settings of retries, each with its place."""

    attempts: Setting
    """The number of retries."""

    on: Setting
    on_words: Sequence[str]
    base: Timed
    """The first wait before jitter."""

    codes: Sequence[int] = ()
    codes_setting: Setting | None = None
    per_try: Timed | None = None
    whole: Timed | None = None
    """The time-out over all tries; None: there is none."""

    longest: Timed | None = None


def put_retries(draft: Draft, retries: Retries) -> None:
    """Set attempts, waits and time-outs of a route with a retry policy."""
    count = retries.attempts.whole
    if count is None or count < 0:
        draft.refuse(retries.attempts, "wanted a whole number of at least 0")
        return
    kinds = _kinds(draft, retries)
    if kinds or not count:
        draft.put("retry.max_attempts", count + 1, retries.attempts)
    else:
        draft.set("retry.max_attempts", 1)
        draft.dead(retries.attempts, "no reason of retry_on leads to a retry that can be said here")
    if kinds and count:
        draft.set("retry.on", sorted(kinds))
        _waits(draft, retries)
    draft.set("retry.retry_after", "ignore")
    put_time_outs(draft, retries.per_try, retries.whole)
    if retries.per_try and kinds and "timeout" not in kinds and count:
        why = "neither 5xx, gateway-error nor reset is in retry_on"
        draft.note(f"A try that its own time-out ends is not tried again: {why}.")


def _waits(draft: Draft, retries: Retries) -> None:
    base, setting = retries.base
    base, why = (0.001, "rounded up to a millisecond") if 0 < base < 0.001 else (base, "")
    usual = default(setting.file, "max_interval", write_duration(round(10 * base, 9)))
    longest, limit = retries.longest or (10 * base, usual)
    longest = max(longest, 0.001) if longest > 0 else longest
    if base <= 0 or longest < base:
        draft.refuse(limit if base > 0 else setting, "wanted a base above 0, and a longest wait of at least that")
        return
    draft.put("retry.initial_delay", write_duration(round(base, 9)), setting, why=why)
    draft.put("retry.max_delay", write_duration(round(longest, 9)), limit)
    draft.set("retry.jitter", "full")


def _kinds(draft: Draft, retries: Retries) -> set[str]:
    kinds: set[str] = set()
    problems: list[str] = []
    useless = [f"{word!r} is no reason that Envoy knows" for word in retries.on_words if word not in _REASONS]
    for word in retries.on_words:
        of, problem = _REASONS.get(word, (frozenset[str](), ""))
        kinds |= of
        problems += filter(None, [problem])
    grpc = [word for word in retries.on_words if word in _GRPC]
    if grpc and "transient" not in kinds:
        problems.append(FOR_GRPC.format(words=", ".join(grpc)))
    if "retriable-status-codes" in retries.on_words:
        named = {"throttled" if code == 429 else "transient" if code >= 500 else "" for code in retries.codes}
        if "transient" in named and "5xx" not in retries.on_words:
            problems.append(f"of answers only {', '.join(map(str, retries.codes))} there; here all of their kind")
        if "" in named:
            problems.append("codes below 500 but 429 are permanent here")
        if not retries.codes:
            useless.append("retriable-status-codes does nothing without a code")
        kinds |= named - {""}
    elif retries.codes and retries.codes_setting is not None:
        draft.dead(retries.codes_setting, "only with retriable-status-codes in retry_on")
    if retries.on_words:
        mark = Mark.EXACT if kinds or not useless else Mark.DOES_NOTHING
        mark = (Mark.APPROXIMATE if kinds else Mark.CANNOT_BE_SAID) if problems else mark
        draft.say(retries.on, mark, "; ".join(dict.fromkeys([*problems, *useless])), "retry.on" if kinds else "")
    return kinds


def put_time_outs(draft: Draft, per_try: Timed | None, whole: Timed | None) -> None:
    """Set the time-out of a try and that over all tries; 0 is none."""
    limit = whole[0] if whole is not None and whole[0] > 0 else None
    for path, timed in (("timeout", per_try), ("deadline", whole)):
        if timed is None:
            continue
        if timed[0] <= 0:
            draft.exact(timed[1], path, "0 is no time-out")
        elif timed is per_try and limit is not None and timed[0] >= limit:
            draft.dead(timed[1], f"the time-out over all tries, {write_duration(limit)}, comes first")
        else:
            draft.put(path, write_duration(timed[0]), timed[1])


def put_ejection(draft: Draft, section: Section, percent: Setting | None, default_percent: int = 10) -> None:
    """Say of outlier detection that a channel, which has one provider, cannot say it; and when nobody is put out."""
    share = percent.whole if percent is not None else default_percent
    few = ""
    if share and share < 51:
        few = f"with fewer than {-(-100 // share)} hosts nobody is put out, as at most {share}% are"
    for setting in ([percent] if percent is not None else []) + section.left:
        draft.unsaid(setting, EJECTION)
    if percent is None and section.left:
        draft.unsaid(default(section.setting.file, "maximum ejection", f"{share}%"), few or EJECTION)
    if few:
        draft.note(f"Outlier detection: {few}.")


def put_limits(draft: Draft, requests: Setting | None, connections: Setting | None, others: Sequence[Setting]) -> None:
    """Set what bounds requests at once."""
    if requests is not None:
        limit = requests.whole
        if limit is None or limit < 0:
            draft.refuse(requests, "wanted a whole number")
        elif limit:
            reason = "of HTTP/2; one that is refused is not tried again there, and is here"
            draft.put("max_in_flight", {"limit": limit, "wait": "0s"}, requests, reason)
    if connections is not None:
        reason = "a bound of connections; which are one request each only in HTTP/1, where others wait for one"
        draft.unsaid(connections, reason)
    for setting in others:
        draft.unsaid(setting, "a channel's line has no bound, and its connections no age")


def put_budget(draft: Draft, share: Setting, least: Setting) -> None:
    """Set Envoy's retry budget: a share of what is under way, or a number of retries at once."""
    part, count = share.number, least.whole
    settings = {"kind": "envoy", "share": f"{20.0 if part is None else part:g}%"}
    draft.put("retry.budget", {**settings, "min_concurrency": 3 if count is None else count}, share)
    draft.exact(least, "retry.budget")


def put_retries_at_once(draft: Draft, setting: Setting, count: int) -> None:
    """Set how many retries there are at once."""
    draft.put("retry.budget", {"kind": "envoy", "share": "0%", "min_concurrency": count}, setting)
