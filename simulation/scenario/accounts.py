"""What the linter finds about accounts: those that nothing is of, and quotas that their channels together exceed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from actors.lint.channel import Finding
from actors.lint.load import as_written, key_of
from actors.lint.traffic import SLIGHTLY
from actors.lint.words import rate
from actors.messages import NotificationChannel
from actors.settings.rate_limit import QuotaConfig
from simulation.scenario.model import Scenario


def account_rules(scenario: Scenario, per_s: dict[NotificationChannel, float]) -> Iterator[Finding]:
    """Yield findings about accounts.

    Args:
        scenario: whose they are.
        per_s: by channel, how many arrive a second on average; a channel of which that is not known is left out.
    """
    kept: dict[str, dict[NotificationChannel, QuotaConfig]] = {name: {} for name in scenario.accounts}
    enforced: set[str] = set()
    for channel in scenario.channels_used:
        for lane in scenario.channel_config(channel).by_provider().values():
            if lane.quota is not None and lane.quota.account is not None:
                kept[lane.quota.account][channel] = lane.quota
            if lane.provider.account is not None:
                enforced.add(lane.provider.account)
    for name, account in scenario.accounts.items():
        path, quotas = ("accounts", name), kept[name]
        if account.throttle is not None and name not in enforced and (account.quota is not None or not quotas):
            text = f"is no provider's: none has `account: {name}`"
            yield Finding((*path, "throttle"), "account-without-effect", text)
        if account.throttle is None and name in enforced:
            text = f"has no throttle: `provider: {{account: {name}}}` has no effect"
            yield Finding(path, "account-without-effect", text)
        if not quotas:
            if account.quota is not None:
                text = f"is no channel's: none has `quota: {{account: {name}}}`"
                yield Finding((*path, "quota"), "account-without-effect", text)
            continue
        quota = next(iter(quotas.values()))
        allowed = quota.limit.per_second
        channels = " and ".join(quotas)
        arriving = [per_s.get(channel, math.nan) for channel in quotas]
        if sum(arriving) > allowed * SLIGHTLY and all(each <= allowed for each in arriving):
            yield Finding(
                (*path, *(("quota", key_of(quota)) if account.quota is not None else ("throttle", "rate"))),
                "account-below-arrivals",
                f"{as_written(quota)} is below the {rate(sum(arriving))} that arrive on {channels} together: "
                f"what waits grows by {rate(sum(arriving) - allowed)}",
            )
        if account.throttle is not None and account.quota is not None and name in enforced:
            enforced_per_s = account.throttle.rate.per_second
            if allowed > enforced_per_s * SLIGHTLY:
                yield Finding(
                    (*path, "quota", key_of(quota)),
                    "account-above-throttle",
                    f"{as_written(quota)} is more than the {rate(enforced_per_s)} that the provider takes: what "
                    "exceeds that is throttled",
                )
