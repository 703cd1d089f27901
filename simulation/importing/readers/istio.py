"""Istio: retries and time-outs of a VirtualService, connection pools and outlier detection of a DestinationRule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from actors.settings.yaml_tree import data
from simulation.importing.configuration import (
    Document,
    Draft,
    Section,
    Setting,
    Timed,
    default,
    each_readable,
    no_such_setting,
    yaml_documents,
)
from simulation.importing.policy import Policy
from simulation.importing.readers.envoy import (
    Retries,
    put_budget,
    put_ejection,
    put_limits,
    put_retries,
    put_retries_at_once,
    put_time_outs,
)
from simulation.importing.source import Given, SourceFile
from simulation.importing.waits import go_duration

KIND = "istio"
_OURS = r"networking\.istio\.io/"
_KIND = re.compile(r"[\"']?kind[\"']?\s*:\s*[\"']?(?:VirtualService|DestinationRule)\b")
_DEFAULT_ON = "connect-failure,refused-stream,unavailable,cancelled"
_RETRIES = ("attempts", "perTryTimeout", "retryOn", "retryRemoteLocalities", "retryIgnorePreviousHosts", "backoff")
_PARTS = ("connectionPool", "outlierDetection", "retryBudget")
_EJECTION = (
    *("consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveLocalOriginFailures", "interval"),
    *("baseEjectionTime", "maxEjectionPercent", "minHealthPercent", "splitExternalLocalOriginErrors"),
)


def recognises(file: SourceFile) -> bool:
    return "networking.istio.io/" in file.text and bool(_KIND.search(file.text))


@dataclass(frozen=True)
class _Resource:
    document: Document
    kind: str
    name: str
    namespace: str
    spec: Setting


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each HTTP route of a VirtualService, and for each host of a rule that no route leads to."""
    broken: list[Policy] = []
    resources = list(each_readable(files, KIND, lambda file: list(_resources(file)), broken))
    rules = [each for each in resources if each.kind == "DestinationRule"]
    found: list[Policy] = []
    reached: set[int] = set()
    for resource in resources:
        if resource.kind == "VirtualService":
            found += _routes(resource, rules, given, reached)
    for place, rule in enumerate(rules):
        if place not in reached and _has_settings(rule):
            draft = Draft(rule.name, KIND, given)
            _retries(draft, rule, None, None, given)
            _rule(draft, rule, "")
            found.append(draft.policy)
    return [*found, *broken]


def _has_settings(rule: _Resource) -> bool:
    policy = Section(rule.spec).section("trafficPolicy")
    return policy is not None and any(key in policy for key in _PARTS)


def _resources(file: SourceFile) -> Iterator[_Resource]:
    for document in yaml_documents(file, _OURS):
        top = document.section
        for section in top.sections("items") or [top]:
            kind, spec = section.take("kind"), section.take("spec")
            metadata = section.section("metadata")
            name = metadata.take("name") if metadata else None
            namespace = metadata.take("namespace") if metadata else None
            of_istio = section.take("apiVersion")
            if kind is None or spec is None or of_istio is None or not re.match(_OURS, of_istio.written):
                continue
            if kind.written in ("VirtualService", "DestinationRule"):
                shown = name.text.partition(": ")[2] if name else kind.written
                yield _Resource(document, kind.written, shown, namespace.written if namespace else "", spec)


# ── routes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _routes(resource: _Resource, rules: Sequence[_Resource], given: Given, reached: set[int]) -> Iterator[Policy]:
    spec = Section(resource.spec)
    routes = spec.sections("http")
    for place, route in enumerate(routes):
        destinations = [(each.section("destination"), each) for each in route.sections("route")]
        targets = [
            tuple(taken.written if (taken := target.take(key)) else "" for key in ("host", "subset"))
            for target, _ in destinations
            if target is not None
        ]
        if not targets:
            continue  # a redirect or a direct answer
        named = route.take("name")
        part = named.written if named else targets[0][0] if len(routes) > 1 else ""
        same = sum(1 for each in routes[:place] if each.setting.key) and len(routes) > 1 and not named
        label = "/".join(each for each in (resource.name, part, str(place + 1) if same else "") if each)
        draft = Draft(label, KIND, given)
        last = routes[place + 1].setting.line - 1 if place + 1 < len(routes) else resource.document.last_line
        draft.within(resource.document, route.setting.line, last)
        _retries(draft, resource, route.take("retries"), route.take("timeout"), given)
        for fault in filter(None, [route.take("fault")]):
            draft.unsaid(fault, "a fault that the proxy makes; in a scenario it stands under faults")
        for host, subset in dict.fromkeys((host, subset) for host, subset in targets):
            fitting = {each: rule for each, rule in enumerate(rules) if _same_host(host, resource.namespace, rule)}
            reached.update(fitting)
            if (host, subset) == targets[0]:
                of_host = {repr(data(rule.spec.node)): rule for rule in reversed(fitting.values())}  # equal ones once
                with_policy = [rule for rule in reversed(of_host.values()) if _has_settings(rule)]
                for rule in with_policy[1:]:
                    why = f"of {len(with_policy)} rules for {host} Istio takes the oldest: give the files that apply"
                    draft.refuse(Section(rule.spec).take("trafficPolicy") or rule.spec, why)
                for rule in reversed(of_host.values()):
                    if rule not in with_policy[1:]:
                        _rule(draft, rule, subset)
        if len(set(targets)) > 1:
            draft.note(f"The route goes to {len(set(targets))} destinations; the rule of the first one is read.")
        yield draft.policy


def _same_host(host: str, namespace: str, rule: _Resource) -> bool:
    named = Section(rule.spec).take("host")
    if named is None:
        return False

    def full(name: str, of: str) -> str:
        return name if "." in name else f"{name}.{of or 'default'}"

    one, other = full(host, namespace), full(named.written, rule.namespace)
    short, long = sorted((one, other), key=len)
    is_same = long == short or long.startswith(f"{short}.svc")
    return is_same or (named.written.startswith("*.") and one.endswith(named.written[1:]))


def _duration(draft: Draft, setting: Setting | None) -> Timed | None:
    refused = "Istio refuses it: wanted a duration such as 2s, 250ms or 1m30s"
    return draft.timed(setting, go_duration, "a duration such as 2s", refused)


def _retries(draft: Draft, resource: _Resource, block: Setting | None, timeout: Setting | None, given: Given) -> None:
    file = resource.spec.file
    whole = _duration(draft, timeout)
    if block is not None and block.is_template:
        draft.known(block, "the retries")
        return
    on_default = default(file, "retryOn", _DEFAULT_ON)
    if block is None:
        mesh = "defaultHttpRetryPolicy of the mesh's settings may say otherwise"
        draft.note(f"Without retries Istio tries twice more; {mesh}.")
    section = Section(block or default(file, "retries", ""))
    taken = section.take("attempts")
    attempts = draft.known(taken, "a whole number")
    if block is not None and (taken is None or (attempts is not None and attempts.whole == 0)):
        for setting in section.left:
            draft.dead(setting, "without attempts, or with 0, nothing is tried again and no policy is made")
        draft.put("retry.max_attempts", 1, attempts or default(file, "attempts", "0"))
        put_time_outs(draft, None, whole)
        return
    per_try = _duration(draft, section.take("perTryTimeout"))
    on = draft.known(section.take("retryOn"), "reasons such as 5xx,reset")
    backoff = _duration(draft, section.take("backoff"))
    for key in ("retryRemoteLocalities", "retryIgnorePreviousHosts"):
        if (chooses := section.take(key)) is not None:
            draft.unsaid(chooses, "it chooses the host of a retry; a channel has one provider")
    draft.unknown(section, _RETRIES, "Istio")
    words = [word.strip() for word in (on or on_default).written.split(",") if word.strip()]
    codes = [int(word) for word in words if word.isdigit() and 100 <= int(word[:4]) < 600]
    words = [word for word in words if not word.isdigit()] + (["retriable-status-codes"] if codes else [])
    if on is None and _is_before(given, 24):
        words, codes = [*words, "retriable-status-codes"], [503]
        on_default = default(file, "retryOn", f"{_DEFAULT_ON},503")
    if draft.questions:
        return
    attempts, base = attempts or default(file, "attempts", "2"), backoff or (0.025, default(file, "backoff", "25ms"))
    words = list(dict.fromkeys(words))
    put_retries(draft, Retries(attempts, on or on_default, words, base, codes, per_try=per_try, whole=whole))


def _is_before(given: Given, minor: int) -> bool:
    match = re.match(r"1\.(\d+)", given.versions.get(KIND, ""))
    return bool(match and int(match[1]) < minor)


# ── rules of destinations ───────────────────────────────────────────────────────────────────────────────────────


def _rule(draft: Draft, rule: _Resource, subset: str) -> None:
    spec = Section(rule.spec)
    policies = [spec.take("trafficPolicy")]
    for each in spec.sections("subsets"):
        name = each.take("name")
        if name is not None and name.written == subset and subset:
            policies.append(each.take("trafficPolicy"))
    draft.within(rule.document, rule.spec.line, rule.document.last_line)
    parts: dict[str, Setting] = {}
    for policy in filter(None, policies):
        section = Section(policy)
        for key in _PARTS:
            if taken := section.take(key):
                parts[key] = taken
        if ports := section.take("portLevelSettings"):
            draft.unsaid(ports, "settings of one port, which replace those above for it")
    _pool(draft, parts)
    if (outliers := parts.get("outlierDetection")) is not None:
        section = Section(outliers)
        if old := section.take("consecutiveErrors"):
            draft.dead(old, "Istio reads it nowhere any more; wanted consecutive5xxErrors")
        for setting in section.left:
            if setting.key not in _EJECTION:
                section.take(setting.key)
                draft.dead(setting, no_such_setting(setting.key, _EJECTION, "Istio"))
        put_ejection(draft, section, section.take("maxEjectionPercent"))


def _pool(draft: Draft, parts: Mapping[str, Setting]) -> None:
    if pool := parts.get("connectionPool"):
        section = Section(pool)
        http, tcp = section.section("http"), section.section("tcp")
        requests = draft.known(http.take("http2MaxRequests"), "a whole number") if http else None
        retries = draft.known(http.take("maxRetries"), "a whole number") if http else None
        connections = tcp.take("maxConnections") if tcp else None
        put_limits(draft, requests, connections, [*(http.left if http else []), *(tcp.left if tcp else [])])
        if retries is not None and retries.whole:
            put_retries_at_once(draft, retries, retries.whole)
        elif retries is not None:
            draft.dead(retries, "0 is read as if it were not given: no bound")
    if budget := parts.get("retryBudget"):
        section = Section(budget)
        share, least = section.take("percent"), section.take("minRetryConcurrency")
        usual = default(budget.file, "minRetryConcurrency", "3")
        if least is not None and least.whole == 0:
            draft.dead(least, "0 is read as if it were not given")
            least = None
        put_budget(draft, share or default(budget.file, "percent", "20"), least or usual)
