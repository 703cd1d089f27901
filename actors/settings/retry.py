"""Settings of retries: when to try again after a failed attempt, and how many retries a channel may make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import Field, StrictBool, TypeAdapter, ValidationInfo, WrapValidator, model_validator

from actors.settings.base import NotEmpty, OneOf, Settings, at_places, by_kind
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveRate,
    PositiveShare,
    PositiveWholeNumber,
    Rate,
    Share,
    Text,
    WholeNumber,
    number,
    wanted,
    whole_number,
)

Attempts: TypeAlias = Annotated[int | Literal["unlimited"], whole_number(1, or_word="unlimited")]
"""How many attempts, at least 1."""


class OutcomeRetryConfig(Settings):
    """Other settings for attempts that ended in one particular way; a key left out is as in the settings around."""

    wanted_text: ClassVar[str] = "a mapping such as {max_attempts: 10, initial_delay: 30s}"

    max_attempts: Attempts | None = None
    """How many attempts may end so, or `unlimited`; 1 means no retry after such an attempt. They are counted on their
    own: they use up none of the `max_attempts` around, and other failures use up none of these."""

    initial_delay: Duration | None = None
    """The wait after the first such attempt; replaces a `schedule` around."""

    max_delay: Duration | None = None
    """No wait after such an attempt is longer than this."""

    schedule: Annotated[tuple[Duration, ...], NotEmpty()] | None = None
    """The waits after them one by one; `max_attempts` then defaults to its length + 1."""


class PerOutcomeConfig(Settings):
    """Own retry settings for some of the ways in which an attempt can fail."""

    transient: OutcomeRetryConfig | None = None
    """An attempt has failed, and another may succeed; throttled ones excluded."""

    throttled: OutcomeRetryConfig | None = None
    """The provider is healthy and says that we send too fast."""

    ambiguous: OutcomeRetryConfig | None = None
    """Perhaps sent: the reply was lost, or did not come in time. Where a duplicate hurts, `max_attempts: 1`."""

    shares_attempts: StrictBool = False
    """Each kind has only waits of its own: all attempts together count as one, which `max_attempts` around bounds."""


class GrpcBudgetConfig(Settings):
    """gRPC's retry throttling: failures take tokens, successes give some; retries only while over half are left."""

    kind: Literal["grpc"]
    """Count as gRPC."""

    max_tokens: Annotated[float, number(0.001)] = 10.0
    """How many tokens there are at most, and to begin with; counted in thousandths."""

    token_ratio: Annotated[float, number(0.001)] = 0.1
    """Tokens that a success gives; a failure takes one, and so does each send of a hedged attempt when it fails."""


class EnvoyBudgetConfig(Settings):
    """Envoy's retry budget: at any time, retries are at most a share of the attempts under way, or a small number."""

    kind: Literal["envoy"]
    """Count as Envoy."""

    share: Share = 0.2
    """A share of the attempts in flight, including those that wait for a limiter or a slot."""

    min_concurrency: WholeNumber = 3
    """How many retries at once are always allowed."""

    inclusive: StrictBool = False
    """Allow one more while the share is met exactly (as failsafe-go)."""


class FinagleBudgetConfig(Settings):
    """Finagle's retry budget: a share of the first attempts of the last while, and a small rate in any case."""

    kind: Literal["finagle"]
    """Count as Finagle."""

    share: Share = 0.2
    """Retries for each first attempt."""

    min_rate: PositiveRate | None = Rate(10.0, 1.0)
    """Further retries that are always allowed, at the start those of a whole `ttl`; null allows none."""

    ttl: PositiveDuration = 10.0
    """How long a first attempt, or a retry, is remembered."""


class ShareBudgetConfig(FinagleBudgetConfig):
    """Retries as a share of the recent first attempts, counted as by Finagle, plus a very low minimum rate."""

    wanted_text: ClassVar[str] = "a mapping such as {share: 20%}"

    kind: Literal["share"] = "share"  # type: ignore[assignment]
    """Allow a share of the first attempts."""

    min_rate: PositiveRate | None = Rate(0.1, 1.0)
    """Further retries that are always allowed, at the start those of a whole `ttl`; null allows none. Finagle's 10/s
    would be no bound where 8 notifications arrive a second."""


class AwsBudgetConfig(Settings):
    """The retry quota of the AWS SDKs: retries cost, a retry that succeeds gets its cost back."""

    kind: Literal["aws"]
    """Count as the AWS SDKs."""

    capacity: PositiveWholeNumber = 500
    """The tokens at the start, and at most."""

    retry_cost: PositiveWholeNumber = 14
    """Tokens for a retry."""

    throttled_cost: PositiveWholeNumber = 5
    """Tokens for a retry after throttling."""

    timeout_cost: PositiveWholeNumber | None = None
    """Tokens for a retry after an ambiguous attempt (legacy mode charges 10, and 5 otherwise). None: `retry_cost`."""


class TokenBudgetConfig(Settings):
    """A bucket of tokens: a first attempt puts a part of one in, a retry takes one out."""

    kind: Literal["token_bucket"]
    """Count tokens."""

    share: Share = 0.1
    """The part of a token that each first attempt gives."""

    capacity: PositiveWholeNumber = 10
    """How many tokens there are at most, and to begin with."""

    inclusive: StrictBool = True
    """Allow the retry that takes all there is. False: only while there is more than one token."""


BudgetConfig: TypeAlias = (
    ShareBudgetConfig | GrpcBudgetConfig | EnvoyBudgetConfig | FinagleBudgetConfig | AwsBudgetConfig | TokenBudgetConfig
)

_BUDGETS: dict[str, type[Settings]] = {
    "share": ShareBudgetConfig,
    "finagle": FinagleBudgetConfig,
    "grpc": GrpcBudgetConfig,
    "envoy": EnvoyBudgetConfig,
    "aws": AwsBudgetConfig,
    "token_bucket": TokenBudgetConfig,
}


class ExponentialConfig(Settings):
    """Waits that grow by a factor, plus a constant."""

    wanted_text: ClassVar[str] = "a mapping such as {plus: 15s}"

    plus: Duration = 0.0
    """Added to each wait: 15s is Oban's, with an `initial_delay` of 2s."""


class PolynomialConfig(Settings):
    """Waits that grow as a power of the attempts before them."""

    wanted_text: ClassVar[str] = "a mapping such as {power: 4, plus: 15s}"

    power: Annotated[float, number(0)]
    """The p of (n - 1)^p times the `initial_delay`, which is the wait after the n-th attempt."""

    plus: Duration = 0.0
    """Added to each wait."""


class BackoffConfig(OneOf):
    """A formula with numbers of its own."""

    wanted_text: ClassVar[str] = "a mapping such as {polynomial: {power: 4, plus: 15s}}"

    exponential: ExponentialConfig | None = None
    """As the word `exponential`, with `plus` added to each wait."""

    polynomial: PolynomialConfig | None = None
    """As Sidekiq's waits."""


RetriedKind: TypeAlias = Literal["transient", "throttled", "timeout", "lost_reply", "connection"]

_KINDS_OF_RULES: Mapping[str, tuple[str, ...]] = {
    "transient": ("transient", "connection"),
    "throttled": ("throttled",),
    "ambiguous": ("timeout", "lost_reply"),
}
"""The words of `on`, by the outcome of a rule of `per_outcome`."""


_Growth: TypeAlias = Literal["exponential", "constant", "linear", "fibonacci"]
_A_WORD = TypeAdapter[Any](_Growth)


def _growth(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    """Read a mapping with none of the keys of a formula as a word that is none: it may be another library's."""
    is_formula = isinstance(value, dict) and value.keys() & BackoffConfig.model_fields.keys()
    if is_formula or isinstance(value, BackoffConfig):
        return BackoffConfig.model_validate(value, context=info.context)
    return _A_WORD.validate_python(value)


class RetryConfig(Settings):
    """When to try again after a failed attempt, and when to stop."""

    wanted_text: ClassVar[str] = "a mapping such as {max_attempts: 3, initial_delay: 1s}"

    _choices: ClassVar[Mapping[str, str]] = {
        "backoff": "exponential, constant, linear, fibonacci, {polynomial: {power: 4, plus: 15s}}",
        "jitter": "none, full (0 to w, the wait), equal (w/2 to w), decorrelated (initial_delay to jitter_factor times "
        "the wait before), proportional (w ± jitter_share), additive (w + up to jitter_max), by_count "
        "(w + up to jitter_max times the number of attempts), soft (Polly's)",
    }

    max_attempts: Attempts = 3
    """All attempts, the first included, except those that `per_outcome` and `per_reason` count on their own.
    `unlimited`: only `max_elapsed`, the channel's `deadline`, expiry or a failure for good ends a notification. Then
    the first 20 and the last 80 failed attempts are kept, and no wait is shorter than 1ms."""

    max_elapsed: PositiveDuration | None = None
    """No retry starts this long after the notification was accepted or redriven, or later. None: whenever its turn
    comes."""

    max_elapsed_checked: Literal["before_wait", "after_failure"] = "before_wait"
    """When `max_elapsed` is looked at: as a retry is planned, by when it would start, or as an attempt fails, by then:
    one more attempt may start later then, as in tenacity, stamina and node-retry."""

    initial_delay: Duration = 1.0
    """The wait after the first failure."""

    backoff_multiplier: Annotated[float, number(1)] = 2.0
    """Exponential only: how many times the wait before it each wait is."""

    max_delay: Duration = 60.0
    """No wait is longer than this, jitter included; does not apply to a `schedule`, and to a `polynomial` backoff only
    where it is given."""

    min_delay: Duration = 0.0
    """No wait is shorter than this, jitter included; does not apply to a `schedule`."""

    backoff: Annotated[_Growth | BackoffConfig, WrapValidator(_growth)] = "exponential"
    """How the waits grow. `exponential`: each is `backoff_multiplier` times the one before. `constant`: all are the
    `initial_delay`. `linear`: each is `increment` longer. `fibonacci`: 1, 1, 2, 3, 5, … times the `initial_delay`.
    `{polynomial: {power: 4, plus: 15s}}`: (n - 1)^power times the `initial_delay` after the n-th attempt, and `plus`;
    `{exponential: {plus: 15s}}`."""

    increment: Duration | None = None
    """Linear only: how much longer each wait is than the one before. None: the `initial_delay`."""

    schedule: Annotated[tuple[Duration, ...], NotEmpty()] | None = None
    """The waits one by one, in place of a formula; `max_attempts` then defaults to its length + 1, and the last
    wait repeats when there are more attempts than that."""

    jitter: Literal["none", "full", "equal", "decorrelated", "proportional", "additive", "by_count", "soft"] = "none"
    """How a wait w is drawn. `none`: it is w. `full`: U(0, w). `equal`: U(w/2, w). `decorrelated`: from
    `initial_delay` to `jitter_factor` times the wait before. `proportional`: w · U(1 - x, 1 + x). `additive`:
    w + U(0, x). `by_count`: w + U(0, x · n) after the n-th attempt. `soft`: Polly's, smooth and without peaks."""

    jitter_share: PositiveShare = 0.2
    """The x of `proportional` jitter: the wait is multiplied by U(1 - x, 1 + x)."""

    jitter_side: Literal["both", "above"] = "both"
    """Proportional jitter only. `above`: the wait is multiplied by U(1, 1 + x)."""

    jitter_max: PositiveDuration = 1.0
    """The x of `additive` and `by_count` jitter: U(0, x), or of the latter U(0, x · n), is added to the wait."""

    jitter_factor: Annotated[float, number(1)] = 3.0
    """Decorrelated jitter only: how many times the wait before a wait may be at most."""

    cap_after_draw: StrictBool = False
    """Decorrelated jitter only: cap the draw, as AWS's first text does (waits then pile up at `max_delay`), and not
    the range that is drawn from."""

    cap_before_jitter: StrictBool = False
    """Proportional, additive and by_count jitter only: cap the wait and then add jitter, as gRPC does; it may then
    exceed `max_delay`."""

    retry_after: Literal["lower_bound", "pushback", "exactly", "ignore"] = "lower_bound"
    """How a provider's hint is used. `lower_bound`: no retry before it. `pushback`, as in gRPC: retry exactly then and
    restart the backoff; a hint that is negative or no number forbids the retry. `exactly`, as in Polly: retry exactly
    then, and the backoff goes on."""

    retry_after_jitter: Share = 0.0
    """Jitter on top of a hint, which is multiplied by U(1, 1 + x), so that callers with the same hint do not come back
    at the same time."""

    after_retry_after: Literal["only_it", "host", "channel"] = "only_it"
    """Which other attempts wait after a throttling answer with a hint, until the hint is over. `only_it`: none. `host`:
    attempts to the same host of recipients; each host then has a circuit breaker of its own. `channel`: all attempts of
    the channel at this provider; not where recipients choose the host, as for webhooks and Web Push. Other nodes know
    of the pause within two seconds. Waiting uses up no attempt, and a waiting notification may expire."""

    retry_after_max: PositiveDuration = 300.0
    """`after_retry_after: host` and `channel` only: how long the other attempts wait at most. The throttled
    notification waits as `retry_after` says."""

    retry_after_excess: Duration | None = 86400.0
    """A hint is cut to this much beyond the wait without it (5s in the AWS SDKs); with `pushback` or `exactly`, which
    replace that wait, to this much in all. A hint may be of years; null cuts none."""

    holds_slot: StrictBool = False
    """Whether a notification holds its slot of `max_in_flight`, and its tenant's, from the start of its first attempt
    to its end, as a retry in the worker's own process does (tenacity, Polly, a loop with sleep): while it waits for its
    retry, and before the provider for a rate or a breaker. Not in quiet hours. Who holds a slot goes before all that
    hold none, also as the probe of a breaker, and after a restart."""

    on: Annotated[tuple[RetriedKind, ...], NotEmpty()] = get_args(RetriedKind)
    """Which failures are tried again; all others are final, with their reason. `transient`: the provider failed.
    `throttled`: it says that we send too fast. `timeout`: no answer came within `timeout`. `lost_reply`: the connection
    broke before the answer. `connection`: there was none, so nothing was sent. A fault of the channel, and what our own
    breaker or bulkhead refuses, is always tried again."""

    per_outcome: PerOutcomeConfig = PerOutcomeConfig()
    """Own settings for some kinds of failure: retry these so often, those not at all."""

    per_reason: dict[Text, OutcomeRetryConfig] = Field(default_factory=dict)
    """Other settings by the exact text of the failure's reason; looked up before `per_outcome`."""

    budget: Annotated[BudgetConfig, by_kind(_BUDGETS, "share")] | None = None
    """How many retries the channel as a whole may make, and copies of hedged attempts. None: no bound."""

    @model_validator(mode="before")
    @classmethod
    def _attempts_follow_the_schedule(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if True in data and "on" not in data:  # as PyYAML reads the key `on`
            data = {"on" if key is True else key: value for key, value in data.items()}
        if isinstance(data.get("schedule"), (list, tuple)) and "max_attempts" not in data:
            return {**data, "max_attempts": len(data["schedule"]) + 1}
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if problem := self._problem():
            raise wanted(problem)
        problems = [
            (path, wanted(problem), rule.model_dump(exclude_unset=True))
            for path, rule in self._rules().items()
            if (problem := self._problem_of_rule(path, rule))
        ]
        if problems:
            raise at_places(problems)
        return self

    def _problem_of_rule(self, path: tuple[str, str], rule: OutcomeRetryConfig) -> str | None:
        group, kind = path
        if group == "per_outcome" and not set(words := _KINDS_OF_RULES[kind]) & set(self.on):
            return f"a rule only for what is tried again: {' or '.join(words)} in retry.on"
        if self._shares_attempts(path) and rule.max_attempts is not None:
            return "no max_attempts of its own beside shares_attempts: true"
        return self.with_rule(rule)._problem()

    def _problem(self) -> str | None:
        own_shape = self.jitter in ("decorrelated", "soft")
        if own_shape and (self.schedule is not None or self.growth == "polynomial"):
            shape = "schedule" if self.schedule is not None else "polynomial backoff"
            return f"no {shape} with jitter: {self.jitter}, which makes its own waits; try full, equal or proportional"
        if self.jitter == "soft" and (self.backoff, self.backoff_multiplier) != ("exponential", 2.0):
            return "backoff: exponential and backoff_multiplier: 2 with jitter: soft"
        if self.schedule is None and self.min_delay > self.longest_delay:
            return "min_delay of at most max_delay"
        if self.increment is not None and self.backoff != "linear":
            return "increment only with backoff: linear"
        if self.cap_after_draw and self.jitter != "decorrelated":
            return "cap_after_draw only with jitter: decorrelated"
        if self.cap_before_jitter and self.jitter not in ("proportional", "additive", "by_count"):
            return "cap_before_jitter only with jitter: proportional, additive or by_count"
        if self.max_elapsed_checked != "before_wait" and self.max_elapsed is None:
            return "max_elapsed_checked only with max_elapsed"
        if self.jitter_side != "both" and self.jitter != "proportional":
            return "jitter_side only with jitter: proportional"
        if self.after_retry_after != "only_it" and self.retry_after == "ignore":
            return "after_retry_after: only_it with retry_after: ignore, which heeds no hint"
        if self.after_retry_after == "only_it" and "retry_after_max" in self.model_fields_set:
            return "retry_after_max only with after_retry_after: host or channel"
        return None

    def with_rule(self, rule: OutcomeRetryConfig) -> RetryConfig:
        """Return the settings that hold for attempts under `rule`: its keys, and these where it leaves a key out."""
        changes: dict[str, Any] = {}
        if rule.schedule is not None:
            changes = {"schedule": rule.schedule, "max_attempts": len(rule.schedule) + 1}
        elif rule.initial_delay is not None:
            changes = {"schedule": None}
        for key in ("max_attempts", "initial_delay", "max_delay"):
            if (value := getattr(rule, key)) is not None:
                changes[key] = value
        return self.model_copy(update=changes)

    def _rules(self) -> dict[tuple[str, str], OutcomeRetryConfig]:
        kinds = {("per_outcome", kind): getattr(self.per_outcome, kind) for kind in _KINDS_OF_RULES}
        reasons = {("per_reason", reason): rule for reason, rule in self.per_reason.items()}
        return {path: rule for path, rule in (kinds | reasons).items() if rule is not None}

    def _shares_attempts(self, path: tuple[str, str]) -> bool:
        return self.per_outcome.shares_attempts and path[0] == "per_outcome"

    def rules(self) -> dict[tuple[str, str], RetryConfig]:
        """Return the settings of failures with a rule of their own, by its path: ``("per_outcome", "throttled")``."""
        found = {}
        for path, rule in self._rules().items():
            shared = {"max_attempts": self.max_attempts} if self._shares_attempts(path) else {}
            found[path] = self.with_rule(rule).model_copy(update=shared)
        return found

    @property
    def attempts_bound(self) -> float:
        """How many attempts may count under these settings: `max_attempts`, and infinite where it is `unlimited`."""
        return math.inf if self.max_attempts == "unlimited" else self.max_attempts

    @property
    def attempts_most(self) -> float:
        """The most attempts that a notification may have; each rule with a count of its own adds its attempts."""
        counted = [own for path, own in self.rules().items() if not self._shares_attempts(path)]
        return 1 + sum(own.attempts_bound - 1 for own in (self, *counted))

    @property
    def growth(self) -> str:
        """How the waits grow, in a word."""
        if isinstance(self.backoff, str):
            return self.backoff
        return "exponential" if self.backoff.polynomial is None else "polynomial"

    @property
    def longest_delay(self) -> float:
        """The bound of waits by the formula, in seconds; infinite where `max_delay` does not apply."""
        is_bounded = self.growth != "polynomial" or "max_delay" in self.model_fields_set
        return self.max_delay if self.schedule is None and is_bounded else math.inf

    def calculate_delay(self, attempt: int) -> float:
        """Return the wait in seconds after the `attempt`-th attempt failed, without jitter.

        Saturates at `max_delay` for any attempt, however large; a schedule repeats its last wait and knows no maximum
        and no minimum.

        Raises:
            ValueError: `attempt` is less than 1.
        """
        if attempt < 1:
            raise ValueError(f"wanted an attempt of at least 1, got {attempt!r}")
        if self.schedule is not None:
            return self.schedule[min(attempt, len(self.schedule)) - 1]
        return max(self.min_delay, _by_formula(self, attempt))


def _by_formula(config: RetryConfig, attempt: int) -> float:
    initial, longest = config.initial_delay, config.longest_delay
    attempt = min(attempt, 2**1000)  # a larger number is no float
    match config.backoff:
        case BackoffConfig(polynomial=PolynomialConfig() as grows):
            return min(_times_power(initial, attempt - 1, grows.power) + grows.plus, longest)
        case BackoffConfig(exponential=ExponentialConfig() as grows):
            return min(_times_power(initial, config.backoff_multiplier, attempt - 1) + grows.plus, longest)
        case "linear":
            increment = initial if config.increment is None else config.increment
            return min(initial + increment * (attempt - 1), longest)
        case "fibonacci":
            term, following = 1.0, 1.0
            for _ in range(attempt - 1 if initial else 0):
                if initial * term >= longest:
                    break
                term, following = following, term + following
            return min(initial * term, longest)
        case "exponential":
            return min(_times_power(initial, config.backoff_multiplier, attempt - 1), longest)
        case _:
            return min(initial, longest)


def _times_power(factor: float, base: float, exponent: float) -> float:
    try:
        # A power of floats: it costs the same for any exponent, and says so when it leaves their range.
        return factor * math.pow(base, exponent) if factor else 0.0
    except OverflowError:
        return math.inf
