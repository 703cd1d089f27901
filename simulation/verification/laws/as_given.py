"""Settings that follow from others: what holds for each provider, worked out again from what a file gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.messages import NotificationChannel
from actors.settings.bulkhead import BulkheadConfig
from actors.settings.channel import PRIMARY, ChannelConfig, FailoverConfig, kind_of
from actors.settings.rate_limit import QuotaConfig, RateLimitConfig
from simulation.verification.laws.base import Context, Invariant, Objection

_NEVER_NULL = ("circuit_breaker", "timeout")
"""Keys of a further provider that are as its channel has them where they are null; null else means none of it."""

_OF_PROVIDERS = tuple(key for key in FailoverConfig.model_fields if key != "provider")
_WORKED_OUT = frozenset({"failover", "max_in_flight", "quota", "circuit_breaker"})
_SEPARATE = frozenset({*_OF_PROVIDERS, "provider", "failover"})


class SettingsAsGiven(Invariant):
    """The settings of each provider follow from the settings given for the channel, the provider and accounts.

    The reference model and the other laws take these settings as they come; so nothing here is of the product but the
    models that read the file.
    """

    name = "settings-as-given"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.as_given is not None

    def at_end(self, now_ns: int) -> Objection:
        sizes = [fault.scale.to for fault in self.context.faults if fault.scale is not None]
        world = self.context.world
        if world is not None and world.nodes is not None:
            sizes.append(world.nodes.count)
        if sizes and max(sizes) != self.context.nodes:
            return f"there are {self.context.nodes} nodes at most, and wanted are {max(sizes)}"
        for channel, given in (self.context.as_given or {}).items():
            held = self.context.channels[channel].by_provider()
            names = [PRIMARY, *given.failover]
            if list(held) != names:
                return f"the providers of {channel} are {', '.join(held)}, and given are {', '.join(names)}"
            for name, config in held.items():
                wanted = self._wanted(channel, given, given.failover.get(name))
                for what, value in _held(config):
                    if value != wanted[what]:
                        return f"{what} of the {name} provider of {channel} is {value}, and wanted is {wanted[what]}"
        return None

    def _wanted(
        self, channel: NotificationChannel, given: ChannelConfig, other: FailoverConfig | None
    ) -> dict[str, Any]:
        """Return, by name, the settings that must hold for one provider, as `_held` has them."""
        own = {key: _own(key, given, other) for key in _OF_PROVIDERS}
        breakers = [given.circuit_breaker, *(each.circuit_breaker for each in given.failover.values())]
        is_said = any(breaker is not None and "per" in breaker.model_fields_set for breaker in breakers)
        has_hosts = kind_of(channel, given) == "webhook" or given.retry.after_retry_after == "host"
        per = "host" if has_hosts and not is_said else given.circuit_breaker.per
        provider = given.provider if other is None else other.provider
        bulkhead = own["max_in_flight"]
        wait = bulkhead.wait if isinstance(bulkhead, BulkheadConfig) else None
        slots = bulkhead.limit if isinstance(bulkhead, BulkheadConfig) else bulkhead
        said_by = given if other is None or "max_in_flight" not in other.model_fields_set else other
        if provider.connections is not None and (slots is not None or "max_in_flight" not in said_by.model_fields_set):
            slots = min(provider.connections, provider.connections if slots is None else slots)
        return {
            **{key: getattr(given, key) for key in ChannelConfig.model_fields if key not in _SEPARATE},
            **own,
            "provider": provider,
            "circuit_breaker": _written(own["circuit_breaker"]) | {"per": per},
            "the number of slots": slots,
            "the wait for a slot": wait,
            "who takes turns": given.order.fair_by or ("host" if per == "host" else "none"),
            "quota": self._allowed(own["quota"]),
            "what rate_limit allows": _allowed(given.rate_limit),
        }

    def _allowed(self, quota: QuotaConfig | None) -> Any:
        world = self.context.world
        if quota is None or quota.account is None or world is None or quota.account not in world.accounts:
            return _allowed(quota)
        account = world.accounts[quota.account]
        if account.quota is not None:
            return _allowed(account.quota)
        assert account.throttle is not None
        rate = account.throttle.rate
        at_once = max(1, round(rate.count))  # in as much more time as these are more
        return {
            "kind": "token_bucket",
            "limits": [(float(at_once), rate.period * at_once / rate.count)],
            "burst": 1,
            "aligned": False,
            "on_limit": "defer",
            "across": "each",
        }


def _own(key: str, given: ChannelConfig, other: FailoverConfig | None) -> Any:
    if other is None or key not in other.model_fields_set:
        return getattr(given, key)
    value = getattr(other, key)
    return getattr(given, key) if value is None and key in _NEVER_NULL else value


def _held(config: ChannelConfig) -> Iterator[tuple[str, Any]]:
    for key in ChannelConfig.model_fields:
        if key not in _WORKED_OUT:
            yield key, getattr(config, key)
    yield "circuit_breaker", _written(config.circuit_breaker)
    yield "the number of slots", config.slots
    yield "the wait for a slot", config.slot_wait
    yield "who takes turns", config.fair_by
    quota = config.quota
    yield "quota", None if quota is None else _as_read(quota)
    yield "what rate_limit allows", None if config.rate_limit is None else _as_read(config.rate_limit)


def _as_read(limit: RateLimitConfig) -> dict[str, Any]:
    """Return what a limit allows, by what all others go by."""
    return _kind(limit) | {"limits": [(rate.count, rate.period) for rate in limit.limits]}


def _allowed(limit: RateLimitConfig | None) -> dict[str, Any] | None:
    if limit is None:
        return None
    if limit.max_per_minute is not None:
        return _kind(limit) | {"limits": [(float(limit.max_per_minute), 60.0)]}
    rates = [limit.rate] if limit.rate is not None else list(limit.rates or ())
    return _kind(limit) | {"limits": [(rate.count, rate.period) for rate in rates]}


def _kind(limit: RateLimitConfig) -> dict[str, Any]:
    across = limit.across if isinstance(limit, QuotaConfig) else "each"
    return {key: getattr(limit, key) for key in ("kind", "burst", "aligned", "on_limit")} | {"across": across}


def _written(settings: Any) -> dict[str, Any]:
    return {key: getattr(settings, key) for key in type(settings).model_fields}
