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
from actors.faults.provider import NotificationService as NotificationService, SimulatedProvider as SimulatedProvider
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
    ChannelKind as ChannelKind,
    ChannelName as ChannelName,
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
from actors.pipeline.own_actors import OwnActor as OwnActor
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
from actors.settings.quantities import PositiveDuration as PositiveDuration, PositiveWholeNumber as PositiveWholeNumber
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
