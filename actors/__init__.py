"""The failure handling of a notification service, as actors that exchange messages.

Everything a service needs is importable from here; what is not used is not imported.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

_HOME_OF = {
    name: module
    for module, names in {
        "actors.kernel.actor": "Actor ActorRef STOP_ON_FAILURE Supervision handles",
        "actors.settings.channel": "ChannelConfig CircuitBreakerConfig NotifierConfig ProviderConfig "
        "RateLimitConfig RetryConfig",
        "actors.settings.distributions": "Distribution",
        "actors.kernel.effects": "Foreseen Performed Promise",
        "actors.errors": "ConfigurationError IdempotencyConflict InvariantBreach NotifierClosed Overtaken "
        "PermanentError RetrylabError ServiceUnavailable StoreError StoreFailed StoreInUse TemplateError "
        "TransientError UnknownChannel Unstorable WrongType",
        "actors.settings.faults": "FaultConfig",
        "actors.kernel.live": "LiveSystem",
        "actors.kernel.mailbox": "Mailbox",
        "actors.messages": "BreakerTransitioned DeadLetterMessage NotificationChannel NotificationDeferred "
        "NotificationFailed NotificationMovedToDeadLetter NotificationRequested NotificationSent "
        "NotificationSuppressed OrderPlaced OrderShipped PaymentReceived SendNotification UserRegistered",
        "actors.notifier": "Notifier Pipeline",
        "actors.outcomes": "Ambiguous ChannelFault DeadDestination Outcome Permanent Sent Transient",
        "actors.domain.attempts": "Attempt Provider",
        "actors.pipeline.circuit_breaker": "OperateBreaker",
        "actors.pipeline.dead_letter_queue": "DiscardDeadLetter ListDeadLetters RedriveDeadLetter",
        "actors.pipeline.preferences": "Preferences",
        "actors.pipeline.templates": "Template Templates",
        "actors.faults.queue": "Load",
        "actors.standalone": "CircuitBreaker RateLimiter",
        "actors.storage.lossy": "LossyStore",
        "actors.storage.memory": "MemoryStore",
        "actors.storage.sqlite.store": "SqliteStore",
        "actors.kernel.supervision": "Restarted Terminated",
        "actors.kernel.system": "ActorSystem",
        "actors.faults.provider": "FailureRule NotificationService",
    }.items()
    for name in names.split()
}

__all__ = sorted(_HOME_OF)

# A library stays silent until its user sets up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
