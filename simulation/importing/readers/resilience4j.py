"""resilience4j as Spring Boot configures it: ``application.yml``, ``application-prod.properties``.

Rules from resilience4j's source at af9e7c97 (2026): which block inherits from which, which settings count only beside
others, and the numbers that hold where no file gives one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.errors import ConfigurationError
from actors.settings.quantities import write_duration
from simulation.importing.configuration import (
    RENDER,
    Draft,
    Setting,
    default,
    is_template,
    no_such_setting,
    shown,
    unreadable,
)
from simulation.importing.policy import Policy, Question
from simulation.importing.source import Given, SourceFile
from simulation.importing.spring import Application, Effective, applications as applications_of, names_of, relaxed
from simulation.importing.waits import LONGEST_S, within

# ── the modules ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _relaxed(*words: str) -> dict[str, str]:
    return {word.lower(): word for text in words for word in text.split()}


_COMMON = (
    "baseConfig eventConsumerBufferSize registerHealthIndicator allowHealthIndicatorToFail writableStackTraceEnabled"
)
_GROWTH = "enableExponentialBackoff exponentialBackoffMultiplier enableRandomizedWait randomizedWaitFactor"

KNOWN: Mapping[str, Mapping[str, str]] = {
    "retry": _relaxed(
        _COMMON,
        _GROWTH,
        "maxAttempts waitDuration exponentialMaxWaitDuration intervalBiFunction retryExceptions ignoreExceptions",
        "retryExceptionPredicate resultPredicate failAfterMaxAttempts consumeResultBeforeRetryAttempt",
        "ignoreClassBindingExceptions ignoreUnknownExceptions",
    ),
    "circuitbreaker": _relaxed(
        _COMMON,
        _GROWTH,
        "slidingWindowType slidingWindowSize minimumNumberOfCalls failureRateThreshold slowCallRateThreshold",
        "slowCallDurationThreshold waitDurationInOpenState exponentialMaxWaitDurationInOpenState initialState",
        "permittedNumberOfCallsInHalfOpenState maxWaitDurationInHalfOpenState transitionToStateAfterWaitDuration",
        "automaticTransitionFromOpenToHalfOpenEnabled recordExceptions ignoreExceptions recordFailurePredicate",
        "recordResultPredicate ignoreExceptionPredicate ignoreClassBindingExceptions ignoreUnknownExceptions",
    ),
    "ratelimiter": _relaxed(_COMMON, "limitForPeriod limitRefreshPeriod timeoutDuration subscribeForEvents"),
    "timelimiter": _relaxed(_COMMON, "timeoutDuration cancelRunningFuture"),
    "bulkhead": _relaxed(_COMMON, "maxConcurrentCalls maxWaitDuration"),
    "threadpoolbulkhead": _relaxed(
        _COMMON, "maxThreadPoolSize coreThreadPoolSize queueCapacity keepAliveDuration contextPropagators"
    ),
}
"""The settings of each module, as they are spelt, by their relaxed names."""

OLD: Mapping[str, tuple[str, ...]] = {
    "maxretryattempts": ("maxattempts",),
    "ringbuffersizeinclosedstate": ("slidingwindowsize", "minimumnumberofcalls"),
    "ringbuffersizeinhalfopenstate": ("permittednumberofcallsinhalfopenstate",),
    "waitdurationinopenstatemillis": ("waitdurationinopenstate",),
    "waitinterval": ("waitduration",),
}
"""Names of before version 2, each with the settings that it stands for."""

ASPECTS: Mapping[str, str] = {
    f"{module}aspectorder": module for module in ("retry", "circuitbreaker", "ratelimiter", "timelimiter", "bulkhead")
}
"""The settings of the order of modules, the outermost first where none is given."""

NOT_ABOUT_CALLS: Mapping[str, str] = {
    **dict.fromkeys(("eventconsumerbuffersize", "subscribeforevents"), "it keeps events for the actuator"),
    **dict.fromkeys(("registerhealthindicator", "allowhealthindicatortofail"), "it shows a state to the actuator"),
    **dict.fromkeys(
        ("ignoreclassbindingexceptions", "ignoreunknownexceptions"), "it is about classes that are not there"
    ),
    "writablestacktraceenabled": "it shortens stack traces",
    "consumeresultbeforeretryattempt": "it is called between attempts and changes no wait",
    "cancelrunningfuture": "the attempt is over for its caller either way",
    **dict.fromkeys(("metrics", "tags", "micrometer", "scheduled", "thread", "enabled"), ""),
}
"""Settings and modules that change no attempt, with the reason."""

FAILURES = ("transient", "throttled", "timeout", "lost_reply", "connection")
"""The failures that a channel can try again."""

_ALL = (*FAILURES, "permanent", "refused")
_IO = ("connection", "timeout", "lost_reply")
EXCEPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Throwable", "Exception", "RuntimeException"), _ALL),
    **dict.fromkeys(("FeignException", "RestClientException", "WebClientException"), (*FAILURES, "permanent")),
    **dict.fromkeys(("IOException", "ResourceAccessException", "WebClientRequestException", "RetryableException"), _IO),
    **dict.fromkeys(("ConnectException", "UnknownHostException", "NoRouteToHostException"), ("connection",)),
    **dict.fromkeys(("ConnectTimeoutException", "HttpHostConnectException"), ("connection",)),
    "SocketException": ("connection", "lost_reply"),
    **dict.fromkeys(("SocketTimeoutException", "TimeoutException", "HttpTimeoutException"), ("timeout",)),
    **dict.fromkeys(("ReadTimeoutException",), ("timeout",)),
    **dict.fromkeys(("HttpServerErrorException", "FeignServerException"), ("transient",)),
    **dict.fromkeys(("InternalServerError", "ServiceUnavailable", "BadGateway", "GatewayTimeout"), ("transient",)),
    "TooManyRequests": ("throttled",),
    **dict.fromkeys(("HttpClientErrorException", "FeignClientException"), ("throttled", "permanent")),
    **dict.fromkeys(("WebClientResponseException", "HttpStatusCodeException"), ("transient", "throttled", "permanent")),
    "CallNotPermittedException": ("refused",),
}
"""The failures that exceptions stand for by their usual meaning; ``refused`` is by one's own open breaker."""


_FORMULA_OFF_MAX = 0.002
_SCHEDULE_MAX = 60
_NO_START = "the application does not start: "

Block = Mapping[str, Setting]
"""The settings of an instance or a config, by their relaxed names."""


class Refused(Exception):
    """The application does not start with this setting."""

    def __init__(self, setting: Setting, reason: str) -> None:
        super().__init__(setting, reason)
        self.setting, self.reason = setting, reason


_ON = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


@dataclass
class Values:
    """The effective settings of a module for an instance, with the tools that a reader needs."""

    draft: Draft
    file: str
    chain: Sequence[Block]
    settings: Mapping[str, Setting]

    def get(self, key: str) -> Setting | None:
        return self.settings.get(relaxed(key))

    def given_or(self, key: str, written: str) -> Setting:
        return self.get(key) or default(self.file, key, written)

    def whole(self, key: str, written: str) -> tuple[int, Setting]:
        setting = self.given_or(key, written)
        value = setting.whole
        if value is None and re.fullmatch(r"[1-9][0-9_]*", setting.written):
            value = int(setting.written.replace("_", ""))  # YAML 1.1, which Spring reads
        if value is None or value < 1:
            raise Refused(setting, f"{_NO_START}wanted a whole number of at least 1")
        return value, setting

    def number(self, key: str, written: str, least: float, most: float) -> tuple[float, Setting]:
        setting = self.given_or(key, written)
        value = setting.number
        if value is None or not least <= value <= most:
            raise Refused(setting, f"{_NO_START}wanted a number from {least:g} to {most:g}")
        return value, setting

    def duration(self, key: str, written: str) -> tuple[float, Setting]:
        setting = self.given_or(key, written)
        is_number = re.fullmatch(r"[1-9][0-9_]*", setting.written)  # YAML 1.1, which Spring reads
        seconds = duration_of(setting.written.replace("_", "") if is_number else setting.written)
        if seconds is None or seconds < 0:
            raise Refused(setting, f"{_NO_START}wanted a whole number such as 500ms, 2s or 5m, or PT1.5S")
        return seconds, setting

    def is_on(self, key: str) -> bool:
        setting = self.given_or(key, "false")
        if setting.written.lower() not in _ON:
            raise Refused(setting, f"{_NO_START}wanted true or false")
        return _ON[setting.written.lower()]

    def unsaid(self, why: str, *keys: str) -> None:
        for key in keys:
            if (setting := self.get(key)) is not None:
                self.draft.unsaid(setting, why)

    def beside(self, keys: Sequence[str], there: Block, base: str) -> Values:
        """Return the effective settings, of the ones that count only in a block with the base setting."""
        for key in keys:
            if (setting := self.get(key)) is not None and key not in there:
                self.draft.dead(setting, f"it counts only beside a {base} in the same block")
        return replace(self, settings=there)


_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1e-3}
_ISO = re.compile(r"[+-]?P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d{0,9})?)S)?)?", re.IGNORECASE)


def duration_of(text: str) -> float | None:
    """Return the seconds of a duration as Spring Boot reads it, where a number alone is milliseconds; else None."""
    if match := re.fullmatch(r"([+-]?\d{1,15})([a-zA-Z]{0,2})", text):
        unit = _UNITS.get(match[2].lower())
        return None if unit is None else within(round(int(match[1]) * unit, 9))
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()) or len(text) > 40:
        return None
    parts = zip(match.groups(), (86400, 3600, 60, 1), strict=True)
    return within((-1 if text[0] == "-" else 1) * sum(float(part or 0) * unit for part, unit in parts))


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────

_ON_OFF = ("enableexponentialbackoff", "enablerandomizedwait")
_INTERVAL = (*_ON_OFF, "exponentialbackoffmultiplier", "exponentialmaxwaitduration")


def _retry(values: Values) -> None:
    attempts, setting = values.whole("maxAttempts", "3")
    values.draft.put("retry.max_attempts", attempts, setting)
    if custom := values.get("intervalBiFunction"):
        raise Refused(custom, "the waits are computed in code")
    _waits(values, attempts)
    _which_failures(values)


def _waits(values: Values, attempts: int) -> None:
    draft, settings = values.draft, values.settings
    merged: dict[str, Setting] = {}
    used: dict[str, Setting] = {}
    for block in values.chain:
        held = {key: settings[key] for key in block if key in settings}
        own = {key: each for key, each in held.items() if (each.line, each.file) == (block[key].line, block[key].file)}
        merged |= {key: own[key] for key in _INTERVAL if key in own}
        if "waitduration" in own or ("waitduration" in block and "waitDuration" in draft.open_keys):
            used = merged | {key: own[key] for key in ("waitduration", "randomizedwaitfactor") if key in own}
    held_values = values.beside((*_INTERVAL, "randomizedwaitfactor"), used, "waitDuration")
    wait, setting = held_values.duration("waitDuration", "500ms")
    wait = int(wait * 1000 + 1e-6) / 1000
    exponential, randomized = (held_values.is_on(key) for key in _ON_OFF)
    if (exponential or randomized) and wait < 0.001:
        raise Refused(setting, f"{_NO_START}wanted a waitDuration of at least 1 ms")
    multiplier = held_values.number("exponentialBackoffMultiplier", "1.5", 1e-9, 1e9)[0] if exponential else 1.0
    cap = None
    if exponential and "exponentialbackoffmultiplier" in used and "exponentialmaxwaitduration" in used:
        cap, limit = held_values.duration("exponentialMaxWaitDuration", "")
        if cap < 0.001:
            raise Refused(limit, f"{_NO_START}wanted at least 1 ms")
    factor = held_values.number("randomizedWaitFactor", "0.5", 0, 0.999999999)[0] if randomized else 0.0
    _put_waits(draft, setting, wait, multiplier, cap, factor, attempts)
    enable = "only with enableExponentialBackoff"
    for key, path, counts, why, usual in (
        ("enableExponentialBackoff", "retry.backoff", True, "", ""),
        ("exponentialBackoffMultiplier", "retry.backoff_multiplier", exponential, f"{enable}: true", "1.5"),
        ("exponentialMaxWaitDuration", "retry.max_delay", cap is not None,
         f"{enable} and an exponentialBackoffMultiplier", "no limit"),
        ("enableRandomizedWait", "retry.jitter", True, "", ""),
        ("randomizedWaitFactor", "retry.jitter_share", randomized, "only with enableRandomizedWait: true", "0.5"),
    ):  # fmt: skip
        given = used.get(relaxed(key))
        if given is not None and counts:
            draft.exact(given, path)
        elif given is not None:
            draft.dead(given, why)
        if usual and (exponential and cap is None if usual == "no limit" else counts and given is None):
            draft.exact(default(values.file, key, usual), path)


def _put_waits(
    draft: Draft, setting: Setting, wait: float, multiplier: float, cap: float | None, factor: float, attempts: int
) -> None:
    """Set the waits: by the formula, or as a list where the library's rounding to milliseconds makes them others."""
    limit = LONGEST_S if cap is None else cap
    drawn = [wait]
    for _ in range(min(attempts - 2, 10_000)):
        drawn.append(min(int(drawn[-1] * 1000 * multiplier + 1e-6) / 1000, LONGEST_S))
    waits = [min(each, limit) for each in drawn[: attempts - 1]]
    power_max = 500 / abs(math.log(multiplier) or 1)
    formula = [min(wait * multiplier ** min(place, power_max), limit) for place in range(len(waits))]
    near = all(abs(one - other) <= _FORMULA_OFF_MAX * one for one, other in zip(waits, formula, strict=True))
    is_formula = multiplier >= 1 and near
    off = ""
    if factor and (capped := next((place for place, each in enumerate(drawn, 1) if each > limit), None)):
        least = write_duration(round(limit * (1 - factor), 3))
        off = f"wait {capped} and later ones are drawn before they are cut there; here they go down to {least}"
    elif factor and not is_formula and max(waits, default=0.0) * (1 + factor) > limit:
        off = f"no wait is longer than {write_duration(limit)} there, also with its jitter"
    elif factor and wait < 0.1:
        off = "each wait is up to 1 ms longer there"
    if not is_formula and attempts <= _SCHEDULE_MAX:
        draft.put("retry.schedule", [write_duration(round(each, 3)) for each in waits], setting, off)
    elif not is_formula:
        why = "the waits become shorter, or are rounded to milliseconds, for more attempts than can be listed"
        draft.refuse(setting, why)
    else:
        draft.put("retry.initial_delay", write_duration(wait if cap is None else min(wait, cap)), setting, off)
        growth = ("backoff", "constant") if multiplier == 1 else ("backoff_multiplier", multiplier)
        draft.set(f"retry.{growth[0]}", growth[1])
        longest = cap if cap is not None else wait * (1 + factor) if multiplier == 1 else LONGEST_S
        draft.set("retry.max_delay", write_duration(round(min(longest, LONGEST_S), 9)))
    if factor:
        draft.set("retry.jitter", "proportional")
        draft.set("retry.jitter_share", round(factor, 9))


def _failures_of(setting: Setting) -> tuple[set[str], str]:
    """Return the kinds of failures that a list of exceptions stands for, and the classes that say nothing to us."""
    names = [re.split(r"[.$]", name.removesuffix(".class"))[-1] for name in names_of(setting)]
    kinds = {kind for name in names for kind in EXCEPTIONS.get(name, ())}
    return kinds, ", ".join(name for name in names if name not in EXCEPTIONS)


def _which_failures(values: Values) -> None:
    draft, on = values.draft, set(FAILURES)
    retried, ignored = values.get("retryExceptions"), values.get("ignoreExceptions")
    why = "code decides which failures are tried again; here all are"
    values.unsaid(why, "retryExceptionPredicate", "resultPredicate")
    if retried is None:
        reason = "every failure is tried again there; here one that is permanent, as a bad request, never is"
        draft.approximate(default(values.file, "retryExceptions", "all"), reason)
    else:
        on, unknown = _failures_of(retried)
        if unknown or not on - {"refused"}:
            on = set(FAILURES)
            what = unknown or "these classes"
            draft.unsaid(retried, f"code decides which failures {what} are; here all are tried again")
        else:
            open_too = "" if "refused" in on else "; an open breaker's refusal is not tried again there"
            on &= set(FAILURES)
            reason = f"by the usual meaning of these classes: {', '.join(sorted(on))}{open_too}"
            draft.put("retry.on", sorted(on), retried, reason)
    if ignored is not None:
        out, unknown = _failures_of(ignored)
        left = sorted(on - out)
        if out and left:
            draft.set("retry.on", left)
        reason = "what is final is said here by the outcome: permanent"
        reason = f"final by the usual meaning: {', '.join(sorted(out))}" if out else reason
        reason += f"; code decides which failures {unknown} are" if unknown else ""
        draft.approximate(ignored, reason, "retry.on" if out and left else "")
    if setting := values.get("failAfterMaxAttempts"):
        draft.dead(setting, "it chooses the exception after the last attempt")


# ── breakers, limiters, bulkheads ───────────────────────────────────────────────────────────────────────────────

_OF = "circuit_breaker"


def _breaker(values: Values) -> None:
    draft = values.draft
    if values.is_on("enableExponentialBackoff") and values.is_on("enableRandomizedWait"):
        raise Refused(values.given_or("enableRandomizedWait", ""), f"{_NO_START}not both kinds of backoff")
    kind = values.given_or("slidingWindowType", "COUNT_BASED")
    by_count = relaxed(kind.written) == "countbased"
    if not by_count and relaxed(kind.written) != "timebased":
        raise Refused(kind, f"{_NO_START}wanted COUNT_BASED or TIME_BASED")
    size, sized = values.whole("slidingWindowSize", "100")
    minimum, needed = values.whole("minimumNumberOfCalls", "100")
    off = "" if by_count else "the window moves on in whole seconds there"
    draft.put(f"{_OF}.window", {"calls": size} if by_count else {"time": f"{size}s"}, sized, off)
    draft.exact(kind, f"{_OF}.window")
    effective = min(minimum, size) if by_count else minimum
    reason = f"{effective} are needed, all that the window holds" if effective != minimum else ""
    draft.put(f"{_OF}.minimum_calls", effective, needed, why=reason)
    rate, setting = values.number("failureRateThreshold", "50", 1, 100)
    draft.put(f"{_OF}.failure_rate", f"{rate:g}%", setting)
    slow, setting = values.number("slowCallRateThreshold", "100", 1, 100)
    longer, duration = values.duration("slowCallDurationThreshold", "60s")
    draft.put(f"{_OF}.slow_call.duration", write_duration(longer), duration)
    draft.put(f"{_OF}.slow_call.rate", f"{slow:g}%", setting)
    _open_time(values)
    probes, setting = values.whole("permittedNumberOfCallsInHalfOpenState", "10")
    deciding = min(probes, minimum)
    off = f"{deciding} results decide, as minimumNumberOfCalls says; {probes} may be out at once there"
    draft.put(f"{_OF}.half_open_permits", deciding, setting, off if deciding != probes else "")
    draft.set(f"{_OF}.decide", "when_all_used")
    longest, setting = values.duration("maxWaitDurationInHalfOpenState", "0s")
    if longest:
        draft.put(f"{_OF}.half_open_max", write_duration(longest), setting)
    if (then := values.get("transitionToStateAfterWaitDuration")) is not None and longest:
        draft.put(f"{_OF}.half_open_then", then.written.lower(), then)
    elif then is not None:
        draft.dead(then, "only with a maxWaitDurationInHalfOpenState")
    automatic = "automaticTransitionFromOpenToHalfOpenEnabled"
    draft.set(f"{_OF}.reopen", "at" if values.is_on(automatic) else "after")
    if (setting_or_none := values.get(automatic)) is not None:
        draft.exact(setting_or_none, f"{_OF}.reopen")
    draft.set(f"{_OF}.when_open", "fail")
    _counted(values)
    if (state := values.get("initialState")) is not None:
        word = state.written.lower().replace("_", "-")
        if word in ("closed", "disabled", "forced-open", "metrics-only"):
            draft.put(f"{_OF}.initial_state", word, state)
        else:
            draft.unsaid(state, "a breaker here begins closed, disabled, forced-open or metrics-only")


def _open_time(values: Values) -> None:
    """Set how long it stays open: by the innermost block with a waitDurationInOpenState, and the settings in it."""
    draft, multiply, longest = values.draft, "exponentialbackoffmultiplier", "exponentialmaxwaitdurationinopenstate"
    growth = (_ON_OFF[0], multiply, longest, _ON_OFF[1], "randomizedwaitfactor")
    block = next((block for block in reversed(values.chain) if "waitdurationinopenstate" in block), {})
    there = {key: values.settings[key] for key in (*growth, "waitdurationinopenstate") if key in block}
    held = values.beside(growth, there, "waitDurationInOpenState")
    wait, setting = held.duration("waitDurationInOpenState", "60s")
    if wait < 0.001:
        raise Refused(setting, f"{_NO_START}wanted at least 1 ms")
    draft.put(f"{_OF}.timeout", write_duration(wait), setting)
    exponential, randomized = (held.is_on(key) for key in _ON_OFF)
    path = f"{_OF}.open_growth"
    multiplier = held.number("exponentialBackoffMultiplier", "1.5", 1e-9, 1e9)[0] if exponential else 1.0
    with_cap = exponential and multiply in there and longest in there
    if exponential or randomized:
        cap = held.duration("exponentialMaxWaitDurationInOpenState", "")[0] if with_cap else LONGEST_S
        draft.set(path, {"multiplier": multiplier, "max": write_duration(max(cap, wait))})
        if multiplier < 1:
            draft.refuse(there[multiply], "an open time that becomes shorter")
        if randomized:
            draft.set(f"{path}.jitter", held.number("randomizedWaitFactor", "0.5", 0, 0.999999999)[0])
    for key, counts in zip(growth, (True, exponential, with_cap, True, randomized), strict=True):
        if key in there and counts:
            draft.exact(there[key], path)
        elif key in there:
            draft.dead(there[key], "what it would change is not enabled, or lacks a multiplier")


def _counted(values: Values) -> None:
    draft, path = values.draft, f"{_OF}.counts"
    counts = ["transient", "ambiguous", "throttled", "permanent"]
    if (recorded := values.get("recordExceptions")) is not None:
        kinds, unknown = _failures_of(recorded)
        kinds -= {"refused"}
        if unknown or not kinds:
            counts = counts[:3]
            what = unknown or "these classes"
            draft.unsaid(recorded, f"code decides which failures {what} are; all but permanent ones count here", path)
        else:
            of = {"timeout": "ambiguous", "lost_reply": "ambiguous", "connection": "transient"}
            counts = [each for each in counts if each in {of.get(kind, kind) for kind in kinds}]
            usual = f"by the usual meaning of these classes {', '.join(counts)} count; others are successes there"
            draft.approximate(recorded, usual, path)
        if "permanent" not in counts:
            draft.set(f"{_OF}.ignored_counts_as", "success")
    draft.set(path, counts)
    why = "code decides which failures count"
    values.unsaid(why, "recordFailurePredicate", "recordResultPredicate", "ignoreExceptionPredicate")
    if ignored := values.get("ignoreExceptions"):
        draft.set(path, [each for each in counts if each != "permanent"] or counts)
        draft.approximate(ignored, "calls that fail with these count as none there; here permanent failures do", path)


def _bulkhead(values: Values) -> None:
    limit, setting = values.whole("maxConcurrentCalls", "25")
    values.draft.put("max_in_flight.limit", limit, setting)
    wait, setting = values.duration("maxWaitDuration", "0s")
    values.draft.put("max_in_flight.wait", write_duration(wait), setting)


def _thread_pool(values: Values) -> None:
    values.unsaid(
        "a pool of threads with a queue; here a bulkhead has slots, and no bound of the line", *values.settings
    )


def _limiter(values: Values) -> None:
    draft = values.draft
    limit, limited = values.whole("limitForPeriod", "50")
    period, setting = values.duration("limitRefreshPeriod", "500ns")
    wait, waiting = values.duration("timeoutDuration", "5s")
    if limit / max(period, 1e-9) > 1e6:
        for each in (limited, setting, waiting):
            draft.dead(each, "more than a million a second: no limit")
        return
    reason = "a call that gets no permission in time fails there and is an attempt; here it waits as long as it takes"
    draft.put("quota.rate", f"{limit}/{write_duration(period)}", limited, reason)
    draft.set("quota.kind", "fixed_window")
    draft.exact(setting, "quota.rate")
    text = "refused at once there; here it waits" if not wait else f"waits at most {write_duration(wait)} there"
    draft.unsaid(waiting, text)


def _time_limiter(values: Values) -> None:
    limit, setting = values.duration("timeoutDuration", "1s")
    if limit > 0:
        values.draft.put("timeout", write_duration(limit), setting)
    else:
        values.draft.refuse(setting, "every call is cut at once")


_MODULES = {
    "retry": _retry,
    "circuitbreaker": _breaker,
    "ratelimiter": _limiter,
    "timelimiter": _time_limiter,
    "bulkhead": _bulkhead,
    "threadpoolbulkhead": _thread_pool,
}
MODULES = tuple(_MODULES)


def read_module(module: str, values: Values) -> None:
    """Read the settings of a module, and say which change no call; raise Refused."""
    _MODULES[module](values)
    for key, setting in values.settings.items():
        if key in NOT_ABOUT_CALLS and module != "threadpoolbulkhead":
            values.draft.dead(setting, NOT_ABOUT_CALLS[key] or "it has no effect on calls")


KIND = "resilience4j"
_OURS = re.compile(r"^[ \t]*[\"']?resilience4j(?:\.[\w.\[\]-]+)?[\"']?[ \t]*[:=. \[]", re.MULTILINE)
_BESIDE = re.compile(r"(?:^|/)(?:application|bootstrap)[^/]*$")
_CONTAINERS = {"instances": "instances", "backends": "instances", "limiters": "instances", "configs": "configs"}


def recognises(file: SourceFile) -> bool:
    if "resilience4j" not in file.text:
        return False
    if file.suffix == ".properties":
        return bool(re.search(r"^[ \t]*resilience4j\.", file.text, re.MULTILINE))
    return any(not found[0][:1].isspace() for found in _OURS.finditer(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each name that instances of retries, breakers, limiters and bulkheads have in common."""
    broken: dict[SourceFile, ConfigurationError] = {}
    own = {file.name for file in files}
    applications = applications_of([*files, *(file for file in given.others if _BESIDE.search(file.name))], broken)
    if broken and len(files) == 1:
        raise next(iter(broken.values()))
    found = [
        policy
        for application in applications
        if any(setting.file in own for each in application.documents for setting in each.settings.values())
        for policy in _policies(application, given, has_label=len(applications) > 1)
    ]
    return [*found, *(unreadable(error, file, KIND) for file, error in broken.items() if file.name in own)]


def _policies(application: Application, given: Given, *, has_label: bool) -> list[Policy]:
    """Return the policies with the active profiles; unknown profiles that matter are an open question."""
    answer = re.split(r"\s*,\s*", given.values.get("profile", "").strip())
    active = list(given.profiles) or [name for name in answer if name]
    stands = application.active_by_files()
    question = ""
    if not active and stands is not None:
        filled = Effective({}).filled(stands, given.values)
        active, question = [] if filled.missing else names_of(filled.setting), filled.missing
    chosen = {None: active} | ({} if active else {name: [name] for name in application.profiles})
    with_profiles = {name: _Reading(application.effective(own), given).policies() for name, own in chosen.items()}
    policies: list[Policy] = []
    for name in dict.fromkeys(name for found in with_profiles.values() for name in found):
        variants = {profile: found[name] for profile, found in with_profiles.items() if name in found}
        policy = next(iter(variants.values()))
        differing = sorted(
            profile or "no profile"
            for profile, found in with_profiles.items()
            if repr(found[name].channel if name in found else "") != repr(policy.channel)
        )
        if differing or None not in variants:
            policy = _asking(policy, variants, application, question)
        elif active:
            policy = replace(policy, notes=(*policy.notes, f"Active profiles: {', '.join(active)}."))
        label = f"{application.label}/" if has_label and application.label else ""
        policies.append(replace(policy, name=f"{label}{policy.name}"))
    return policies


def _asking(policy: Policy, variants: Mapping[str | None, Policy], application: Application, name: str) -> Policy:
    others = [f"{profile or 'no profile'}: {_short(found.channel)}" for profile, found in variants.items()]
    place = next((each for each in policy.findings if each.line), policy.findings[0])
    wanted = f"the active profile, by --profile: {', '.join(application.profiles)}, or default"
    question = Question(name or "profile", place.file, place.line, wanted)
    return replace(
        policy,
        channel=None,
        questions=(question, *policy.questions),
        notes=(*policy.notes, f"The profile decides. {'; '.join(others)}."),
    )


def _short(channel: Mapping[str, Any] | None) -> str:
    retry = (channel or {}).get("retry", {})
    shown = {key: retry[key] for key in ("max_attempts", "initial_delay", "schedule") if key in retry}
    return ", ".join(f"{key} {value}" for key, value in shown.items()) if channel else "not known yet"


class _Reading:
    def __init__(self, effective: Effective, given: Given) -> None:
        self.effective, self.given = effective, given
        self.blocks: dict[tuple[str, str, str], dict[str, Setting]] = {}
        self.dead: list[tuple[str, Setting, str]] = []
        """Names for which something is misplaced, with the setting and the reason; no name: of no instance."""
        self.templates: dict[str, Setting] = {}
        """The instances whose name is a template."""
        self.aspects: dict[str, Setting] = {}
        version = given.versions.get(KIND, "2")
        self.is_old = version.startswith(("0.", "1.")) or version in ("0", "1")
        for parts, setting in effective.settings.items():
            if relaxed(parts[0]) == "resilience4j" and len(parts) > 1:
                self._place(parts[1:], setting)

    def _place(self, parts: Sequence[str], setting: Setting) -> None:
        module = relaxed(parts[0])
        if module not in KNOWN:
            if module not in NOT_ABOUT_CALLS:
                self.dead.append(("", setting, no_such_setting(parts[0], list(KNOWN), KIND)))
            return
        container = _CONTAINERS.get(relaxed(parts[1])) if len(parts) > 1 else None
        if len(parts) > 2 and is_template(parts[2]):
            parts = [*parts[:2], shown(parts[2]), *parts[3:]]
            self.templates.setdefault(parts[2], setting)
        if container is None:
            key = relaxed(parts[-1])
            if len(parts) == 2 and key in ASPECTS:
                self.aspects[key] = setting
            elif len(parts) > 2 and key in KNOWN[module]:
                text = f"misplaced: wanted resilience4j.{parts[0]}.instances.{parts[1]}"
                self.dead.append((parts[1], setting, text))
            elif not (len(parts) > 1 and relaxed(parts[1]) in NOT_ABOUT_CALLS):
                self.dead.append(("", setting, no_such_setting(".".join(parts[1:]), list(_CONTAINERS), KIND)))
        elif len(parts) == 4:
            self.blocks.setdefault((module, container, parts[2]), {})[relaxed(parts[3])] = setting
        elif len(parts) == 3:  # an instance without settings, or a value where a block belongs
            self.blocks.setdefault((module, container, parts[2]), {})
        elif len(parts) > 4:
            name = parts[3]
            text = f"misplaced, in {parts[1]} called {parts[2]!r}: wanted resilience4j.{parts[0]}.instances.{name}"
            self.dead.append((name, setting, text))

    def policies(self) -> dict[str, Policy]:
        instances = dict.fromkeys(name for _, container, name in self.blocks if container == "instances")
        names = [*instances, *(name for name, *_ in self.dead if name and name not in instances)]
        if not names and any(container == "configs" for _, container, _ in self.blocks):
            names = ["default"]
        files = dict.fromkeys(each.file for document in self.effective.documents for each in document.settings.values())
        found: dict[str, Policy] = {}
        for name in dict.fromkeys(names):
            draft = Draft(name, KIND, self.given)
            blocks = [self.blocks.get((module, "instances", name), {}) for module in KNOWN]
            own = {each.file for block in blocks for each in block.values()}
            draft.files = [*(file for file in files if file in own), *(file for file in files if file not in own)]
            try:
                self._read_modules(draft)
            except Refused as error:
                draft.refuse(error.setting, error.reason)
            if name in self.templates:
                draft.refuse(self.templates[name], f"a template decides the name; {RENDER}")
            for of, setting, reason in self.dead:
                if of == name or (not of and not found):
                    draft.dead(setting, reason)
            if not found:
                self._unused_configs(draft)
            if name not in instances:
                draft.note(f"No instance is called {name}: a call of that name gets what is the default.")
            for document in self.effective.documents:
                inside = [each.line for each in document.settings.values() if relaxed(each.key) != ""]
                if document.template_lines and inside:
                    line = document.template_lines[0]
                    draft.refuse(
                        Setting.of(next(iter(document.settings.values())).file, line, "template", "{{ … }}"),
                        f"a template decides which lines are here; {RENDER}",
                    )
            found[name] = draft.policy
        return found

    def _unused_configs(self, draft: Draft) -> None:
        bases = {
            (module, setting.written)
            for (module, *_), block in self.blocks.items()
            if (setting := block.get("baseconfig"))
        }
        names = {(module, name) for module, container, name in self.blocks if container == "instances"}
        for (module, container, name), block in self.blocks.items():
            used = (
                name == "default" or (module, name) in bases or (module == "circuitbreaker" and (module, name) in names)
            )
            if container == "configs" and not used:
                for setting in block.values():
                    draft.dead(setting, f"no instance here has baseConfig: {name}")

    # ── which blocks hold for an instance ───────────────────────────────────────────────────────────────────────

    def _chain(self, module: str, name: str) -> list[Block]:
        own = self.blocks.get((module, "instances", name), {})
        return [*self._above(module, name, own, ()), own]

    def _above(self, module: str, name: str, block: Mapping[str, Setting], inside: tuple[str, ...]) -> list[Block]:
        base = block.get("baseconfig")
        configs = {
            config: each
            for (of, container, config), each in self.blocks.items()
            if of == module and container == "configs"
        }
        if base is not None and base.written:
            if base.written not in configs:
                raise Refused(base, f"the application does not start: there is no config {base.written!r}")
            if base.written in inside or len(inside) > 20:
                raise Refused(base, "the application does not start: the config is based on itself")
            above = base.written
        elif module == "circuitbreaker" and not inside and name in configs:
            above = name
        elif module == "circuitbreaker" and inside:
            return []
        elif name != "default" and "default" in configs:
            above = "default"
        else:
            return []
        return [*self._above(module, above, configs[above], (*inside, above)), configs[above]]

    def _found(self, module: str, name: str, chain: Sequence[Block], draft: Draft) -> dict[str, Setting]:
        """Return the effective settings, filled, by their relaxed names; findings say that unknown ones do nothing."""
        found: dict[str, Setting] = {}
        for block in chain:
            for key, setting in block.items():
                if key in OLD and self.is_old:
                    found |= dict.fromkeys(OLD[key], setting)
                elif key in OLD:
                    reason = f"resilience4j 2 ignores it; wanted {KNOWN[module].get(OLD[key][0], OLD[key][0])}"
                    draft.dead(setting, f"{reason} (--library resilience4j=1.7 reads it)")
                elif key not in KNOWN[module]:
                    draft.dead(setting, no_such_setting(setting.key, list(KNOWN[module].values()), KIND))
                else:
                    found[key] = setting
        filled = {key: self._filled(draft, setting) for key, setting in found.items()}
        draft.open_keys = {KNOWN[module][key] for key, setting in filled.items() if setting is None}
        return {key: setting for key, setting in filled.items() if setting is not None}

    def _filled(self, draft: Draft, setting: Setting) -> Setting | None:
        known = draft.known(setting, "the value")
        if known is None:
            return None
        result = self.effective.filled(known, self.given.values)
        if result.missing:
            draft.unsaid(setting, f"{result.missing} decides it, and no file says its value")
            draft.ask_for(result.missing, setting, f"the value of {setting.key}")
            return None
        if result.defaults:
            names = " and ".join(f"{name} (--given {name}=…)" for name in result.defaults)
            return replace(result.setting, assumed=f"the default, where nothing sets {names}")
        return result.setting

    def _read_modules(self, draft: Draft) -> None:
        name = draft.name
        there = {module for module, container, of in self.blocks if container == "instances" and of == name}
        is_default = name == "default" or not there
        misplaced = {
            relaxed(parts[1])
            for parts in self.effective.settings
            if len(parts) > 3 and name in parts[2:] and relaxed(parts[0]) == KIND
        }
        if is_default:
            there = misplaced or {module for module, container, of in self.blocks if container == "configs"}
        file = next(iter(self.effective.settings.values())).file
        for module in MODULES:
            if module in there:
                named = (module, "instances", name) in self.blocks
                chain = self._chain(module, name if named else "")  # a call of no instance gets the default config
                read_module(module, Values(draft, file, chain, self._found(module, name, chain, draft)))
        if "retry" not in there:
            draft.put("retry.max_attempts", 1, default(file, "retry", f"no instance {name}"))
        self._together(draft, there)

    def _together(self, draft: Draft, there: set[str]) -> None:
        """Add findings about the order of the modules: Retry(Breaker(Limiter(TimeLimiter(Bulkhead))))."""
        breaker = draft.channel.get("circuit_breaker")
        if breaker and "bulkhead" in there and "permanent" in breaker["counts"]:
            breaker["counts"].append("refused_by_bulkhead")
        orders = {of: self.aspects[key].whole for key, of in ASPECTS.items() if key in self.aspects}
        sequence = list(ASPECTS.values())
        places = {
            of: orders.get(of) if orders.get(of) is not None else 2**31 - 6 + sequence.index(of) for of in sequence
        }
        for key, of in ASPECTS.items():
            if key not in self.aspects:
                continue
            present = [other for other in sequence if other in there and of in there and other != of]
            turned = [
                other
                for other in present
                if ((places[of] or 0) < (places[other] or 0)) != (sequence.index(of) < sequence.index(other))
            ]
            if turned:
                reason = (
                    f"the order of {of} and {' and '.join(turned)} is turned round; here a retry is around all else"
                )
                draft.refuse(self.aspects[key], reason)
            else:
                usual = "the order is the usual one" if present else f"only a {of} has this name"
                draft.dead(self.aspects[key], usual if of in there else f"no {of} has this name")
        if len(there) > 1:
            draft.note("Instances of one name are taken together; the annotations in the code decide which a call has.")
