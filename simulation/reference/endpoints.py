"""Endpoints that only fail (section 20): after `disable_after` one is disabled, until one success or an order."""

from __future__ import annotations

from actors.endpoints import EndpointMark, EndpointState
from actors.messages import SendNotification
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Sent, Transient
from actors.settings.channel import ChannelConfig
from simulation.reference.instants import utc, wait_ns

ENDPOINT_DISABLED = "the endpoint is disabled"
DISABLED = EndpointState.DISABLED


def mark_after(
    outcome: Outcome, known: EndpointMark | None, config: ChannelConfig, calendar_ns: int
) -> EndpointMark | None:
    """Return what a provider's answer makes of an endpoint of which this is known; None: nothing new."""
    says_nothing = isinstance(outcome, (Sent, ChannelFault, DeadDestination))
    if config.endpoints is None or says_nothing or (isinstance(outcome, Transient) and outcome.throttled):
        return None
    if known is not None and known.state is DISABLED:
        return None
    after_ns, known_for_ns = (wait_ns(times * config.endpoints.disable_after) for times in (1, 2))
    failing_for_ns = -1 if known is None else calendar_ns - known.since_ns
    if known is not None and known.state is EndpointState.FAILING and 0 <= failing_for_ns < known_for_ns:
        return _became(DISABLED, known) if failing_for_ns >= after_ns else None
    if known is not None and failing_for_ns >= 0 and 5 * failing_for_ns <= after_ns:
        return _became(EndpointState.FAILING, known) if 10 * failing_for_ns >= after_ns else None
    return EndpointMark(state=EndpointState.SUSPECTED, since_ns=calendar_ns, until_ns=calendar_ns + known_for_ns)


def disabled_text(command: SendNotification, mark: EndpointMark, reason: str) -> str:
    """Return what people are told."""
    since = f"all attempts have failed since {utc(mark.since_ns):%Y-%m-%d %H:%M:%S} UTC, the latest: {reason}"
    return f"Endpoint {command.recipient} of channel {command.channel} is disabled: {since}"


def _became(state: EndpointState, known: EndpointMark) -> EndpointMark:
    return EndpointMark(state=state, since_ns=known.since_ns, until_ns=known.until_ns)
