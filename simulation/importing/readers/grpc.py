"""gRPC's service configuration as JSON, and the same file as the generators of Google's API clients read it.

Facts from gRPC's C core 1.85 and google-api-core 2.44, run: waits are
min(initial · multiplier^(n - 1), maximum) · U(0.8, 1.2), or in generated clients U(0, wait) until the time-out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from actors.settings.quantities import write_duration
from actors.settings.yaml_tree import ListNode, MappingNode
from simulation.importing.configuration import (
    Draft,
    Section,
    Setting,
    Timed,
    default,
    each_readable,
    json_document,
    yaml_documents,
)
from simulation.importing.policy import Policy
from simulation.importing.source import Given, SourceFile
from simulation.importing.waits import grpc_go_duration, protobuf_duration

KIND = "grpc"
_OURS = re.compile(r"[\"']?(?:methodConfig|retryThrottling)[\"']?\s*:\s*(?:[\[{]|$)", re.MULTILINE | re.IGNORECASE)
_NAMED = re.compile(r"grpc_service_config[^/]*$")
_ATTEMPTS_MAX = 5
_CODES: Mapping[str, tuple[str, ...]] = {
    "UNAVAILABLE": ("connection", "lost_reply", "transient"),
    "RESOURCE_EXHAUSTED": ("throttled",),
    "DEADLINE_EXCEEDED": ("timeout",),
    **dict.fromkeys(("ABORTED", "INTERNAL", "UNKNOWN", "CANCELLED", "DATA_LOSS"), ("transient",)),
}
_NUMBERED = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_POLICY = ("maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes")
_METHOD = ("name", "timeout", "retryPolicy", "hedgingPolicy", "waitForReady")
_KEYS = {
    key.lower(): key
    for key in (
        *(*_POLICY, *_METHOD, "perAttemptRecvTimeout", "methodConfig", "retryThrottling", "serviceConfig", "service"),
        *("method", "maxTokens", "tokenRatio", "maxRequestMessageBytes", "maxResponseMessageBytes"),
    )
}
"""Keys as all clients write them, by their lower case."""


def recognises(file: SourceFile) -> bool:
    return bool(_OURS.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each ``methodConfig``, called as the first method that it is for."""
    broken: list[Policy] = []
    return [*each_readable(files, KIND, lambda file: list(_policies(file, given)), broken), *broken]


def _policies(file: SourceFile, given: Given) -> Iterator[Policy]:
    documents = (
        [json_document(file)] if file.suffix == ".json" else yaml_documents(file, "(?i:methodConfig|retryThrottling)")
    )
    configs = [config for document in documents for config in _configs(document.root)]
    for config in configs:
        yield from _File(config, given, file).policies()
    if not configs and (found := _OURS.search(file.text)):
        draft = Draft(file.name, KIND, given)
        line = file.text.count("\n", 0, found.start()) + 1
        reason = "it stands inside a text; give it as a file of its own"
        draft.refuse(Setting.of(file.name, line, "service configuration", ""), reason)
        yield draft.policy


def _configs(setting: Setting, depth: int = 0) -> Iterator[Section]:
    if isinstance(setting.node, MappingNode):
        section = _Keys(setting)
        if "methodConfig" in section or "retryThrottling" in section:
            yield section
            return
    below = setting.items if isinstance(setting.node, ListNode) else Section(setting).left
    for each in below if depth < 8 else []:
        yield from _configs(each, depth + 1)


class _Keys(Section):
    """The keys of a mapping, which grpc-go takes in upper and lower case."""

    def __init__(self, setting: Setting, canonical: Callable[[str], str] | None = None) -> None:
        super().__init__(setting, canonical or (lambda key: _KEYS.get(key.lower(), key)))

    def take(self, *names: str) -> Setting | None:
        setting = super().take(*names)
        if setting is None or (setting.key in names and not self.setting.assumed):
            return setting
        by_key = f"grpc-go takes the key; the C core and Java know {names[0]} alone"
        return replace(setting, assumed=self.setting.assumed or by_key)


class _Invalid(Exception):
    def __init__(self, setting: Setting, reason: str) -> None:
        super().__init__(setting, reason)
        self.setting, self.reason = setting, f"gRPC refuses the whole file: {reason}"


class _File:
    def __init__(self, config: Section, given: Given, file: SourceFile) -> None:
        self.config, self.given, self.file = config, given, file
        self.methods = [(_names(each), each) for each in config.sections("methodConfig")]
        self.throttling = config.section("retryThrottling")
        policies = [policy for _, each in self.methods if (policy := _Keys(each.setting).section("retryPolicy"))]
        lacking = [policy for policy in policies if "maxAttempts" not in policy]
        lacks_all = bool(lacking) and (len(lacking) == len(policies) or _NAMED.search(file.name) is not None)
        self.is_generators = given.values.get("client") == "generated" or lacks_all
        """Whether the file is for the generators of clients, who ask for no maxAttempts."""

    def policies(self) -> list[Policy]:
        drafts: list[Draft] = []
        invalid: list[_Invalid] = []
        seen: dict[str, Setting] = {}
        for names, section in self.methods:
            draft = Draft(names[0], KIND, self.given)
            drafts.append(draft)
            try:
                for name in names:
                    if name in seen:
                        why = f"{name} has a configuration already, at line {seen[name].line}"
                        raise _Invalid(section.setting, why)
                    seen[name] = section.setting
                self._read(draft, section)
            except _Invalid as error:
                draft.refuse(error.setting, error.reason)
                invalid.append(error)
            if len(names) > 1:
                draft.note(f"Also for {', '.join(names[1:6])}{' and others' if len(names) > 6 else ''}.")
        if not drafts and self.throttling is not None:
            draft = Draft("throttling", KIND, self.given)
            draft.note("No method has a retry policy, so the throttling does nothing.")
            for setting in self.throttling.left:
                draft.dead(setting, "no method is tried again")
            draft.set("retry.max_attempts", 1)
            drafts.append(draft)
        for draft in drafts:
            for problem in invalid if not self.is_generators else []:
                draft.refuse(problem.setting, problem.reason)
        return [draft.policy for draft in drafts]

    def _read(self, draft: Draft, section: Section) -> None:
        section.take("name")
        timeout = self._duration(draft, section.take("timeout"))
        retry, hedging = section.take("retryPolicy"), section.section("hedgingPolicy")
        ready = section.take("waitForReady")
        if ready is not None and ready.truth:
            draft.unsaid(ready, "a call waits while there is no connection; here that is a failed attempt")
        if retry is not None and hedging is not None:
            raise _Invalid(hedging.setting, "a method has a retryPolicy or a hedgingPolicy, not both")
        if retry is not None and not isinstance(retry.node, MappingNode):
            raise _Invalid(retry, "wanted a mapping")
        if retry is not None:
            self._retry(draft, _Keys(retry), timeout)
        else:
            draft.put("retry.max_attempts", 1, default(self.file.name, "retryPolicy", "none"))
        for setting in hedging.left if hedging is not None else []:
            draft.unsaid(setting, "the C core (Python, C++, Ruby, PHP) ignores hedging; in Java copies go out")
        if timeout is not None:
            draft.put("deadline", write_duration(timeout[0]), timeout[1])
        for setting in section.left:
            is_size = setting.key in ("maxRequestMessageBytes", "maxResponseMessageBytes")
            why = f"gRPC has no such setting here, but {', '.join(_METHOD)}"
            draft.dead(setting, "it is about the size of messages" if is_size else why)

    def _duration(self, draft: Draft, setting: Setting | None) -> Timed | None:
        known = draft.known(setting, "seconds such as 0.1s")
        if known is None:
            return None
        seconds = protobuf_duration(known.written)
        if seconds is None and (seconds := grpc_go_duration(known.written)) is not None:
            known = replace(known, assumed="grpc-go takes it; the C core and Java refuse the file")
        if seconds is None:
            raise _Invalid(known, 'wanted seconds as text such as "0.1s"')
        return seconds, known

    def _needed(self, setting: Timed | None, policy: Section, key: str) -> Timed:
        if setting is None or setting[0] <= 0:
            raise _Invalid(setting[1] if setting else policy.setting, f"wanted {key} of more than 0")
        return setting

    def _retry(self, draft: Draft, policy: Section, timeout: Timed | None) -> None:
        attempts = draft.known(policy.take("maxAttempts"), "a whole number")
        initial, longest = (self._duration(draft, policy.take(key)) for key in ("initialBackoff", "maxBackoff"))
        multiplier = draft.known(policy.take("backoffMultiplier"), "a number")
        codes = policy.take("retryableStatusCodes")
        each_try = self._duration(draft, policy.take("perAttemptRecvTimeout"))
        draft.unknown(policy, _POLICY, "gRPC")
        if draft.questions:
            return
        initial, longest = self._needed(initial, policy, "initialBackoff"), self._needed(longest, policy, "maxBackoff")
        factor = multiplier.number if multiplier else None
        if factor is None or factor <= 0 or multiplier is None:
            raise _Invalid(multiplier or policy.setting, "wanted a backoffMultiplier of more than 0")
        self._attempts(draft, attempts, policy, timeout)
        if factor >= 1:
            draft.put("retry.initial_delay", write_duration(min(initial[0], longest[0])), initial[1])
            draft.put("retry.backoff_multiplier", factor, multiplier)
        else:
            waits = [min(initial[0] * factor**place, longest[0]) for place in range(_ATTEMPTS_MAX - 1)]
            draft.put("retry.schedule", [write_duration(round(each, 9)) for each in waits], initial[1])
            draft.exact(multiplier, "retry.schedule")
        draft.put("retry.max_delay", write_duration(longest[0]), longest[1])
        if self.is_generators:
            draft.set("retry.jitter", "full")
        else:
            draft.set("retry.jitter", "proportional")
            draft.set("retry.jitter_share", "20%")
            if factor >= 1:
                draft.set("retry.cap_before_jitter", True)
            draft.set("retry.retry_after", "pushback")
            draft.note("Clients in Java and Go of before 2025 draw each wait from 0 up to it.")
            if _NAMED.search(self.file.name):
                draft.note(
                    "A client that Google's generators make of it heeds no maxAttempts: --given client=generated."
                )
        if each_try is not None:
            draft.put("timeout", write_duration(each_try[0]), each_try[1], "in the C core alone, where it is enabled")
        self._on(draft, codes, policy)
        self._throttle(draft)

    def _attempts(self, draft: Draft, attempts: Setting | None, policy: Section, timeout: Timed | None) -> None:
        if self.is_generators:
            setting = default(self.file.name, "maxAttempts", "no limit")
            if attempts is not None:
                draft.dead(attempts, "generated clients go by the time-out alone")
            if timeout is None:
                draft.refuse(setting, "the generated client sets the time-out by which it ends")
            draft.put("retry.max_attempts", "unlimited", setting, why="no limit but the time-out")
            draft.note("As the generators of Google's clients read it; gRPC itself refuses a file without maxAttempts.")
            return
        if attempts is None:
            raise _Invalid(policy.setting, "wanted maxAttempts")
        count = attempts.whole
        if count is None or count < 2:
            raise _Invalid(attempts, "wanted maxAttempts of at least 2")
        cut = f"cut to {_ATTEMPTS_MAX}, the most that a client makes" if count > _ATTEMPTS_MAX else ""
        draft.put("retry.max_attempts", min(count, _ATTEMPTS_MAX), attempts, why=cut)

    def _on(self, draft: Draft, codes: Setting | None, policy: Section) -> None:
        found = [each.value for each in codes.items] if codes else []
        has_numbers = any(type(each) is int for each in found)
        names = [_NUMBERED[each] if type(each) is int and 0 <= each < len(_NUMBERED) else str(each) for each in found]
        if codes is None or not names:
            raise _Invalid(codes or policy.setting, "wanted retryableStatusCodes, at least one")
        if strange := [name for name in names if name not in _NUMBERED]:
            raise _Invalid(codes, f"wanted names of status codes such as UNAVAILABLE, got {strange[0][:40]!r}")
        kinds = sorted({kind for name in names for kind in _CODES.get(name, ())})
        final = [name for name in names if name not in _CODES]
        some = [name for name in names if _CODES.get(name) == ("transient",)]
        reasons = [f"{', '.join(final)}: permanent here"] if final else []
        if some and "UNAVAILABLE" not in names:
            reasons.append(f"of transient failures only {', '.join(some)} there; here all")
        if has_numbers:
            reasons.append("Go and Java take numbers; the C core wants names and refuses the file")
        if not kinds:
            draft.refuse(codes, "none of these is a failure that a channel tries again")
            return
        draft.put("retry.on", kinds, codes, "; ".join(reasons))

    def _throttle(self, draft: Draft) -> None:
        if self.throttling is None:
            return
        section = _Keys(self.throttling.setting)
        tokens, ratio = section.take("maxTokens"), section.take("tokenRatio")
        most, share = tokens.number if tokens else None, ratio.number if ratio else None
        if tokens is None or most is None or not 0 < most <= 1000:
            raise _Invalid(tokens or section.setting, "wanted maxTokens of more than 0 and at most 1000")
        if ratio is None or share is None or int(share * 1000) <= 0:
            raise _Invalid(ratio or section.setting, "wanted a tokenRatio of at least 0.001")
        budget = {"kind": "grpc", "max_tokens": most, "token_ratio": int(share * 1000 + 1e-6) / 1000}
        draft.put("retry.budget", budget, tokens)
        draft.exact(ratio, "retry.budget")


def _names(section: Section) -> list[str]:
    """Return the methods of a configuration, the most general name as ``all methods``."""
    names: list[str] = []
    for each in _Keys(section.setting).sections("name"):
        parts = [part.written for key in ("service", "method") if (part := each.take(key)) is not None]
        names.append("/".join(filter(None, parts)) or "all methods")
    return names or [f"methodConfig at line {section.setting.line}"]
