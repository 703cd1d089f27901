"""The failure handling of a notification service, as actors that exchange messages.

Everything a service needs is importable from here, and what is not used is not imported. These names are the public
ones; deeper paths are private and may change with any release.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.domain.attempts import Attempt as Attempt, Provider as Provider
    from actors.domain.notification_state import NotificationState as NotificationState
    from actors.errors import (
        BulkheadFull as BulkheadFull,
        ConfigurationError as ConfigurationError,
        IdempotencyConflict as IdempotencyConflict,
        InvalidRecipient as InvalidRecipient,
        InvariantBreach as InvariantBreach,
        LetterServed as LetterServed,
        NotifierClosed as NotifierClosed,
        Overloaded as Overloaded,
        Overtaken as Overtaken,
        PermanentError as PermanentError,
        RateLimited as RateLimited,
        RetrylabError as RetrylabError,
        RunCancelled as RunCancelled,
        RunTooLarge as RunTooLarge,
        ServiceUnavailable as ServiceUnavailable,
        StoreBusy as StoreBusy,
        StoreError as StoreError,
        StoreFailed as StoreFailed,
        StoreInUse as StoreInUse,
        TemplateError as TemplateError,
        TemplateRefused as TemplateRefused,
        TransientError as TransientError,
        UnknownChannel as UnknownChannel,
        Unstorable as Unstorable,
        WrongType as WrongType,
    )
    from actors.faults.provider import (
        NotificationService as NotificationService,
        SimulatedProvider as SimulatedProvider,
    )
    from actors.faults.queue import Load as Load
    from actors.faults.rules import FailureRule as FailureRule
    from actors.hosts.asyncio_notifier import AsyncioNotifier as AsyncioNotifier
    from actors.hosts.thread_notifier import ThreadNotifier as ThreadNotifier
    from actors.kernel.actor import (
        STOP_ON_FAILURE as STOP_ON_FAILURE,
        Actor as Actor,
        ActorRef as ActorRef,
        Supervision as Supervision,
        handles as handles,
    )
    from actors.kernel.effects import Foreseen as Foreseen, Performed as Performed, Promise as Promise
    from actors.kernel.live import LiveSystem as LiveSystem
    from actors.kernel.mailbox import Mailbox as Mailbox
    from actors.kernel.supervision import Restarted as Restarted, Terminated as Terminated
    from actors.kernel.system import ActorSystem as ActorSystem
    from actors.messages import (
        BreakerState as BreakerState,
        BreakerTransitioned as BreakerTransitioned,
        DeadLetterMessage as DeadLetterMessage,
        NotificationChannel as NotificationChannel,
        NotificationDeferred as NotificationDeferred,
        NotificationFailed as NotificationFailed,
        NotificationMovedToDeadLetter as NotificationMovedToDeadLetter,
        NotificationRequested as NotificationRequested,
        NotificationSent as NotificationSent,
        NotificationSuppressed as NotificationSuppressed,
        OrderPlaced as OrderPlaced,
        OrderShipped as OrderShipped,
        PaymentReceived as PaymentReceived,
        Priority as Priority,
        SendNotification as SendNotification,
        UserRegistered as UserRegistered,
    )
    from actors.notifier import Notifier as Notifier, Pipeline as Pipeline
    from actors.outcomes import (
        Ambiguous as Ambiguous,
        ChannelFault as ChannelFault,
        DeadDestination as DeadDestination,
        Outcome as Outcome,
        Permanent as Permanent,
        Sent as Sent,
        Transient as Transient,
    )
    from actors.pipeline.circuit_breaker import OperateBreaker as OperateBreaker
    from actors.pipeline.dead_letter_queue import (
        DiscardDeadLetter as DiscardDeadLetter,
        ListDeadLetters as ListDeadLetters,
        RedriveDeadLetter as RedriveDeadLetter,
    )
    from actors.pipeline.preferences import Preferences as Preferences
    from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS as BUILT_IN_SUBSCRIBERS
    from actors.pipeline.templates import Template as Template, Templates as Templates
    from actors.policies.breaker.breaker import Breaker as Breaker
    from actors.policies.breaker.states import TRANSITIONS as TRANSITIONS
    from actors.policies.rate_limit.limiter import make_limiter as make_limiter
    from actors.policies.retry.backoff import Backoff as Backoff
    from actors.service.observability.metrics import Metrics as Metrics
    from actors.service.operations.dead_letters import DeadLetters as DeadLetters
    from actors.service.operations.queries import Filter as Filter
    from actors.service.reloading.live_settings import LiveSettings as LiveSettings
    from actors.settings.channel import (
        ChannelConfig as ChannelConfig,
        CircuitBreakerConfig as CircuitBreakerConfig,
        NotifierConfig as NotifierConfig,
        ProviderConfig as ProviderConfig,
        RateLimitConfig as RateLimitConfig,
        RetryConfig as RetryConfig,
    )
    from actors.settings.distributions import Distribution as Distribution
    from actors.settings.faults import FaultConfig as FaultConfig
    from actors.standalone.bulkhead import Bulkhead as Bulkhead
    from actors.standalone.circuit_breaker import CircuitBreaker as CircuitBreaker
    from actors.standalone.rate_limiter import RateLimiter as RateLimiter
    from actors.standalone.retry import Retry as Retry
    from actors.storage.lossy import LossyStore as LossyStore
    from actors.storage.memory import MemoryStore as MemoryStore
    from actors.storage.postgres.store import PostgresStore as PostgresStore
    from actors.storage.sqlite.store import SqliteStore as SqliteStore
    from actors.transports.email import EmailProvider as EmailProvider
    from actors.transports.push import PushProvider as PushProvider
    from actors.transports.sms import SmsProvider as SmsProvider
    from actors.transports.webhook import WebhookProvider as WebhookProvider
    from actors.transports.webpush import WebPushProvider as WebPushProvider

_HOME_OF = {
    name: module
    for module, names in {
        "actors.domain.attempts": "Attempt Provider",
        "actors.domain.notification_state": "NotificationState",
        "actors.errors": "BulkheadFull ConfigurationError IdempotencyConflict InvalidRecipient InvariantBreach "
        "LetterServed NotifierClosed "
        "Overloaded Overtaken PermanentError RateLimited RetrylabError RunCancelled RunTooLarge ServiceUnavailable "
        "StoreBusy StoreError StoreFailed StoreInUse TemplateError TemplateRefused TransientError UnknownChannel "
        "Unstorable WrongType",
        "actors.faults.provider": "NotificationService SimulatedProvider",
        "actors.faults.queue": "Load",
        "actors.faults.rules": "FailureRule",
        "actors.hosts.asyncio_notifier": "AsyncioNotifier",
        "actors.hosts.thread_notifier": "ThreadNotifier",
        "actors.kernel.actor": "Actor ActorRef STOP_ON_FAILURE Supervision handles",
        "actors.kernel.effects": "Foreseen Performed Promise",
        "actors.kernel.live": "LiveSystem",
        "actors.kernel.mailbox": "Mailbox",
        "actors.kernel.supervision": "Restarted Terminated",
        "actors.kernel.system": "ActorSystem",
        "actors.messages": "BreakerState BreakerTransitioned DeadLetterMessage NotificationChannel "
        "NotificationDeferred NotificationFailed NotificationMovedToDeadLetter "
        "NotificationRequested NotificationSent NotificationSuppressed "
        "OrderPlaced OrderShipped PaymentReceived Priority SendNotification UserRegistered",
        "actors.notifier": "Notifier Pipeline",
        "actors.outcomes": "Ambiguous ChannelFault DeadDestination Outcome Permanent Sent Transient",
        "actors.pipeline.circuit_breaker": "OperateBreaker",
        "actors.pipeline.dead_letter_queue": "DiscardDeadLetter ListDeadLetters RedriveDeadLetter",
        "actors.pipeline.preferences": "Preferences",
        "actors.pipeline.subscribers": "BUILT_IN_SUBSCRIBERS",
        "actors.pipeline.templates": "Template Templates",
        "actors.policies.breaker.breaker": "Breaker",
        "actors.policies.breaker.states": "TRANSITIONS",
        "actors.policies.rate_limit.limiter": "make_limiter",
        "actors.policies.retry.backoff": "Backoff",
        "actors.service.observability.metrics": "Metrics",
        "actors.service.operations.dead_letters": "DeadLetters",
        "actors.service.operations.queries": "Filter",
        "actors.service.reloading.live_settings": "LiveSettings",
        "actors.settings.channel": "ChannelConfig CircuitBreakerConfig NotifierConfig ProviderConfig "
        "RateLimitConfig RetryConfig",
        "actors.settings.distributions": "Distribution",
        "actors.settings.faults": "FaultConfig",
        "actors.standalone.bulkhead": "Bulkhead",
        "actors.standalone.circuit_breaker": "CircuitBreaker",
        "actors.standalone.rate_limiter": "RateLimiter",
        "actors.standalone.retry": "Retry",
        "actors.storage.lossy": "LossyStore",
        "actors.storage.memory": "MemoryStore",
        "actors.storage.postgres.store": "PostgresStore",
        "actors.storage.sqlite.store": "SqliteStore",
        "actors.transports.email": "EmailProvider",
        "actors.transports.push": "PushProvider",
        "actors.transports.sms": "SmsProvider",
        "actors.transports.webhook": "WebhookProvider",
        "actors.transports.webpush": "WebPushProvider",
    }.items()
    for name in names.split()
}
"""The module of each public name. The imports above say the same to type checkers; a test holds both equal."""

__all__ = sorted(_HOME_OF)

# A library stays silent until its user sets up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
