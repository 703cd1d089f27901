"""Defaults that depend on the channel and on its transports.

They are filled in after the settings have been read, in one place for a notifier, the service and a scenario; so other
keys that a user sets in the same group do not replace them:

- `max_in_flight` is the number of connections of the transport. More attempts than that would only wait for a
  connection, within their time limit, and an attempt that waited too long would look like a failure of the provider.
  Null means no bound; a number above the number of connections is cut to it.
- `circuit_breaker.per` is `host` where recipients choose the host that is asked, as with webhooks and Web Push: one
  host that is down is no reason to stop sending to all others. It is `host` with `after_retry_after: host`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from actors.messages import ChannelKind, NotificationChannel
from actors.settings.accounts import AccountConfig
from actors.settings.channel import PRIMARY, ChannelConfig, kind_of
from actors.settings.rate_limit import QuotaConfig


class Reach(NamedTuple):
    """How a transport reaches its servers."""

    connections_max: int | None = None
    """How many attempts it can make at once. None: no bound."""

    recipients_choose_hosts: bool = False
    """Whether each recipient names the host that is asked."""


NO_BOUNDS = Reach()


def filled_in(channel: NotificationChannel, config: ChannelConfig, reaches: Mapping[str, Reach]) -> ChannelConfig:
    """Return the settings of a channel with the defaults that depend on the channel and on its transports.

    `reaches` describes its transports, by the name of the provider; a transport that is not there has no bound.
    """
    changes: dict[str, Any] = {}
    others: dict[str, dict[str, Any]] = {name: {} for name in config.failover}
    _fill_slots(config, reaches, changes, others)
    if (
        is_reached_by_choice(reaches)
        or config.retry.after_retry_after == "host"
        or kind_of(channel, config) is ChannelKind.WEBHOOK
    ):
        _fill_hosts(config, changes, others)
    if any(others.values()):
        changes["failover"] = {
            name: other.model_copy(update=others[name]) if others[name] else other
            for name, other in config.failover.items()
        }
    return config.model_copy(update=changes) if changes else config


def is_reached_by_choice(reaches: Mapping[str, Reach]) -> bool:
    """Return whether recipients choose the host that is asked, at any of a channel's transports."""
    return any(reach.recipients_choose_hosts for reach in reaches.values())


def with_accounts(config: ChannelConfig, accounts: Mapping[str, AccountConfig]) -> ChannelConfig:
    """Return the settings of a channel in which each quota that names an account has that account's limit."""
    changes: dict[str, Any] = {}
    if (own := _filled(config.quota, accounts)) is not config.quota:
        changes["quota"] = own
    others = {
        name: other.model_copy(update={"quota": filled})
        for name, other in config.failover.items()
        if (filled := _filled(other.quota, accounts)) is not other.quota
    }
    if others:
        changes["failover"] = {**config.failover, **others}
    return config.model_copy(update=changes) if changes else config


def _filled(quota: QuotaConfig | None, accounts: Mapping[str, AccountConfig]) -> QuotaConfig | None:
    if quota is None or quota.account is None or quota.is_filled or quota.account not in accounts:
        return quota
    return accounts[quota.account].quota_of(quota.account)


def _fill_slots(
    config: ChannelConfig, reaches: Mapping[str, Reach], changes: dict[str, Any], others: dict[str, dict[str, Any]]
) -> None:
    own = _bulkhead(config, reaches.get(PRIMARY, NO_BOUNDS))
    if own != config.max_in_flight:
        changes["max_in_flight"] = own
    for name, other in config.failover.items():
        is_given = "max_in_flight" in other.model_fields_set
        bulkhead = _bulkhead(other if is_given else config, reaches.get(name, NO_BOUNDS))
        if bulkhead != (other.max_in_flight if is_given else own):
            others[name]["max_in_flight"] = bulkhead


def _bulkhead(given: Any, reach: Reach) -> Any:
    bulkhead = given.max_in_flight
    if reach.connections_max is None or (bulkhead is None and "max_in_flight" in given.model_fields_set):
        return bulkhead
    if bulkhead is None:
        return reach.connections_max
    slots = min(given.slots, reach.connections_max)
    return slots if isinstance(bulkhead, int) else bulkhead.model_copy(update={"limit": slots})


def _fill_hosts(config: ChannelConfig, changes: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    own = {name: other.circuit_breaker for name, other in config.failover.items() if other.circuit_breaker is not None}
    if any("per" in breaker.model_fields_set for breaker in (config.circuit_breaker, *own.values())):
        return
    by_host = {"per": "host"}
    changes["circuit_breaker"] = config.circuit_breaker.model_copy(update=by_host)
    for name, breaker in own.items():
        others[name]["circuit_breaker"] = breaker.model_copy(update=by_host)


def simulated_reaches(config: ChannelConfig) -> dict[str, Reach]:
    """Return the reaches of the simulated providers that a channel's settings describe, by name."""
    providers = {PRIMARY: config.provider, **{name: other.provider for name, other in config.failover.items()}}
    return {name: Reach(provider.connections) for name, provider in providers.items()}
