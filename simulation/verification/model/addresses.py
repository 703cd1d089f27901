"""Addresses: how they are compared, at which hosts they are, and which of them only fail.

An endpoint that only fails is disabled after `disable_after`, until one success or an order (`endpoints`).
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import lru_cache
from urllib.parse import urlsplit

from actors.endpoints import EndpointMark, EndpointState
from actors.messages import SendNotification
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Sent, Transient
from actors.settings.channel import EndpointsConfig
from simulation.verification.model.instants import utc, wait_ns

ENDPOINT_DISABLED = "the endpoint is disabled"
DISABLED = EndpointState.DISABLED

_ANY_URL = re.compile(
    r"(https?)://((?:\[[^]/?#@\s]*\]|[^][/?#@:\\\s]+)(?::[0-9]*)?)((?:[/?#].*)?)", re.IGNORECASE | re.DOTALL
)


def address(command: SendNotification) -> tuple[str, str]:
    """Return the address of a command as it is compared: emails in any case and without a name that is shown for them,
    phone numbers with or without spaces, URLs with scheme and host in any case and with or without the default port."""
    return command.channel, _compared(command.channel, command.recipient)


@lru_cache(maxsize=65_536)
def _compared(channel: str, recipient: str) -> str:
    text = recipient.strip()
    if channel not in ("email", "sms", "push", "webhook") and _ANY_URL.fullmatch(text) is None:
        channel = "email" if "@" in text else "sms"
    if channel == "email":
        _, begins, named = text.removesuffix(">").rpartition("<")
        is_named = text.endswith(">") and begins and ">" not in named and named.strip()
        text = (named.strip() if is_named else text).casefold()
    elif channel == "sms" and text and all(mark in "+0123456789 ./()-\u00a0\u2011" for mark in text):
        text = "".join(mark for mark in text if mark in "+0123456789")
    elif channel != "sms" and (url := _ANY_URL.fullmatch(text)) is not None:
        scheme, authority = url[1].lower(), url[2].lower().removesuffix(":")
        text = (
            f"{scheme}://{authority.removesuffix({'http': ':80', 'https': ':443'}[scheme])}/{url[3].removeprefix('/')}"
        )
    return text


def host_of(recipient: str) -> str:
    """Return the host of a recipient: of a URL, or the domain of an address; ``""`` for those that have none."""
    text = recipient
    if text.lstrip().startswith("{"):  # a Web Push subscription
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["endpoint"])
    if "://" in text:
        try:
            host = urlsplit(text).hostname or ""
        except ValueError:
            return ""
    else:
        host = text.rpartition("@")[2] if "@" in text else ""
    return host.strip().rstrip(".>").lower()


# ── endpoints that only fail ────────────────────────────────────────────────────────────────────────────────────────


def mark_after(
    outcome: Outcome, known: EndpointMark | None, config: EndpointsConfig, calendar_ns: int
) -> EndpointMark | None:
    """Return what a provider's answer makes of an endpoint of which this is known; None: nothing new."""
    says_nothing = isinstance(outcome, (Sent, ChannelFault, DeadDestination))
    if says_nothing or (isinstance(outcome, Transient) and outcome.throttled):
        return None
    if known is not None and known.state is DISABLED:
        return None
    after_ns, known_for_ns = (wait_ns(times * config.disable_after) for times in (1, 2))
    failing_for_ns = -1 if known is None else calendar_ns - known.since_ns
    if known is not None and known.state is EndpointState.FAILING and 0 <= failing_for_ns < known_for_ns:
        return _became(DISABLED, known) if failing_for_ns >= after_ns else None
    if known is not None and failing_for_ns >= 0 and 5 * failing_for_ns <= after_ns:
        return _became(EndpointState.FAILING, known) if 10 * failing_for_ns >= after_ns else None
    return EndpointMark(state=EndpointState.SUSPECTED, since_ns=calendar_ns, until_ns=calendar_ns + known_for_ns)


def disabled_text(command: SendNotification, mark: EndpointMark, reason: str) -> str:
    since = f"all attempts have failed since {utc(mark.since_ns):%Y-%m-%d %H:%M:%S} UTC, the latest: {reason}"
    shown = command.recipient.partition("?")[0]  # what follows there may be a secret, and so is a subscription
    if shown.lstrip().startswith("{"):
        shown = host_of(command.recipient)
    return f"Endpoint {shown} of channel {command.channel} is disabled: {since}"


def _became(state: EndpointState, known: EndpointMark) -> EndpointMark:
    return EndpointMark(state=state, since_ns=known.since_ns, until_ns=known.until_ns)
