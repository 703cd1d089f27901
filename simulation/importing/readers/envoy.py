"""Envoy's own configuration, version 3 in YAML or JSON: retry policies of routes, limits and ejection of clusters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.settings.quantities import write_duration
from actors.settings.yaml_tree import ListNode, MappingNode, data
from simulation.importing.configuration import (
    Document,
    Draft,
    Section,
    Setting,
    Timed,
    default,
    each_readable,
    json_document,
    yaml_documents,
)
from simulation.importing.policy import Mark, Policy
from simulation.importing.source import Given, SourceFile
from simulation.importing.waits import protobuf_duration

# ── what Istio sets too ───────────────────────────────────────────────────────────────────────────────────────────────


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
"""The words of `retry_on`: the failures that are retried, and the part that cannot be expressed."""

FOR_GRPC = "over gRPC alone: {words}; an answer of HTTP with 5xx is not tried again"
EJECTION = "it puts out one host of many, by a share of all; then all traffic comes back to it, not a probe"
WHOLE = "a whole number"


@dataclass
class Retries:
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
    """Set Envoy's retry budget: a share of the active requests, or a number of retries at once."""
    part, count = share.number, least.whole
    settings = {"kind": "envoy", "share": f"{20.0 if part is None else part:g}%"}
    draft.put("retry.budget", {**settings, "min_concurrency": 3 if count is None else count}, share)
    draft.exact(least, "retry.budget")


def put_retries_at_once(draft: Draft, setting: Setting, count: int) -> None:
    draft.put("retry.budget", {"kind": "envoy", "share": "0%", "min_concurrency": count}, setting)


KIND = "envoy"
_SETTINGS = re.compile(r"retry_?policy|circuit_?breakers|outlier_?detection|virtual_?hosts", re.IGNORECASE)
_OURS = re.compile(
    r"static_?resources|type\.googleapis\.com/envoy|virtual_?hosts|load_?assignment|lb_?policy", re.IGNORECASE
)
_TOP = re.compile("static_resources|resources|virtual_hosts|clusters|routes|route_config|dynamic_resources|admin")
_DEPTH_MAX = 40


def recognises(file: SourceFile) -> bool:
    """Return whether a file has resources of Envoy at its top, with a setting of retries, limits or ejection."""
    text = file.text
    is_of_kubernetes = re.search(r"^[\"']?apiVersion[\"']?\s*:", text, re.MULTILINE)
    if not _SETTINGS.search(text) or not _OURS.search(text) or is_of_kubernetes:
        return False
    keys = re.findall(r"^\s{0,2}(?:- )?[\"']?([A-Za-z_]+)[\"']?\s*:", text, re.MULTILINE)
    keys += re.findall(r"[{,]\s*\"(\w+)\"\s*:", text[:2000])
    return any(_TOP.fullmatch(_snake(key)) for key in keys) or "type.googleapis.com/envoy" in text


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).lower()


@dataclass
class _Found:
    routes: list[tuple[Document, str, Section, Setting | None]]
    clusters: dict[str, list[Section]]


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each route to a cluster, and for each cluster with limits that no route leads to."""
    broken: list[Policy] = []
    found = _Found([], {})
    for document in each_readable(files, KIND, _documents, broken):
        for setting in _mappings(document.root, 0):
            _look(document, Section(setting, _snake), found)
    policies: list[Policy] = []
    reached: set[str] = set()
    names: dict[str, int] = {}
    for document, name, route, above in found.routes:
        names[name] = names.get(name, 0) + 1
        draft = Draft(name if names[name] == 1 else f"{name}/{names[name]}", KIND, given)
        draft.within(document, 1, document.last_line)
        cluster = _cluster_of(route)
        reached.add(cluster)
        _route(draft, route, above, _one_of(draft, cluster, found.clusters.get(cluster, []), route.setting.file))
        policies.append(draft.policy)
    for name, sections in found.clusters.items():
        if name not in reached and any(any(_limits_of(section)) for section in sections):
            draft = Draft(name, KIND, given)
            draft.set("retry.max_attempts", 1)
            draft.note("No route in these files leads to this cluster.")
            _limits(draft, _one_of(draft, name, sections, "") or sections[0])
            policies.append(draft.policy)
    return [*policies, *broken]


def _documents(file: SourceFile) -> list[Document]:
    return [json_document(file)] if file.suffix == ".json" else yaml_documents(file, f"(?i:{_SETTINGS.pattern})")


def _mappings(setting: Setting, depth: int) -> Iterator[Setting]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(setting.node, MappingNode):
        yield setting
    below = setting.items if isinstance(setting.node, ListNode) else Section(setting).left
    for each in below:
        yield from _mappings(each, depth + 1)


def _look(document: Document, section: Section, found: _Found) -> None:
    if "virtual_hosts" in section:
        for host in section.sections("virtual_hosts"):
            name, policy = host.take("name"), host.take("retry_policy")
            for place, route in enumerate(host.sections("routes"), 1):
                _add_route(document, name.written if name else "virtual host", route, policy, place, found)
    elif any(key in section for key in _OF_A_CLUSTER) and (named := section.take("name")) is not None:
        found.clusters.setdefault(named.written, []).append(section)


_OF_A_CLUSTER = ("load_assignment", "lb_policy", "circuit_breakers", "outlier_detection", "connect_timeout")


def _add_route(document: Document, host: str, route: Section, above: Setting | None, place: int, found: _Found) -> None:
    action, named, match = route.section("route"), route.take("name"), route.section("match")
    if action is None:
        return  # a redirect, a direct answer, or a filter's
    paths = [match.take(key) for key in ("prefix", "path", "path_separated_prefix")] if match is not None else []
    shown = next((each.written for each in paths if each is not None), str(place) if match is not None else "")
    found.routes.append((document, f"{host} {named.written if named else shown}".strip(), action, above))


def _cluster_of(route: Section) -> str:
    named = route.take("cluster")
    if named is None and (weighted := route.section("weighted_clusters")) is not None:
        clusters = weighted.sections("clusters")
        named = clusters[0].take("name") if clusters else None
    return named.written if named else ""


def _one_of(draft: Draft, name: str, clusters: Sequence[Section], file: str) -> Section | None:
    """Return the cluster of a name: of the same file, if it has one; clusters of other files need the same limits."""
    fitting = [each for each in clusters if each.setting.file == file] or clusters
    if any(_limits_of(each) != _limits_of(fitting[0]) for each in fitting):
        at = fitting[0].setting
        why = f"{len(fitting)} clusters of this name differ in their limits: give the files that are used together"
        draft.refuse(Setting.of(at.file, at.line, "cluster", name), why)
    return fitting[0] if fitting else None


def _limits_of(cluster: Section) -> list[Any]:
    section = Section(cluster.setting, _snake)
    settings = [section.take(key) for key in ("circuit_breakers", "outlier_detection")]
    return [each and data(each.node) for each in settings]


# ── one route ───────────────────────────────────────────────────────────────────────────────────────────────────


def _duration(draft: Draft, setting: Setting | None) -> Timed | None:
    refused = "Envoy refuses it: wanted seconds such as 0.25s or 15s"
    return draft.timed(setting, protobuf_duration, "a duration such as 0.25s", refused)


def _route(draft: Draft, route: Section, above: Setting | None, cluster: Section | None) -> None:
    file = route.setting.file
    whole = _duration(draft, route.take("timeout")) or (15.0, default(file, "timeout", "15s"))
    policy = route.take("retry_policy")
    if policy is not None and above is not None:
        draft.dead(above, "the route has a retry policy of its own, which replaces it whole")
    policy = policy or above
    if policy is None:
        draft.put("retry.max_attempts", 1, default(file, "retry_policy", "none"))
        put_time_outs(draft, None, whole)
    elif isinstance(policy.node, MappingNode):
        _retries(draft, Section(policy, _snake), whole)
    elif draft.known(policy, "a retry policy") is not None:
        draft.refuse(policy, "wanted a mapping")
    for key, reason in _OF_A_ROUTE.items():
        if setting := route.take(key):
            draft.unsaid(setting, reason)
    if cluster is not None:
        _limits(draft, cluster)
    elif policy is not None:
        draft.note("The cluster is not in these files: its bound of retries at once, max_retries (3), is not read.")


_OF_A_ROUTE = {
    "hedge_policy": "a copy is sent when a try is late, and the first answer counts",
    "idle_timeout": "a time-out between two parts of an answer",
    "max_stream_duration": "a bound of a whole stream",
    "retry_policy_typed_config": "code of an extension decides what is tried again",
}
_CHOOSES = "it chooses the host of a retry; a channel has one provider"
_OF_A_POLICY = {
    "per_try_idle_timeout": "a time-out between two parts of an answer",
    **dict.fromkeys(("retry_priority", "retry_host_predicate", "host_selection_retry_max_attempts"), _CHOOSES),
    "retry_options_predicates": "code of an extension changes the retry",
    "retriable_headers": "headers of the answer decide there",
    "retriable_request_headers": "headers of the request decide there",
}


def _retries(draft: Draft, policy: Section, whole: Timed) -> None:
    file = policy.setting.file
    on = draft.known(policy.take("retry_on"), "reasons such as 5xx,reset")
    attempts = draft.known(policy.take("num_retries"), "a whole number") or default(file, "num_retries", "1")
    per_try = _duration(draft, policy.take("per_try_timeout"))
    codes = policy.take("retriable_status_codes")
    backoff = policy.section("retry_back_off")
    intervals = ("base_interval", "max_interval")
    base, longest = (_duration(draft, backoff.take(key)) if backoff else None for key in intervals)
    limited = policy.section("rate_limited_retry_back_off")
    for key, reason in _OF_A_POLICY.items():
        if setting := policy.take(key):
            draft.unsaid(setting, reason)
    for setting in [*policy.left, *(backoff.left if backoff else [])]:
        draft.refuse(setting, "Envoy refuses a file with a key that it does not know")
    if draft.questions or draft.is_open:
        return
    if on is None:
        if attempts.line:
            draft.dead(attempts, "without retry_on nothing is tried again, unless a request asks for it by a header")
        draft.put("retry.max_attempts", 1, default(file, "retry_on", "none"))
        put_time_outs(draft, None, whole)
        if per_try:
            draft.put("timeout", write_duration(per_try[0]), per_try[1])
        return
    words = [word.strip() for word in on.written.split(",") if word.strip()]
    numbers = [code for item in (codes.items if codes else []) if (code := item.whole) is not None]
    base = base or (0.025, default(file, "base_interval", "0.025s"))
    put_retries(draft, Retries(attempts, on, words, base, numbers, codes, per_try, whole, longest))
    if limited is not None:
        _rate_limited(draft, limited)


def _rate_limited(draft: Draft, limited: Section) -> None:
    """Set the wait that an answer asks for: by a header, with up to half of it added, and not above a maximum."""
    longest = (_duration(draft, limited.take("max_interval")) or (300.0,))[0]
    headers = [name.written.lower() for each in limited.sections("reset_headers") if (name := each.take("name"))]
    if "retry-after" in headers:
        reason = f"a wait above {write_duration(longest)} is not heeded there; here that much of it is waited"
        draft.put("retry.retry_after", "exactly", limited.setting, reason)
        draft.set("retry.retry_after_jitter", "50%")
        draft.set("retry.retry_after_excess", write_duration(longest))
    else:
        draft.unsaid(limited.setting, "other headers than Retry-After say the wait")


# ── its cluster ─────────────────────────────────────────────────────────────────────────────────────────────────


def _limits(draft: Draft, cluster: Section) -> None:
    settings = Section(cluster.setting, _snake)
    breakers = settings.section("circuit_breakers")
    retries = budget = None
    is_first = True
    for each in breakers.sections("thresholds") if breakers else []:
        if (level := each.take("priority")) is not None and level.written.upper() != "DEFAULT":
            draft.unsaid(each.setting, "limits of requests of high priority, which routes ask for")
        elif is_first:
            is_first = False
            retries, budget = each.take("max_retries"), each.section("retry_budget")
            requests, connections = each.take("max_requests"), each.take("max_connections")
            tracked = each.take("track_remaining")
            put_limits(draft, draft.known(requests, "a whole number"), connections, each.left)
            if tracked is not None:
                draft.dead(tracked, "it is about statistics")
    if draft.channel.get("retry", {}).get("max_attempts", 1) > 1:
        _retries_at_once(draft, draft.known(retries, "a whole number"), budget, cluster.setting.file)
    elif retries is not None:
        draft.dead(retries, "no route to the cluster tries again")
    if (outliers := settings.section("outlier_detection")) is not None:
        put_ejection(draft, outliers, outliers.take("max_ejection_percent"))


def _retries_at_once(draft: Draft, retries: Setting | None, budget: Section | None, file: str) -> None:
    if budget is not None:
        if retries is not None:
            draft.dead(retries, "the retry budget replaces it")
        least, percent = budget.take("min_retry_concurrency"), budget.section("budget_percent")
        share = percent.take("value") if percent else None
        usual = default(file, "min_retry_concurrency", "3")
        put_budget(draft, share or default(file, "budget_percent", "20"), least or usual)
        return
    setting = retries or default(file, "max_retries", "3")
    count = setting.whole
    if count is None or count < 0:
        draft.refuse(setting, "wanted a whole number")
    else:
        put_retries_at_once(draft, setting, count)
