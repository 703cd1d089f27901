"""Events in words: the one way in which the console, reports and breaches describe an event of the history."""

from __future__ import annotations

import re

from actors.endpoints import EndpointState
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DeferralCause,
    DuplicateIgnored,
    NodeTookOver,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    OwnActorMessage,
    RecordedEvent,
    UpstreamRequested,
)

WAITS_FOR = {
    DeferralCause.RATE_LIMIT: "a limit to allow it",
    DeferralCause.CIRCUIT_BREAKER: "an open circuit breaker",
    DeferralCause.QUIET_HOURS: "the end of the user's quiet hours",
}
"""Why a notification waits."""

OUTCOMES = {
    "Sent": "sent",
    "Transient": "transient failure",
    "Permanent": "permanent failure",
    "DeadDestination": "the address is gone",
    "ChannelFault": "fault of the channel",
    "Ambiguous": "perhaps sent",
}

_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def class_in_words(name: str) -> str:
    """Return the name of a class as words: ``circuit breaker`` for ``CircuitBreakerActor``."""
    return _HUMPS.sub(" ", name.lstrip("_")).lower().removesuffix(" actor")


def what_happened(event: RecordedEvent) -> str:
    """Return the content of an event in a few words."""
    match event:
        case NotificationRequested():
            return "Accepted"
        case NotificationSent():
            return f"Sent with attempt {event.attempt}"
        case NotificationFailed():
            which = f"Attempt {event.attempt}" if event.attempt else "An attempt that does not count"
            is_last = event.endpoint is not None and event.endpoint.state is EndpointState.DISABLED
            return f"{which} failed: {event.reason}" + ("; its endpoint is disabled" if is_last else "")
        case NotificationDeferred():
            return f"Waits for {WAITS_FOR[event.cause]}"
        case NotificationMovedToDeadLetter():
            return f"Dead-lettered: {event.reason}"
        case NotificationSuppressed():
            return f"Suppressed: {event.reason}"
        case NotificationRedriven():
            return f"Retried by {event.by or ('the queue itself' if event.without_operator else 'an unknown operator')}"
        case DeadLetterDiscarded():
            return f"Discarded by {event.by or 'the queue itself'}"
        case DuplicateIgnored():
            payload = "another payload: a conflict" if event.conflict else "the same payload"
            return f"Came again with {payload}; ignored"
        case UpstreamRequested():
            asked = "of the provider to its upstream"
            if event.layer > 1:
                asked = f"to layer {event.layer} behind the provider"
            return f"Request {event.number} {asked}, for attempt {event.attempt}"
        case BreakerTransitioned():
            host = "" if event.host is None else f" of {event.host or 'no host'}"
            return f"Breaker {event.breaker}{host}: {event.from_state} to {event.to_state} ({event.cause})"
        case ActorFailed():
            then = {"restart": "it is restarted", "stop": "it is stopped"}.get(event.decision, "its supervisor decides")
            at = "" if event.node is None else f" of node {event.node}"
            return f"The {class_in_words(event.actor)}{at} crashed ({event.error}): {then}"
        case OwnActorMessage():
            about = "" if event.notification_id is None else f" about {event.notification_id}"
            did = f"sends {event.notification_id}" if event.is_sent else f"gets {event.message}{about}"
            return f"The actor {event.actor} {did}"
        case NodeTookOver():
            count = len(event.notification_ids)
            return f"Node {event.node} takes over {count:,} notification{'s'[: count != 1]} from node {event.from_node}"
        case _:
            return type(event).__name__
