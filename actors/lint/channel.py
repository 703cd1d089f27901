"""The linter: settings that cannot do what they say, as warnings that give the numbers.

Settings can each be valid and still not go together: a timeout below what the provider usually takes, a breaker that
looks at a rate over more calls than there are. The loader accepts them, as they may be wanted for an experiment; the
linter says beforehand what they lead to. It draws nothing and runs nothing: whatever it says follows from the settings
and, where it is known, from the rate of arrivals. A live configuration is read without one, so there it says less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.lint.adaptive import adaptive_rules
from actors.lint.breaker import breaker_rules, channel_fault_rules, one_for_all_hosts
from actors.lint.budget import budget_rules
from actors.lint.endpoints import endpoint_rules
from actors.lint.expiry import expiry_rules
from actors.lint.failover import failover_rules
from actors.lint.hedging import hedging_rules
from actors.lint.load import load_rules, timeout_rules
from actors.lint.retry import ENDS_EARLY, ends_too_soon, retry_rules
from actors.lint.traffic import Found, Traffic, most_under
from actors.lint.upstream import upstream_rules
from actors.lint.words import Number, apart

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig, RateLimitConfig


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting that cannot do what it says."""

    path: tuple[str, ...]
    """The keys that lead to it, as they are written: ``("channels", "email", "timeout")``."""

    rule: str
    """The name of the rule, which stays when its text changes: ``timeout-below-median-latency``."""

    text: str
    """The warning about it, with the numbers."""

    numbers: tuple[Number, ...] = ()
    """Those of the text, in its order; taken out of what is given as that."""

    def __post_init__(self) -> None:
        text, numbers = apart(self.text)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "numbers", self.numbers or numbers)

    @property
    def document(self) -> dict[str, Any]:
        """The finding as a plain dict, for a program."""
        return {
            "rule": self.rule,
            "path": ".".join(self.path),
            "message": self.text,
            "numbers": [number._asdict() for number in self.numbers],
        }

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.text}"


def lint(
    channel: str,
    config: ChannelConfig,
    *,
    arrivals_per_s: float | None = None,
    users: int | None = None,
    expires_after: float | None = None,
    per_user_per_s: float | None = None,
    most_arrivals_in: Callable[[float], float] | None = None,
    let_through_in: Callable[[float], float] | None = None,
    lasts_s: float | None = None,
    nodes: int = 1,
    is_operated: bool = False,
    meets_channel_faults: bool = False,
    recipients_choose_hosts: bool = False,
) -> list[Finding]:
    """Return what cannot work in the settings of one channel; the paths begin with ``channels``.

    Args:
        channel: its name.
        config: its settings.
        arrivals_per_s: notifications a second on average. None: not known, and nothing is said that depends on it.
        users: over how many users they are spread evenly. None: each has its own.
        expires_after: seconds after which a notification is not sent any more. None: never.
        per_user_per_s: notifications a second of the busiest user, where they are not spread evenly.
        most_arrivals_in: returns how many are expected in the busiest stretch of so many seconds. None: as many as on
            average.
        let_through_in: returns the most that the limit of each user lets through in so many seconds. None: `users` get
            as many each; or it is not known.
        lasts_s: for how many seconds they arrive. None: without an end.
        nodes: how many processes take what arrives, each with these settings.
        is_operated: whether an operator is known to give an order that has a forced-open breaker let something through.
        meets_channel_faults: whether a provider may say that the channel is broken, as a real one does, and not all
            notifications are known to expire.
        recipients_choose_hosts: whether each recipient names the host that is asked. Those of webhooks always do.
    """
    if per_user_per_s is None and users is not None and arrivals_per_s is not None:
        per_user_per_s = arrivals_per_s / users
    limit = config.rate_limit
    if let_through_in is None and users is not None and limit is not None:
        let_through_in = partial(_of_users, users, limit)
    traffic = Traffic(
        arrivals_per_s,
        per_user_per_s,
        most_arrivals_in,
        lasts_s,
        let_through_in=let_through_in,
        nodes=nodes,
        is_operated=is_operated,
        meets_channel_faults=meets_channel_faults,
    )
    found = [
        *retry_rules(config, traffic),
        *budget_rules(config, traffic),
        *_of_each_provider(config, traffic),
        *channel_fault_rules(config, traffic),
        *load_rules(config, traffic),
        *failover_rules(config, traffic),
    ]
    if channel == "webhook" or recipients_choose_hosts:
        found += one_for_all_hosts(config)
    found += endpoint_rules(config)
    if expires_after is not None:
        found += expiry_rules(config, expires_after)
    findings = [Finding(("channels", channel, *path), rule, text) for path, rule, text in found]
    if expires_after is not None and (text := lint_expiry(config, expires_after)) is not None:
        findings.append(Finding(("channels", channel, "retry"), ENDS_EARLY, f"an expiry of {text}"))
    return findings


def _of_users(users: int, limit: RateLimitConfig, stretch_s: float) -> float:
    return users * most_under(limit, stretch_s)


def _of_each_provider(config: ChannelConfig, traffic: Traffic) -> list[Found]:
    """Return findings about the settings that each provider of a channel may have of its own.

    The path of a finding leads to the further provider whose settings make it one, also where the key is the channel's;
    but a finding about inherited settings alone is reported once, of the channel.
    """
    (_, primary), *others = config.by_provider().items()
    found = _of_provider(primary, traffic)
    # A further provider gets what those before it do not take: how much of what arrives is not known.
    at_most = replace(traffic, is_bound=True)
    for name, own in others:
        given = config.failover[name].model_fields_set
        found += [
            one._replace(path=("failover", name, *one.path))
            for one in _of_provider(own, at_most)
            if one.path[0] in given or one not in found
        ]
    return found


def _of_provider(config: ChannelConfig, traffic: Traffic) -> list[Found]:
    rules = (breaker_rules, timeout_rules, hedging_rules, adaptive_rules, upstream_rules)
    return [found for rule in rules for found in rule(config, traffic)]


def lint_expiry(config: ChannelConfig, expires_after: float) -> str | None:
    """Return what an expiry of so many seconds keeps the retries of a channel from, or None."""
    return ends_too_soon(config.retry, expires_after, included=True)
