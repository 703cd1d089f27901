"""Dead letters: each says why, and what had happened; and in the queue are those that are dead, and no others."""

from __future__ import annotations

from actors.domain.attempts import EXPIRED, RATE_LIMIT_EXCEEDED
from actors.domain.caution import REASON as ENDED_ITS_PROCESS
from actors.formatting import seconds_text
from actors.instants import utc, wait_ns
from actors.messages import (
    BreakerState,
    DeadLetterMessage,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    RecordedEvent,
)
from actors.outcomes import DeadDestination, Permanent
from actors.pipeline.dead_letter_queue import DeadLetterQueue
from actors.pipeline.readiness import ENDPOINT_DISABLED
from actors.pipeline.retries import BUDGET_SPENT, DEADLINE, RETRY_TIME_UP
from actors.settings.channel import RetryConfig
from simulation.verification.laws.attempts import used_up
from simulation.verification.laws.base import Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import Lifecycle, State, cut_ns
from simulation.verification.laws.liveness import longest_backoff, longest_hint
from simulation.verification.laws.meters import longest_window_ns
from simulation.verification.laws.observations import MessageSent
from simulation.verification.laws.steps import are_tried_again, is_spent

_FOR_GOOD = frozenset({Permanent.__name__, DeadDestination.__name__})


class Letters(Invariant):
    """A dead letter has the history of its notification: every failure, the first and the last, and how many attempts;
    and is one for the reason that it gives. The queue has a letter of each that is dead, and no other."""

    name = "dead-letters"
    receivers = frozenset({DeadLetterQueue})

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        letter = sent.message
        if sent.receiver is not DeadLetterQueue or type(letter) is not DeadLetterMessage:
            return None
        lifecycle = self.context.lifecycles.get(letter.notification_id)
        if lifecycle is None:
            return None
        text = self._reason(letter, lifecycle) or self._contents(letter, lifecycle)
        return None if text is None else Finding(f"the dead letter of {letter.notification_id} {text}", _id(letter))

    def at_end(self, now_ns: int) -> Objection:
        pipeline, lifecycles = self.context.pipeline(), self.context.lifecycles
        if pipeline is None or lifecycles.forgotten:
            return None
        if now_ns <= lifecycles.up_at_ns:
            return None  # some may lie in the mailbox of a queue that is down
        letters = {letter.notification_id: letter for letter in pipeline.dead_letters}
        dead = lifecycles.in_state(State.DEAD)
        known = letters.keys() | pipeline.wiring.redrives.taken | pipeline.wiring.discards.keys()
        for notification_id in dead:
            lifecycle = lifecycles.get(notification_id)
            if (
                notification_id in known
                or self._is_leaving(lifecycle, len(dead), now_ns)
                or self._is_news(lifecycle, now_ns)
            ):
                continue
            return Finding(f"{notification_id} is dead-lettered, and not in the dead letter queue", notification_id)
        for notification_id, letter in letters.items():
            lifecycle = lifecycles.get(notification_id)
            if self._is_news(lifecycle, now_ns):
                continue
            if lifecycle is None or lifecycle.state is not State.DEAD:
                state = State.UNKNOWN if lifecycle is None else lifecycle.state
                return Finding(f"{notification_id} is in the dead letter queue, and is {state}", notification_id)
            if (text := self._contents(letter, lifecycle)) is not None:
                return Finding(f"the dead letter of {notification_id} {text}", notification_id)
        return None

    def _is_news(self, lifecycle: Lifecycle | None, now_ns: int) -> bool:
        """Tell whether the node whose queue is looked at perhaps has not heard of a letter, or of its end."""
        late_ns = self.context.learnt_after_ns
        return late_ns > 0 and lifecycle is not None and lifecycle.state_since_ns + late_ns >= now_ns

    def _is_leaving(self, lifecycle: Lifecycle | None, count: int, now_ns: int) -> bool:
        """Tell whether one of so many letters is perhaps being discarded, which is not durable yet."""
        bounds = self.context.dead_letters
        is_full = bounds.at_most is not None and count > bounds.at_most
        died_ns = now_ns if lifecycle is None or self.context.steps_the_clock else lifecycle.state_since_ns
        is_over = bounds.keep is not None and (died_ns == now_ns or died_ns + wait_ns(bounds.keep) <= now_ns)
        return self.context.commit_latency_ns > 0 and (is_full or is_over)

    def _reason(self, letter: DeadLetterMessage, lifecycle: Lifecycle) -> str | None:
        config = self.context.channels[letter.channel]
        latest, reason = lifecycle.failures[-1] if lifecycle.failures else None, letter.failure_reason
        if latest is not None and latest.given_up is not None:
            return None if reason == latest.given_up else f"gives the reason {reason}, and not {latest.given_up}"
        limits = (config.rate_limit, *(each.quota for each in config.by_provider().values()))
        fallback, pipeline = config.fallback, self.context.pipeline()
        possible = {
            ENDED_ITS_PROCESS: pipeline is not None and pipeline.store.outlives_process,
            EXPIRED: letter.command.expires_after is not None or (fallback is not None and fallback.after is not None),
            ENDPOINT_DISABLED: config.endpoints is not None,
            RATE_LIMIT_EXCEEDED: any(limit is not None and limit.on_limit == "drop" for limit in limits),
            # It has waited for a retry, or in a line before it.
            RETRY_TIME_UP: latest is not None and not self._has_retry_time(letter, lifecycle),
            DEADLINE: latest is not None and config.deadline is not None,
        }
        if reason == EXPIRED and possible[reason] and self._has_nothing_to_wait_for(letter, lifecycle):
            return "is expired, and has not reached its end, nor is there anything that it would wait for"
        if possible.get(reason, reason.startswith("template")):
            return None
        return f"gives the reason {reason}, and none of its attempts has failed so"

    def _has_retry_time(self, letter: DeadLetterMessage, lifecycle: Lifecycle) -> bool:
        """Tell whether there is time left for a retry, and no wait on the way to it that could take longer."""
        config = self.context.channels[letter.channel]
        if config.retry.max_elapsed is None:
            return True
        if self.context.lifecycles.crashes and self.context.steps_the_clock:
            return False  # then the time was read by the calendar
        until_ns = lifecycle.fresh_since_ns + wait_ns(config.retry.max_elapsed)
        waiting = 1 + len(self.context.lifecycles.in_flight())
        lanes = config.by_provider().values()
        limits = [each for each in (config.rate_limit, *(lane.quota for lane in lanes)) if each is not None]
        longest_ns = sum(waiting * longest_window_ns(limit) for limit in limits)
        if config.tenant is not None and config.tenant.rate is not None:
            longest_ns += waiting * wait_ns(config.tenant.rate.period)
        longest_ns += sum(
            waiting * wait_ns(1 / lane.adaptive_rate.minimum_rate.per_second)
            for lane in lanes
            if lane.adaptive_rate is not None
        )
        return lifecycle.state_since_ns + longest_ns < until_ns

    def _has_nothing_to_wait_for(self, letter: DeadLetterMessage, lifecycle: Lifecycle) -> bool:
        """Tell whether one that is still good could be sent now, so that no wait is a reason to give it up early."""
        config, expires_after = self.context.channels[letter.channel], letter.command.expires_after
        if expires_after is None or config.fallback is not None:
            return False
        if self.context.lifecycles.crashes:
            return False  # then it may wait for one that is down, and for the pace of what is overdue
        if lifecycle.state_since_ns > lifecycle.fresh_since_ns + wait_ns(expires_after):
            return False
        if letter.command.not_before is not None and self.context.steps_the_clock:
            return False  # by the calendar it may have had to wait for longer
        quiet = self.context.preferences
        return (
            config.rate_limit is None
            and config.tenant is None
            and (quiet is None or not quiet.quiet_hours_of(letter.command.user, letter.channel))
            and all(
                each.quota is None
                and each.adaptive_rate is None
                and each.slots is None
                and each.concurrency_limit is None
                and each.circuit_breaker.begins is BreakerState.DISABLED
                for each in config.by_provider().values()
            )
        )

    def _contents(self, letter: DeadLetterMessage, lifecycle: Lifecycle) -> str | None:
        failures = [each for each in lifecycle.history if type(each) is NotificationFailed]
        if list(letter.history) != failures:
            return f"has {len(letter.history)} failures, and not the {len(failures)} that there were"
        if letter.attempts != used_up(lifecycle):
            return f"tells of {letter.attempts} attempts, and not {used_up(lifecycle)}"
        ends = [each for each in lifecycle.history if type(each) in (NotificationFailed, NotificationMovedToDeadLetter)]
        if letter.epoch_ns + letter.first_failure_ns != _calendar_ns(ends[0]):
            return f"has first failed at {letter.first_failure}, and not at {ends[0].at}"
        last = failures[-1] if failures else ends[-1]
        if letter.epoch_ns + letter.last_failure_ns != _calendar_ns(last):
            return f"has last failed at {letter.last_failure}, and not at {last.at}"
        accepted = next(each for each in lifecycle.history if type(each) is NotificationRequested)
        waited_since_ns = accepted.at_ns if accepted.waited_since_ns is None else accepted.waited_since_ns
        if letter.requested_at_ns != waited_since_ns and not self.context.steps_the_clock:
            return f"was asked for at {letter.requested_at}, and not at {utc(accepted.epoch_ns + waited_since_ns)}"
        return None


class Reasons(Invariant):
    """What is exhausted after a failed attempt has no attempt left, or no time, or no budget, as it says."""

    name = "given-up"
    settings = ("retry",)

    @observes(NotificationFailed)
    def on_failure(self, failed: NotificationFailed) -> Objection:
        lifecycle = self.context.lifecycles.get(failed.notification_id)
        config = self.context.channels.get(failed.channel)
        if lifecycle is None or config is None or failed.given_up is None or failed.kind in _FOR_GOOD:
            return None
        retry, reason = config.retry, failed.given_up
        spent = is_spent(failed, lifecycle.failures, retry)
        if reason == DEADLINE and config.deadline is not None:
            until_ns = cut_ns(lifecycle, config.deadline, failed.started_ns)
            longest_ns = wait_ns(longest_backoff(retry, longest_hint(failed.channel, self.context)))
            is_sure = not self.context.steps_the_clock
            return f"{_id(failed)} has time left" if failed.at_ns + longest_ns < until_ns and is_sure else None
        if reason in (EXPIRED, RETRY_TIME_UP, BUDGET_SPENT):
            possible = {RETRY_TIME_UP: retry.max_elapsed is not None, BUDGET_SPENT: retry.budget is not None}
            if not possible.get(reason, True) or spent:
                return f"{_id(failed)} cannot be exhausted: {reason}"
            return self._too_early(failed, lifecycle, retry) if reason != BUDGET_SPENT else None
        if spent or False in are_tried_again(failed, retry) or (retry.retry_after == "pushback" and failed.throttled):
            return None
        return f"{_id(failed)} is exhausted after attempt {failed.attempt}, and has attempts left"

    def _too_early(self, failed: NotificationFailed, lifecycle: Lifecycle, retry: RetryConfig) -> Objection:
        """Return what is wrong where there was no time after which even the longest wait would have been in time."""
        expires_after = None if lifecycle.attempt is None else lifecycle.attempt.command.expires_after
        if failed.given_up == RETRY_TIME_UP:
            expires_after = retry.max_elapsed
            if retry.max_elapsed_checked == "after_failure":
                is_late = failed.at_ns >= lifecycle.fresh_since_ns + wait_ns(expires_after or 0.0)
                return None if is_late else f"{_id(failed)} is exhausted ({failed.given_up}), and failed in time"
        fallback = self.context.channels[failed.channel].fallback
        can_fall_back = fallback is not None and failed.given_up == EXPIRED
        if expires_after is None or can_fall_back or self.context.steps_the_clock:
            return None
        latest_ns = failed.at_ns + wait_ns(longest_backoff(retry, longest_hint(failed.channel, self.context)))
        expires_ns = lifecycle.fresh_since_ns + wait_ns(expires_after)
        if latest_ns >= expires_ns:
            return None
        until = seconds_text(expires_ns)
        return f"{_id(failed)} is exhausted ({failed.given_up}), and could be tried again before {until}"


def _id(event: NotificationFailed | DeadLetterMessage) -> str:
    return event.notification_id


def _calendar_ns(event: RecordedEvent) -> int:
    return event.epoch_ns + event.at_ns
