"""What adapts to the provider: a throttle that runs away, and a concurrency limit that begins where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from actors.lint.health import failing
from actors.lint.traffic import NEARLY, Found, Traffic
from actors.lint.words import percent, plain_number

if TYPE_CHECKING:
    from actors.settings.channel import ChannelConfig


def adaptive_rules(config: ChannelConfig, _traffic: Traffic) -> Iterator[Found]:
    """Yield findings about `adaptive_throttle` and `concurrency_limit`, of one provider."""
    yield from _throttle(config)
    limit, slots = config.concurrency_limit, config.slots
    if limit is not None and slots is not None and limit.initial > slots:
        yield Found(
            ("concurrency_limit", "initial"),
            "concurrency-limit-above-slots",
            f"{plain_number(limit.initial)} at once is more than the max_in_flight of {plain_number(slots)}: it binds "
            "only once it has fallen below that",
        )


def _throttle(config: ChannelConfig) -> Iterator[Found]:
    """Yield that more is refused than fails.

    Of a share q that is let through, (1 - f) q is accepted where f fails, and next k (1 - f) q is let through: where
    k (1 - f) is below 1 that falls to nothing if what is refused counts as a request. If not, the share let through is
    that of what was let through before, and stays k (1 - f).
    """
    throttle, healthy = config.adaptive_throttle, failing(config)
    if throttle is None:
        return
    let_through = throttle.k * (1 - healthy.all)
    if let_through >= NEARLY:
        return
    if throttle.count_rejected:
        comes_to = f"each refusal brings more, up to {percent(throttle.max_rejection)} of all attempts"
    else:
        comes_to = f"{percent(min(throttle.max_rejection, 1 - let_through))} of the attempts are refused"
    yield Found(
        ("adaptive_throttle", "k"),
        "throttle-refuses-when-healthy",
        f"{plain_number(throttle.k)} times what is accepted is less than what is sent where {percent(healthy.all)} of "
        f"the attempts fail{healthy.timing_out}: with nothing wrong, at the sender {comes_to}",
    )
