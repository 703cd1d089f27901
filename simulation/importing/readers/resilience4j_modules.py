"""The words of resilience4j's settings, and what each of its modules does with them, as settings of a channel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actors.settings.quantities import write_duration
from simulation.importing.configuration import Draft, Setting, default
from simulation.importing.spring import names_of, relaxed
from simulation.importing.waits import LONGEST_S, within


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
"""Names of before version 2, with what they set."""

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
    """The settings of a module that hold for an instance, with what a reader of it needs."""

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
        """Return the settings that hold, of those that count only in a block with the base setting."""
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
