"""When the attempts of a call are made, by its retry policy alone: as numbers, in words and as a sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from random import Random
from statistics import median

from actors.formatting import counted
from actors.instants import NS_PER_S, wait_ns
from actors.policies.retry.backoff import Backoff
from actors.settings.channel import ChannelConfig
from actors.settings.distribution_moments import limited_mean
from actors.settings.retry import RetryConfig
from simulation.reporting.retry_waits import DRAWS, Fixed, envelope, policy_text
from simulation.results.formatting import duration_text
from simulation.sheets import Column, Kind, Row, Sheet

# ── sentences with evidence ───────────────────────────────────────────────────────────────────────────────────────────


class By(StrEnum):
    FORMULA = "formula"
    """By a closed form, or by the policy itself where nothing is left to chance."""

    DRAWS = "draws"
    """By schedules that were drawn with the policy's jitter."""

    RUN = "run"
    """By a small run of the simulation."""


LEGEND = "≈ by drawn schedules   * by a run with seed 0   all else by closed form"


def marked(number: str, by: By) -> str:
    return {By.FORMULA: number, By.DRAWS: f"≈{number}", By.RUN: f"{number} *"}[by]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a time lies that jitter spreads, in seconds."""

    shortest: float

    median: float | None
    """None where none was drawn."""

    longest: float

    @property
    def is_certain(self) -> bool:
        """Whether there is nothing that spreads it."""
        return self.shortest == self.longest

    @property
    def text(self) -> str:
        """Where it lies: ``3 s``, or ``0 s to 3 s``."""
        shortest, longest = duration_text(self.shortest), duration_text(self.longest)
        return shortest if shortest == longest else f"{shortest} to {longest}"


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    """Each number in it has the mark of how it was found."""

    by: By = By.FORMULA


SHOWN = 10
"""Attempts of a schedule that are listed one by one; the last one follows."""

_DRAWN_WAITS_MAX = 400_000
FOLLOWED_MAX = 1000
"""A schedule is followed as far as this attempt."""

_OF_A_CALL_MAX = 100_000
"""A call that an outage meets is followed as far as this attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call whose earlier attempts all failed at once."""

    number: int

    wait: Reach | None
    """The wait before it; None before the first."""

    start: Reach
    """When it starts, in seconds from the first."""

    is_certain: bool = True
    """False: `max_elapsed` may come first."""


@dataclass(frozen=True, slots=True)
class Schedule:
    failures: str
    """The failures that count by it: ``any``, or a kind or a reason with a rule of its own."""

    policy: str

    attempts: tuple[Attempt, ...]
    """The first ones, :data:`SHOWN` unless others were asked for, and the last one."""

    max_attempts: float
    """Infinite where they are unlimited."""

    mean_attempts: float
    """The average number of attempts of a call that never succeeds; less than `max_attempts` if `max_elapsed` comes
    first."""

    drawn: int
    """How many schedules were drawn for the medians of its starts; 0 without jitter."""

    @property
    def is_cut(self) -> bool:
        """Whether more attempts may follow the last one here."""
        return self.last.number == FOLLOWED_MAX < self.max_attempts

    @property
    def last(self) -> Attempt:
        """The last attempt there can be, or that is followed."""
        return self.attempts[-1]


def retries_of(config: ChannelConfig) -> RetryConfig:
    """Return the retries of a channel, with its deadline as their time limit: both run from the first attempt here."""
    retry = config.retry
    return retry if config.deadline is None else retry.model_copy(update={"max_elapsed": config.deadline})


def schedules(config: RetryConfig, seed: int = 0, shown: int = SHOWN) -> tuple[Schedule, ...]:
    """Return the schedule of a policy, and one for each kind of failure or reason with a rule of its own."""
    rules = {"any": config} | {name: rule for (_, name), rule in config.rules().items()}
    return tuple(_schedule(name, rule, seed, shown) for name, rule in rules.items())


def drawn_starts(config: RetryConfig, takes_s: float = 0.0, seed: int = 0, until_s: float = 0.0) -> list[list[float]]:
    """Return the starts of attempts in seconds from the first, a row for each of many calls that never succeed.

    Without jitter there is one row. An attempt that is not made, for `max_elapsed` comes first, starts at infinity.
    Attempts beyond :data:`FOLLOWED_MAX` are there as far as they start before `until_s`, with one more.

    Args:
        config: the policy.
        takes_s: how long an attempt takes.
        seed: of the draws.
        until_s: as far as a row goes at least.
    """
    retries = int(min(config.attempts_bound, FOLLOWED_MAX)) - 1
    rows = 1 if config.jitter == "none" else max(1, min(DRAWS, _DRAWN_WAITS_MAX // max(1, retries)))
    policy = Backoff(config, Random(seed))
    takes_ns = wait_ns(takes_s)
    end_ns = math.inf if config.max_elapsed is None else wait_ns(config.max_elapsed)
    is_checked_late = config.max_elapsed_checked == "after_failure"
    starts = []
    drawn = 0
    for _ in range(rows):
        if drawn > 2 * _DRAWN_WAITS_MAX:
            break
        row = [0.0]
        memory_ns: int | None = None
        at_ns = 0
        for number in range(1, int(min(config.attempts_bound, _OF_A_CALL_MAX))):
            if number > retries and row[-1] >= until_s:
                break
            delay_ns, memory_ns = policy.next_wait(number, memory_ns)
            at_ns += takes_ns + delay_ns
            looked_at_ns = at_ns - delay_ns if is_checked_late else at_ns
            if looked_at_ns >= end_ns:
                row += [math.inf] * (1 + retries - number)
                break
            row.append(at_ns / NS_PER_S)
        starts.append(row)
        drawn += len(row)
    return starts


def _schedule(failures: str, config: RetryConfig, seed: int, shown: int) -> Schedule:
    count = int(min(config.attempts_bound, FOLLOWED_MAX))
    jittered = config.jitter != "none"
    earliest, latest = _reach_of_starts(config, count)
    drawn = drawn_starts(config, seed=seed)
    made = [[start for start in column if start < math.inf] for column in zip(*drawn, strict=True)]
    if config.jitter == "soft":  # where a wait is cut off, a higher draw may bring the next start forward
        earliest = [min([at, *column]) for at, column in zip(earliest, made, strict=True)]
        latest = [max([at, *column]) for at, column in zip(latest, made, strict=True)]
    attempts = [Attempt(1, None, Reach(0.0, 0.0, 0.0))]
    waits = list(zip(*envelope(config, count - 1, seed)[:3], strict=True)) if count > 1 else []
    for number, wait in enumerate(waits, 2):
        is_checked_late = config.max_elapsed_checked == "after_failure"
        looked_at = number - 2 if is_checked_late else number - 1
        if config.max_elapsed is not None and earliest[looked_at] >= config.max_elapsed:
            break
        is_certain = config.max_elapsed is None or latest[looked_at] < config.max_elapsed
        latest_s = latest[number - 1] if is_certain or is_checked_late else config.max_elapsed or 0.0
        middle = median(made[number - 1]) if made[number - 1] else None
        attempts.append(Attempt(number, Reach(*wait), Reach(earliest[number - 1], middle, latest_s), is_certain))
    listed = attempts if len(attempts) <= shown + 1 else [*attempts[:shown], attempts[-1]]
    return Schedule(
        failures,
        policy_text(config),
        tuple(listed),
        config.attempts_bound,
        sum(map(len, made)) / len(drawn),
        len(drawn) if jittered else 0,
    )


def _reach_of_starts(config: RetryConfig, count: int) -> tuple[list[float], list[float]]:
    """Return the earliest and the latest start of each attempt: every wait rises with its draw, and with the wait
    before it, so these are the starts where each draw is the lowest, and where each is the highest."""
    ends = []
    for share in (0.0, 1.0):
        policy = Backoff(config, Fixed(share))
        memory_ns: int | None = None
        waits = []
        for number in range(1, count):
            delay_ns, memory_ns = policy.next_wait(number, memory_ns)
            waits.append(delay_ns)
        ends.append([at_ns / NS_PER_S for at_ns in accumulate(waits, initial=0)])
    return ends[0], ends[1]


def schedule_in_words(schedule: Schedule, retry: RetryConfig, timeout: float | None) -> tuple[Sentence, ...]:
    """Return when the attempts of a call are made, if all fail at once, and if all hang until their timeout."""
    last = schedule.last
    if schedule.max_attempts == 1:
        return (Sentence("One attempt, at once; nothing is retried."),)
    by = By.DRAWS if schedule.drawn else By.FORMULA
    if retry.max_elapsed is not None:
        count = marked(counted(schedule.mean_attempts, "attempt"), by)
        if schedule.is_cut:
            count = f"at least {count}"
        elif schedule.max_attempts < math.inf:
            count = f"{count} of at most {schedule.max_attempts:,}"
        follows = "starts" if retry.max_elapsed_checked == "before_wait" else "follows a failure"
        until = duration_text(retry.max_elapsed)
        text = f"no retry {follows} {until} after it or later: {count} where all fail at once"
        return (Sentence(f"The first attempt is made at once, and {text}.", by),)
    start = last.start
    typical = ""
    if not start.is_certain and start.median is not None:
        typical = f", in half of all calls by {marked(duration_text(start.median), By.DRAWS)}"
    which, it = f"the last, attempt {last.number:,},", "the last"
    if schedule.is_cut:
        it = f"attempt {last.number:,}"
        of = "" if schedule.max_attempts == math.inf else f" of up to {schedule.max_attempts:,}"
        which = f"{it}{of}, as far as they are followed here,"
    text = f"The first attempt is made at once; {which} starts {start.text} after it{typical}."
    said = Sentence(text, by if typical else By.FORMULA)
    if timeout is None:
        return (said,)
    hung = duration_text(start.longest + (last.number - 1) * timeout)
    text = f"If every attempt hangs until its timeout of {duration_text(timeout)}, {it} starts up to {hung} after."
    return said, Sentence(text)


def limits_in_words(config: ChannelConfig) -> list[Sentence]:
    """Return the timeout of attempts, the retried failures, and the limits in time, where the settings have them."""
    found = []
    latency = config.provider.latency
    if takes_s := limited_mean(latency, config.timeout):
        mean = "" if latency.constant is not None else " on average, by which the formulas go"
        found.append(f"The table leaves out what attempts take, {duration_text(takes_s)} each{mean}.")
    if "on" in config.retry.model_fields_set:
        found.append(f"Tried again is what ends as {', '.join(config.retry.on)}; any other failure is final.")
    if config.retry.after_retry_after != "only_it":
        whose = "of its host" if config.retry.after_retry_after == "host" else "from this channel to that provider"
        longest = duration_text(config.retry.retry_after_max)
        found.append(
            f"After a throttled answer with a Retry-After all else {whose} waits until then, at most {longest}."
        )
    if config.retry.holds_slot:
        found.append(
            f"A notification holds one of {config.slots} slots from its first attempt to its end, also while it waits."
        )
    limits = {"rate_limit": config.rate_limit, "quota": config.quota}
    if dropping := [key for key, limit in limits.items() if limit is not None and limit.on_limit == "drop"]:
        found.append(f"What is over the {' or the '.join(dropping)} is dropped, outage or not.")
    if config.deadline is not None:
        found.append(f"An attempt that is under way {duration_text(config.deadline)} after the first began is cut.")
    return [Sentence(text) for text in found]


def schedule_sheet(schedule: Schedule) -> Sheet:
    failures = "" if schedule.failures == "any" else f" after {schedule.failures} failures"
    rows = []
    before = 0
    for attempt in schedule.attempts:
        if attempt.number > before + 1:
            rows.append(Row(("…", "", "", "")))
        before = attempt.number
        start = attempt.start
        by = By.FORMULA if start.is_certain else By.DRAWS
        rows.append(
            Row(
                (
                    f"{attempt.number}{'' if attempt.is_certain else ' ?'}",
                    None if attempt.wait is None else attempt.wait.text,
                    start.text,
                    None if start.median is None else marked(duration_text(start.median), by),
                )
            )
        )
    most = "unlimited attempts" if schedule.max_attempts == math.inf else counted(schedule.max_attempts, "attempt")
    title = f"Attempts{failures}: {schedule.policy}, {most}"
    columns = [Column(each, Kind.DURATION) for each in ("wait before it", "starts after the first", "half by")]
    is_certain = all(each.is_certain for each in schedule.attempts)
    notes = [] if is_certain else ["? only where the time limit has not come first"]
    notes += [f"Attempts after number {FOLLOWED_MAX:,} are not followed."] if schedule.is_cut else []
    if schedule.last.number < schedule.max_attempts and not schedule.is_cut:
        notes.append(f"A time limit ends it: there is no attempt after number {schedule.last.number:,}.")
    return Sheet(title, [Column("attempt"), *columns], rows, notes)
