"""Microsoft.Extensions.Http.Resilience: the sections of ``appsettings.json`` for its standard handler.

Facts from the sources of Polly 8 and Http.Resilience: the order is limiter, time-out of all, retries, breaker, time-out
of an attempt, and the options are checked when the client is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from actors.formatting import duration_text
from actors.settings.quantities import write_duration
from actors.settings.yaml_tree import MappingNode
from simulation.importing.configuration import Draft, Setting, default, each_readable, json_document, no_such_setting
from simulation.importing.policy import Policy, Question
from simulation.importing.source import Given, SourceFile
from simulation.importing.waits import LONGEST_S

KIND = "dotnet"
Path = tuple[str, ...]

_KNOWN: Mapping[str, Mapping[str, str]] = {
    part: {name.lower(): name for name in names.split()}
    for part, names in {
        "retry": "MaxRetryAttempts Delay MaxDelay BackoffType UseJitter ShouldRetryAfterHeader Name",
        "circuitbreaker": "FailureRatio MinimumThroughput SamplingDuration BreakDuration Name",
        "totalrequesttimeout": "Timeout Name",
        "attempttimeout": "Timeout Name",
        "ratelimiter": "DefaultRateLimiterOptions Name",
    }.items()
}
_SPELT = {
    each.lower(): each for each in ("Retry", "CircuitBreaker", "TotalRequestTimeout", "AttemptTimeout", "RateLimiter")
}
_OURS = re.compile(
    r'"(?:TotalRequestTimeout|AttemptTimeout)(?:"\s*:\s*\{|:Timeout"\s*:)'
    r'|"Retry"\s*:\s*\{[^{}]*"(?:MaxRetryAttempts|BackoffType|UseJitter|ShouldRetryAfterHeader)"'
    r'|"CircuitBreaker"\s*:\s*\{[^{}]*"(?:FailureRatio|SamplingDuration|MinimumThroughput|BreakDuration)"'
    r'|\{[^{}]*"BackoffType"\s*:[^{}]*"MaxRetryAttempts"\s*:|\{[^{}]*"MaxRetryAttempts"\s*:[^{}]*"BackoffType"\s*:',
    re.IGNORECASE,
)
_STRANGE = re.compile(r"timeout|retr|attempt|delay|back-?off|break|hedg|endpoint|jitter|bulkhead|limit")
_DAY = 86400.0
_SHARE = 0.25
"""Of a constant or linear wait that the jitter adds or takes at most."""


def recognises(file: SourceFile) -> bool:
    """Return whether a file has a part of the standard handler's options with one of its settings."""
    return file.suffix == ".json" and bool(_OURS.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each section with options; a change in an environment's file is a question."""
    broken: list[Policy] = []
    documents: dict[tuple[str, str], dict[str, dict[Path, Setting]]] = {}
    beside = [file for file in given.others if _place(file) in set(map(_place, files))]
    for file, flat in each_readable([*files, *beside], KIND, _flattened, broken):
        documents.setdefault(_place(file), {})[PurePath(file.name).stem.partition(".")[2]] = flat
    found: list[Policy] = []
    for (folder, _), by_environment in documents.items():
        label = f"{PurePath(folder).name}/" if len(documents) > 1 and PurePath(folder).name else ""
        found += [replace(each, name=f"{label}{each.name}") for each in _application(by_environment, given)]
    return [*found, *broken]


def _place(file: SourceFile) -> tuple[str, str]:
    """Return the folder of a file, and its name without the environment's."""
    return str(PurePath(file.name).parent), PurePath(file.name).stem.partition(".")[0]


def _flattened(file: SourceFile) -> list[tuple[SourceFile, dict[Path, Setting]]]:
    return [(file, dict(_flat(json_document(file, with_comments=True).root, ())))]


def _flat(setting: Setting, above: Path) -> Iterator[tuple[Path, Setting]]:
    if isinstance(setting.node, MappingNode):
        for key, value in setting.node.entries.items():
            below = Setting(setting.file, setting.node.key_places[key].line, key, value)
            yield from _flat(below, (*above, *key.split(":")))
    elif above:
        yield above, setting


def _application(by_environment: Mapping[str, dict[Path, Setting]], given: Given) -> list[Policy]:
    chosen = [*given.profiles, *filter(None, [given.values.get("environment")])][:1]
    plain = by_environment.get("", {})
    names = [name for name in by_environment if name]
    if chosen:
        over = next((by_environment[name] for name in names if name.lower() == chosen[0].lower()), {})
        return list(_sections(_above(plain, over), given).values())
    variants = {name: _sections(_above(plain, by_environment[name] if name else {}), given) for name in ("", *names)}
    found: list[Policy] = []
    for name in dict.fromkeys(name for sections in variants.values() for name in sections):
        policies = [sections.get(name) for sections in variants.values()]
        policy = next(each for each in policies if each is not None)
        if any(each is None or each.channel != policy.channel for each in policies):
            place = next((each for each in policy.findings if each.line), policy.findings[0])
            wanted = f"the environment, by --profile: {', '.join(names)}"
            asked = Question("environment", place.file, place.line, wanted)
            notes = (*policy.notes, "The environment decides, as ASPNETCORE_ENVIRONMENT says it.")
            policy = replace(policy, channel=None, questions=(asked, *policy.questions), notes=notes)
        found.append(policy)
    return found


def _above(plain: Mapping[Path, Setting], over: Mapping[Path, Setting]) -> dict[Path, Setting]:
    spelt = {tuple(part.lower() for part in path): path for path in plain}
    return {**plain, **{spelt.get(tuple(map(str.lower, path)), path): each for path, each in over.items()}}


def _sections(settings: Mapping[Path, Setting], given: Given) -> dict[str, Policy]:
    parts: dict[Path, dict[str, dict[Path, Setting]]] = {}
    for path, setting in settings.items():
        lowered = tuple(part.lower() for part in path)
        place = next((place for place, part in enumerate(lowered[:-1]) if part in _KNOWN), None)
        if place is not None:
            parts.setdefault(path[:place], {}).setdefault(lowered[place], {})[lowered[place + 1 :]] = setting
    found: dict[str, Policy] = {}
    for section, of in parts.items():
        around = section[:-1]
        beside = {path[len(around)].lower() for path in settings if section and path[: len(around)] == around}
        is_of_hedging = section[-1:] and section[-1].lower() == "endpoint" and "hedging" in beside
        is_theirs = any(path[0] in _KNOWN[part] and path[0] != "name" for part, each in of.items() for path in each)
        if is_theirs and not is_of_hedging:
            draft = Draft("/".join(section) or "appsettings", KIND, given)
            strangers = [each for path, each in settings.items() if _is_stranger(path, section)]
            found[draft.name] = _Options(draft, of).policy(strangers)
    for section, alone in _alone(settings).items():
        draft = Draft("/".join(section), KIND, given)
        found[draft.name] = _Options(draft, {"retry": alone}).retries_alone()
    return found


def _alone(settings: Mapping[Path, Setting]) -> dict[Path, dict[Path, Setting]]:
    """Return the sections with the options of a retry alone, which code binds to the options of one strategy."""
    sections: dict[Path, dict[Path, Setting]] = {}
    for path, setting in settings.items():
        if len(path) > 1 and not {part.lower() for part in path[:-1]} & set(_KNOWN):
            sections.setdefault(path[:-1], {})[(path[-1].lower(),)] = setting
    both = {("maxretryattempts",), ("backofftype",)}
    return {path: each for path, each in sections.items() if both <= set(each) <= {(key,) for key in _KNOWN["retry"]}}


def _is_stranger(path: Path, section: Path) -> bool:
    """Return whether a setting beside the standard handler's own is about tries."""
    if not section or path[: len(section)] != section or len(path) == len(section):
        return False
    key = path[len(section)].lower()
    return len(path) == len(section) + 1 if key in _KNOWN else bool(_STRANGE.search(key))


def time_span(text: str) -> float | None:
    """Return the seconds of a TimeSpan as .NET reads it: ``00:00:02``, ``0.00:15`` (d.hh:mm), ``5`` (days)."""
    if re.fullmatch(r"\d{1,7}", text):
        return float(text) * _DAY
    match = re.fullmatch(r"(?:(\d{1,7})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return days * _DAY + hours * 3600 + minutes * 60 + seconds + float(match[5] or 0)


class _Options:
    def __init__(self, draft: Draft, parts: Mapping[str, dict[Path, Setting]]) -> None:
        self.draft, self.parts = draft, parts
        self.file = next(iter(next(iter(parts.values())).values())).file

    def policy(self, strangers: Sequence[Setting]) -> Policy:
        draft = self.draft
        if self._has_strangers(strangers):
            return draft.policy
        attempt = self._time("attempttimeout", "Timeout", "00:00:10", 0.01)
        whole = self._time("totalrequesttimeout", "Timeout", "00:00:30", 0.01)
        self._limiter()
        self._retry()
        sampling = self._breaker()
        draft.put("timeout", write_duration(attempt[0]), attempt[1])
        draft.put("deadline", write_duration(whole[0]), whole[1])
        if whole[0] < attempt[0]:
            draft.refuse(whole[1], "the client refuses it: TotalRequestTimeout may not be shorter than AttemptTimeout")
        if sampling[0] < 2 * attempt[0]:
            draft.refuse(sampling[1], "the client refuses it: SamplingDuration has to be twice AttemptTimeout at least")
        draft.note("Read as HttpStandardResilienceOptions: the code says to which client the section belongs.")
        if set(self.parts) == {"retry"}:
            draft.note("Code that binds a retry's options alone has none of the time-outs, nor the breaker.")
        return draft.policy

    def _has_strangers(self, beside: Sequence[Setting]) -> bool:
        """Ask whether the standard handler reads the section, if it has settings that the handler lacks.

        Given that it does, these do nothing.
        """
        name = f"{self.draft.name}.options"
        is_theirs = self.draft.given.values.get(name) == "standard"
        strangers = [(each, list(_SPELT.values())) for each in beside]
        for part, of in self.parts.items():
            for path, setting in of.items():
                if path[0] not in _KNOWN[part] or (len(path) > 1 and part != "ratelimiter"):
                    strangers.append((setting, list(_KNOWN[part].values())))
        for setting, known in strangers:
            if is_theirs:
                self.draft.dead(setting, no_such_setting(setting.key, known, "the standard handler"))
            else:
                self.draft.unsaid(setting, "the standard handler has no such setting: other code may read this section")
        if strangers and not is_theirs:
            self.draft.ask_for(name, strangers[0][0], "standard, where code binds it to HttpStandardResilienceOptions")
        return bool(strangers) and not is_theirs

    def retries_alone(self) -> Policy:
        """Return the policy of retry options alone, with the defaults of HTTP or of Polly itself."""
        draft, name = self.draft, f"{self.draft.name}.options"
        kind = draft.given.values.get(name, "http" if ("usejitter",) in self.parts["retry"] else "")
        if kind not in ("http", "polly"):
            of = "HttpRetryStrategyOptions, or polly, where it is RetryStrategyOptions"
            draft.ask_for(name, next(iter(self.parts["retry"].values())), f"http, where code binds it to {of}")
            return draft.policy
        self._retry(is_of_http=kind == "http")
        if kind == "http":
            draft.note(f"Read as HttpRetryStrategyOptions; Polly's own heed no Retry-After (--given {name}=polly).")
        draft.note("Time-outs and a breaker of the pipeline stand in code, and are not read.")
        return draft.policy

    def _setting(self, part: str, key: str, usual: str) -> Setting:
        setting = self.parts.get(part, {}).get((key.lower(),))
        known = self.draft.known(setting, "a value") if setting is not None else None
        absent = default(self.file, f"{_SPELT[part]}.{key}", usual)
        if setting is not None and known is None:
            self.draft.open_keys.add(absent.key)
        return known or absent

    def _time(self, part: str, key: str, usual: str, least: float) -> tuple[float, Setting]:
        setting = self._setting(part, key, usual)
        seconds = time_span(setting.written)
        if seconds is None or not least <= seconds <= _DAY:
            wanted = f"wanted a time such as {usual}, at least {write_duration(least)}, at most 24h"
            self.draft.refuse(setting, f"the client refuses it: {wanted}")
            return time_span(usual) or 0.0, setting
        if setting.written.count(":") == 1:
            self.draft.note(f"Line {setting.line}: {setting.written} is hours and minutes, {write_duration(seconds)}.")
        return seconds, setting

    def _number(
        self, part: str, key: str, usual: str, least: float, most: float, *, whole: bool = True
    ) -> tuple[float, Setting]:
        setting = self._setting(part, key, usual)
        number = setting.whole if whole else setting.number
        if number is None or not least <= number <= most:
            self.draft.refuse(setting, f"the client refuses it: wanted a number from {least:g} to {most:g}")
            return float(usual), setting
        return number, setting

    def _retry(self, *, is_of_http: bool = True) -> None:
        draft = self.draft
        count, counted = self._number("retry", "MaxRetryAttempts", "3", 1, 2**31 - 1)
        draft.put("retry.max_attempts", int(count) + 1, counted)
        delay, setting = self._time("retry", "Delay", "00:00:02", 0)
        kind = self._setting("retry", "BackoffType", "Exponential")
        jitter = self._setting("retry", "UseJitter", "true" if is_of_http else "false")
        word = {"0": "constant", "1": "linear", "2": "exponential"}.get(kind.written, kind.written.lower())
        if word not in ("constant", "linear", "exponential"):
            draft.refuse(kind, "the client refuses it: wanted Constant, Linear or Exponential")
        if jitter.truth is None:
            draft.refuse(jitter, "the client refuses it: wanted true or false")
        draft.put("retry.initial_delay", write_duration(delay), setting)
        draft.put("retry.backoff", word, kind)
        longest, capped = LONGEST_S, None
        if ("maxdelay",) in self.parts.get("retry", {}):
            longest, capped = self._time("retry", "MaxDelay", "00:01:00", 0)
        draft.set("retry.max_delay", write_duration(longest))
        if longest < delay:
            draft.set("retry.initial_delay", write_duration(longest))
        shares = bool(jitter.truth) and word != "exponential"
        is_steady = shares and (1 - _SHARE) * delay >= longest
        drawn = "none" if is_steady or not jitter.truth else "proportional" if shares else "soft"
        draft.put("retry.jitter", drawn, jitter, why="MaxDelay cuts each wait to the same" if is_steady else "")
        if drawn == "proportional":
            draft.set("retry.jitter_share", f"{_SHARE:.0%}")
        if capped is not None:
            least = min(longest, (1 - _SHARE) * delay * (count if word == "linear" else 1))
            short = round(least - (1 - _SHARE) * longest, 9) if drawn == "proportional" else 0
            off = f"cut after the jitter there, before it here: waits up to {duration_text(short)} shorter"
            draft.noted(capped, "retry.max_delay", off if short > 0 else "")
        after = self._setting("retry", "ShouldRetryAfterHeader", "true")
        if not is_of_http:
            draft.set("retry.retry_after", "ignore")
            return
        draft.put("retry.retry_after", "exactly" if after.truth else "ignore", after)
        if after.truth:
            draft.set("retry.retry_after_excess", None)

    def _breaker(self) -> tuple[float, Setting]:
        draft = self.draft
        ratio, setting = self._number("circuitbreaker", "FailureRatio", "0.1", 1e-9, 1, whole=False)
        draft.put("circuit_breaker.failure_rate", f"{ratio * 100:g}%", setting)
        least, setting = self._number("circuitbreaker", "MinimumThroughput", "100", 2, 2**31 - 1)
        draft.put("circuit_breaker.minimum_calls", int(least), setting)
        sampling = self._time("circuitbreaker", "SamplingDuration", "00:00:30", 0.5)
        off = "the window moves on in tenths of it there"
        draft.put("circuit_breaker.window", {"time": write_duration(sampling[0])}, sampling[1], off)
        lasting, setting = self._time("circuitbreaker", "BreakDuration", "00:00:05", 0.5)
        reason = "a call that the open breaker refuses is not tried again there, and is here"
        draft.put("circuit_breaker.timeout", write_duration(lasting), setting, reason)
        usual: dict[str, Any] = {"half_open_permits": 1, "success_may_trip": False, "when_open": "fail"}
        for key, value in {**usual, "counts": ["transient", "ambiguous", "throttled"]}.items():
            draft.set(f"circuit_breaker.{key}", value)
        return sampling

    def _limiter(self) -> None:
        draft = self.draft
        paths, section = self.parts.get("ratelimiter", {}), "defaultratelimiteroptions"
        of = {path[-1]: each for path, each in paths.items() if path[0] == section and len(path) == 2}
        limit = of.get("permitlimit") or default(self.file, "RateLimiter.PermitLimit", "1000")
        queue = of.get("queuelimit") or default(self.file, "RateLimiter.QueueLimit", "0")
        permits = limit.whole
        if permits is None or permits < 1:
            draft.refuse(limit, "the client refuses it: wanted a whole number of at least 1")
            return
        reason = "a place is held through waits too, and a call without one is not tried again there"
        draft.put("max_in_flight", {"limit": permits, "wait": "0s"}, limit, reason)
        if queue.whole:
            draft.unsaid(queue, f"{queue.whole} calls wait for a place there; here none does")
        for key, setting in of.items():
            if key not in ("permitlimit", "queuelimit"):
                draft.dead(setting, "it orders the calls that wait")
