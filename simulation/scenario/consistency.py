"""Checks that the parts of a scenario file fit together, made on all parts that can be read.

The checks read the plain data, not the finished model: a file with a misspelt key and a fault on an unused channel has
two problems, and both are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic_core import PydanticCustomError

from actors.channel_names import channel_named, in_order
from actors.messages import NotificationChannel, Priority, usual_priority
from actors.settings.channel import PRIMARY, UPSTREAM_LAYERS_MAX, an_account_of, keys_of_provider
from actors.settings.faults import ACTORS, NODES_MAX, is_host
from actors.settings.quantities import parse_duration
from simulation.scenario.expectations import Expectation
from simulation.scenario.limits import problem_of
from simulation.scenario.metrics import WINDOWS, Outline, Window, entry_names, summary_shape
from simulation.scenario.workload import CHANNELS_OF_EVENT, HOST_OF_EVENTS, host_name
from simulation.scenario.world import WEATHER

Finding = tuple[tuple[str | int, ...], str]
"""The path of a value, and its problem."""


def findings(scenario: Any) -> Iterator[Finding]:
    """Yield the contradictions in the plain data of a scenario file."""
    if not isinstance(scenario, dict):
        return
    used = _providers_used(scenario)
    if used is not None:
        yield from _elsewhere("faults", scenario.get("faults"), used)
        yield from _elsewhere("operations", scenario.get("operations"), used)
        yield from _hosts_without_recipients(scenario.get("faults"), scenario["workload"], used)
        yield from _hosts_of_missing_providers(scenario.get("world"), used)
        yield from _of_missing_nodes(scenario)
        if nodes_at_most(scenario) > 1 and scenario.get("actors"):
            yield ("actors",), "wanted one process: own actors of several nodes are not simulated"
        if nodes_at_most(scenario) == 1:
            for path, shared in _shared_breakers(scenario, used):
                yield path, f"wanted `nodes` to share it with, such as nodes: 3, got {shared} and one process alone"
        yield from _of_missing_upstreams(scenario.get("faults"), scenario.get("channels"), used)
        yield from _crashes_of_missing_actors(scenario, used)
        outline = _outline(scenario, used)
        yield from _names_twice(outline.entries)
        yield from _expectations(scenario.get("expect"), outline)
        yield from _limits(scenario.get("limits"), tuple(map(str, used)))
    yield from _not_there(scenario)
    yield from _fallbacks_in_a_circle(scenario.get("channels"))
    yield from _missing_accounts(scenario.get("channels"), scenario.get("accounts", {}))


def _providers_used(scenario: dict[str, Any]) -> dict[NotificationChannel, list[str]] | None:
    """Return the channels that the file uses and each one's providers, in order.

    None when the file's settings of them are wrong, so that they are unknown.
    """
    used: dict[NotificationChannel, None] = {}
    workload, channels = scenario.get("workload"), scenario.get("channels", {})
    if not isinstance(workload, list) or not isinstance(channels, dict):
        return None
    for entry in workload:
        if not isinstance(entry, dict):
            return None
        event, name = entry.get("event"), entry.get("channel")
        if isinstance(event, str) and event in CHANNELS_OF_EVENT:
            used |= dict.fromkeys(CHANNELS_OF_EVENT[event])
        elif (channel := channel_named(name)) is None:
            return None
        elif not channel.is_own:
            used[channel] = None
    for name, settings in channels.items():
        if (channel := channel_named(name)) is None:
            return None
        used[channel] = None
        fallback = channel_named(_within(settings, "fallback", "channel"))
        if fallback is not None and not fallback.is_own:
            used[fallback] = None
    used |= dict.fromkeys(filter(None, map(channel_named, _channels_of_hosts(scenario).values())))
    others = {channel: _within(channels, channel.value, "failover") for channel in used}
    return {
        channel: [PRIMARY, *(map(str, others[channel]) if isinstance(others[channel], dict) else ())]
        for channel in in_order(used)
    }


def _limits(limits: Any, channels: tuple[str, ...]) -> Iterator[Finding]:
    """Yield limits of a place or a kind that is not there, or in another unit than theirs."""
    for name, bound in limits.items() if isinstance(limits, dict) else ():
        if isinstance(bound, str) and (problem := problem_of(str(name), bound, channels)):
            yield ("limits", name), f"wanted {problem}, got {name}: {bound}"


def _not_there(scenario: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the channels beside the four that the workload, fallbacks or people's settings name and no one has set."""
    channels = scenario.get("channels", {})
    if not isinstance(channels, dict):
        return
    places: list[tuple[tuple[str | int, ...], Any]] = [
        (("channels", name, "fallback", "channel"), _within(settings, "fallback", "channel"))
        for name, settings in channels.items()
    ]
    for key, inner in (("workload", "channel"), ("preferences", "channel"), ("quiet_hours", "channels")):
        entries = scenario.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            named = _within(entry, inner)
            alone = not isinstance(named, list)
            places += [
                ((key, index, inner) if alone else (key, index, inner, place), name)
                for place, name in enumerate([named] if alone else named)
            ]
    places += _channels_of_hosts(scenario).items()
    there = ", ".join(in_order([*NotificationChannel, *filter(None, map(channel_named, channels))]))
    for path, name in places:
        if (channel := channel_named(name)) is not None and channel.is_own and name not in channels:
            yield path, f"wanted an existing channel ({there}; `channels` may have more), got {name!r}"


def _channels_of_hosts(scenario: Mapping[str, Any]) -> dict[tuple[str | int, ...], Any]:
    """Return the channels that hosts of the world name, by their places."""
    world = scenario.get("world")
    found: dict[tuple[str | int, ...], Any] = {}
    for host, named in world.items() if isinstance(world, dict) else ():
        if isinstance(named, dict) and "channel" in named:
            found["world", host, "channel"] = named["channel"]
        elif isinstance(named, str) and named not in WEATHER:
            found["world", host] = named
    return found


def _hosts_of_missing_providers(world: Any, used: Mapping[NotificationChannel, Sequence[str]]) -> Iterator[Finding]:
    for host, named in world.items() if isinstance(world, dict) else ():
        provider, channel = _within(named, "provider"), channel_named(_within(named, "channel"))
        if provider is not None and channel is not None and provider not in used.get(channel, [provider]):
            yield ("world", host, "provider"), f"wanted one of {', '.join(used[channel])}, got {provider!r}"


def _within(value: Any, *path: str) -> Any:
    """Return the value at a path in plain data; None if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _elsewhere(key: str, entries: Any, used: Mapping[NotificationChannel, Sequence[str]]) -> Iterator[Finding]:
    """Yield the channels and providers of faults or operations that are none of this file."""
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        named = _within(entry, "channel")
        provider = _within(entry, "provider")
        for place, name in enumerate(named) if isinstance(named, list) else [(None, named)]:
            channel = channel_named(name)
            if channel is not None and channel not in used:
                path: tuple[str | int, ...] = (key, index, "channel")
                text = f"wanted a channel that this file uses ({', '.join(used)}), got {name!r}"
                yield (path if place is None else (*path, place)), text
            elif channel is not None and isinstance(provider, str) and provider not in used[channel]:
                text = f"wanted a provider of {channel} ({', '.join(used[channel])}), got {provider!r}"
                yield (key, index, "provider"), text


def nodes_at_most(scenario: Mapping[str, Any]) -> int:
    """Return how many nodes a file has at any time, as far as it says so."""
    nodes, faults = scenario.get("nodes", 1), scenario.get("faults")
    to = [_within(fault, "scale", "to") for fault in (faults if isinstance(faults, list) else ())]
    counts = [nodes.get("count", 1) if isinstance(nodes, dict) else nodes, *to]
    return max([1, *(count for count in counts if type(count) is int and count <= NODES_MAX)])


def _of_missing_nodes(scenario: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield nodes that faults name and that do not exist, and faults that need several nodes where there is one."""
    most, faults = nodes_at_most(scenario), scenario.get("faults")
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        named = _within(fault, "node")
        for place, number in enumerate(named) if isinstance(named, list) else [(None, named)]:
            if type(number) is int and number > most:
                path: tuple[str | int, ...] = ("faults", index, "node")
                nodes = f"1 to {most}" if most > 1 else "only 1: `nodes` says how many there are"
                yield (
                    (path if place is None else (*path, place)),
                    f"wanted the number of a node ({nodes}), got {number}",
                )
        if most == 1 and _within(fault, "deploy") is not None:
            yield ("faults", index, "deploy"), "wanted several nodes to deploy one after the other, got nodes: 1"
        if most == 1 and _within(fault, "partition") is not None:
            yield ("faults", index, "partition"), "wanted several nodes that share a store, got nodes: 1"


def _shared_breakers(
    scenario: Mapping[str, Any], used: Mapping[NotificationChannel, Sequence[str]]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the paths of settings that share a breaker, each with how it is shared."""
    for channel, names in used.items():
        for name in names:
            path = ("channels", channel.value, *keys_of_provider(name), "circuit_breaker", "shared")
            if (shared := _within(scenario, *path)) in ("any", "quorum"):
                yield path, shared


def _of_provider(channels: Any, channel: NotificationChannel, provider: str, key: str) -> Any:
    """Return a setting of a provider of a channel, as a file has it; None: there is none."""
    return _within(channels, channel.value, *keys_of_provider(provider), "provider", key)


def _of_missing_upstreams(
    faults: Any, channels: Any, used: Mapping[NotificationChannel, Sequence[str]]
) -> Iterator[Finding]:
    """Yield the faults of upstreams, where all providers deliver by themselves."""
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        hit = [channel for channel in _channels_named(fault, used) if channel in used]
        named = _within(fault, "provider")
        asked = [(channel, name) for channel in hit for name in used[channel] if named in (None, name)]
        layer, of = _within(fault, "upstream"), ", ".join(hit or used)
        layers = max((_depth(_of_provider(channels, *each, "upstream")) for each in asked), default=0)
        if type(layer) in (bool, int) and layer > layers:
            wants = "an `upstream`" if layer == 1 else f"{layer} layers of `upstream`"
            yield ("faults", index, "upstream"), f"wanted a provider with {wants} there, got {layers or 'none'} on {of}"


def _depth(upstream: Any) -> int:
    """Return how many layers there are behind a provider, as a file has them."""
    layers = 0
    while upstream is not None and layers <= UPSTREAM_LAYERS_MAX:
        layers, upstream = layers + 1, _within(upstream, "upstream")
    return layers


def _hosts_without_recipients(
    faults: Any, workload: Sequence[Any], used: Iterable[NotificationChannel]
) -> Iterator[Finding]:
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        named = _within(fault, "host")
        if named is None:
            continue
        there = [span for channel in _channels_named(fault, used) for span in _hosts_on(channel, workload)]
        for place, host in enumerate(named) if isinstance(named, list) else [(None, named)]:
            if isinstance(host, str) and is_host(host) and not any(_is_among(host.lower(), count) for count in there):
                path: tuple[str | int, ...] = ("faults", index, "host")
                texts = [
                    HOST_OF_EVENTS if count is None else f"{host_name(0)} to {host_name(count - 1)}" for count in there
                ]
                some = ", ".join(dict.fromkeys(texts)) or "none: no workload there has hosts"
                yield (path if place is None else (*path, place)), f"wanted a host of recipients ({some}), got {host!r}"


def _hosts_on(channel: NotificationChannel, workload: Sequence[Any]) -> Iterator[int | None]:
    """Yield, for each entry of the workload, how many hosts it has on a channel; None: the one of domain events."""
    for entry in workload:
        event, hosts = _within(entry, "event"), _within(entry, "hosts")
        if isinstance(event, str):
            if channel is NotificationChannel.EMAIL and channel in CHANNELS_OF_EVENT.get(event, ()):
                yield None
        elif _within(entry, "channel") == channel:
            count = _within(hosts, "count") if isinstance(hosts, dict) else hosts
            if type(count) is int:
                yield count


def _is_among(host: str, count: int | None) -> bool:
    """Tell whether a host is one of `count`; None: the host of domain events."""
    if count is None:
        return host == HOST_OF_EVENTS
    number = host.removeprefix("host-").removesuffix(".example")
    return number.isascii() and number.isdigit() and host_name(int(number[:10])) == host and int(number[:10]) < count


def _channels_named(fault: Any, used: Iterable[NotificationChannel]) -> list[NotificationChannel]:
    named = _within(fault, "channel")
    names = used if named == "all" else named if isinstance(named, list) else [named]
    return [channel for channel in map(channel_named, names) if channel is not None]


def _crashes_of_missing_actors(scenario: Mapping[str, Any], used: Iterable[NotificationChannel]) -> Iterator[Finding]:
    faults, channels, own = scenario.get("faults"), scenario.get("channels"), scenario.get("actors")
    there = [*ACTORS, *(own if isinstance(own, dict) else ())]
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        actor = _within(fault, "crash", "actor")
        if isinstance(actor, str) and actor not in there:
            yield ("faults", index, "crash", "actor"), f"wanted one of {', '.join(map(str, there))}, got {actor!r}"
        if actor != "limiter":
            continue
        hit = _channels_named(fault, used)
        if hit and all(_within(channels, channel.value, "rate_limit") is None for channel in hit):
            text = f"wanted an existing actor: without a rate_limit no limiter on {', '.join(hit)}"
            yield ("faults", index, "crash", "actor"), text


def _missing_accounts(channels: Any, accounts: Any) -> Iterator[Finding]:
    for channel in channels if isinstance(channels, dict) and isinstance(accounts, dict) else ():
        others = _within(channels, channel, "failover")
        further = others if isinstance(others, dict) else {}
        for path in ((channel,), *((channel, "failover", name) for name in further)):
            for key in ("quota", "provider"):
                name = _within(channels, *path, key, "account")
                if isinstance(name, str) and name not in accounts:
                    text = f"wanted {an_account_of(map(str, accounts))}, got {name!r}"
                    yield ("channels", *path, key, "account"), text


def _fallbacks_in_a_circle(channels: Any) -> Iterator[Finding]:
    for start in channels if isinstance(channels, dict) else ():
        way = [start]
        while (following := _within(channels, way[-1], "fallback", "channel")) not in (None, *way):
            way.append(following)
        if following == start:
            circle = " to ".join([*way, start])
            yield ("channels", start, "fallback", "channel"), f"wanted fallbacks that end somewhere, got {circle}"


def _outline(scenario: dict[str, Any], used: Mapping[NotificationChannel, Sequence[str]]) -> Outline:
    """Return the outline of a scenario's metrics, as far as the plain data gives it."""
    workload, faults, expect = scenario["workload"], scenario.get("faults"), scenario.get("expect")
    named = [(entry.get("name"), str(entry.get("event", entry.get("channel")))) for entry in workload]
    classes = {entry.get("priority") or usual_priority(entry.get("critical") is True).value for entry in workload}
    within: set[float] = set()
    windows: dict[Window, None] = {}
    for _, text, window in _bounds(expect):
        windows |= {} if window is None else {window: None}
        try:
            within_s = Expectation.parse(text).within_s
        except PydanticCustomError:
            continue  # the model says so
        within |= set() if within_s is None else {within_s}
    all_of = [(channel, name) for channel, names in used.items() for name in names]
    found = partial(_of_provider, scenario.get("channels"))
    queues = {
        channel: tuple(name for name in names if found(channel, name, "queue")) for channel, names in used.items()
    }
    return Outline(
        providers=tuple((channel, tuple(names)) for channel, names in used.items()),
        entries=entry_names((given if isinstance(given, str) else None, called) for given, called in named),
        classes=tuple(each for each in Priority if each in classes),
        faults=tuple(
            number
            for number, fault in enumerate(faults if isinstance(faults, list) else ())
            if _within(fault, "crash") == "process"
            or any(_within(fault, key) is not None for key in ("for", "restart_after"))
        ),
        within_s=tuple(within),
        windows=tuple(windows),
        nodes=nodes_at_most(scenario),
        upstreams=max((_depth(found(*each, "upstream")) for each in all_of), default=0),
        shares_breakers=any(_shared_breakers(scenario, used)),
        has_endpoints=any(_within(scenario, "channels", channel, "endpoints") is not None for channel in used),
        has_own_actors=bool(scenario.get("actors")),
        queues=tuple((channel, names) for channel, names in queues.items() if names),
    )


def _names_twice(names: Sequence[str]) -> Iterator[Finding]:
    before: set[str] = set()
    for index, name in enumerate(names):
        if name in before:
            yield ("workload", index, "name"), f"wanted a name that no other entry has, got {name!r}"
        before.add(name)


def _expectations(expect: Any, outline: Outline) -> Iterator[Finding]:
    shape = summary_shape(outline)
    for path, text, window in _bounds(expect):
        try:
            bound = Expectation.parse(text)
        except PydanticCustomError:
            continue  # the model says so
        part = shape if window is None else shape[WINDOWS][window.name]  # type: ignore[index]
        problem = bound.problem(part, window)  # type: ignore[arg-type]
        if problem is not None:
            yield path, problem


def _bounds(expect: Any) -> Iterator[tuple[tuple[str | int, ...], Any, Window | None]]:
    for index, entry in enumerate(expect if isinstance(expect, list) else ()):
        if not isinstance(entry, dict):
            yield ("expect", index), entry, None
        elif entry.keys().isdisjoint({"from", "to"}):
            yield ("expect", index, "that"), entry.get("that"), None
        elif (window := _window(entry)) is not None and isinstance(entry.get("that"), list):
            for place, text in enumerate(entry["that"]):
                yield ("expect", index, "that", place), text, window


def _window(entry: dict[str, Any]) -> Window | None:
    """Return the window of an entry of `expect`; None where the entry is wrong."""
    from_s, to_s = (None if entry.get(key) is None else parse_duration(entry[key]) for key in ("from", "to"))
    if (from_s is None) != (entry.get("from") is None) or (to_s is None) != (entry.get("to") is None):
        return None
    return Window(from_s or 0.0, to_s)
