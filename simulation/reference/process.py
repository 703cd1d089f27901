"""A process, as the parts of it know it: what is under way there, and what they have its rules do.

The rules stand in `handler` (the way of a notification), `orders` (what operators order) and `node` (how a process and
its actors start and crash); what one of several processes does besides, in `sharing`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actors.messages import DeadLetterMessage, NotificationEvent, SendNotification
from actors.settings.rate_limit import QuotaConfig
from simulation.reference.accounts import Account, PartOfAccount
from simulation.reference.budgets import Budget
from simulation.reference.limits import Limit, limit_of
from simulation.reference.loop import Loop, Timeline
from simulation.reference.notifications import TIMED_OUT, Admitted, Attempt, Commit, Ended, Notification, Send
from simulation.reference.resuming import Arrivals


class Process(Loop):
    """A process of the service."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        super().__init__(timeline, node)
        self.pending: dict[str, Notification] = {}
        """What is accepted and has not ended, by id."""
        self.asked: dict[int, Send] = {}
        """What is at a provider, by number."""
        self._timed_out: tuple[int, set[int]] = (-1, set())
        """An instant, and the numbers of the sends that have timed out then."""
        self.commits: dict[str, Commit] = {}
        """What is not durable yet, by notification."""
        self.budgets: dict[str, Budget] = {}
        self.accounts: dict[str, Account] = {}
        """By name, those of which providers have their quotas."""
        self.arrivals: dict[str, Arrivals] = {}
        """By channel, how many have come."""

    # What its parts have its rules do, each of which says for itself what it does:
    is_wanted: Callable[[SendNotification], bool]
    is_awaited: Callable[[Attempt], bool]
    make: Callable[[Admitted], None]
    ask: Callable[[Send], int]
    decided: Callable[[Send], None]
    answered: Callable[[Send], None]
    turned_away: Callable[[Attempt, Ended], None]
    requeued: Callable[[Attempt, bool], None]
    withdrawn: Callable[[Attempt], None]
    waits_in_no_line: Callable[[Collection[Attempt]], None]
    cancel: Callable[[Collection[str]], None]
    take_up_next_redrive: Callable[[], None]
    breaker_closed: Callable[[str, str], None]

    def end_send(self, number: int) -> Send:
        """Return a send whose answer has come, or whose time is up: it is at its provider no more."""
        send = self.asked.pop(number)
        if send.outcome is TIMED_OUT and send.ended_ns == self.now_ns:  # else it comes out of a mailbox
            if self._timed_out[0] != self.now_ns:
                self._timed_out = self.now_ns, set()
            self._timed_out[1].add(number)
        return send

    def has_timed_out_at(self, instant_ns: int, number: int) -> bool:
        """Return whether a send has timed out at an instant: the latest at which any has, or a later one."""
        return instant_ns == self._timed_out[0] and number in self._timed_out[1]

    def make_durable(self, kind: str, event: NotificationEvent, command: SendNotification) -> None:
        """Have the store take a change, and the rule for a kind applied when it is durable: here at once."""
        self.store.keep(event, command, self.node)
        self.fire(kind, event.notification_id)

    def has_letter(self, letter: DeadLetterMessage | str) -> bool:
        """Return whether a notification is a dead letter, or a letter that of its latest death, as this node knows."""
        return self.store.has_letter(letter)

    def has_lease(self) -> bool:
        """Tell whether this process may start an attempt: a node may not that has not reached the store for long."""
        return True

    def quota_of(self, config: QuotaConfig) -> Limit:
        """Return a quota as it begins: of its account, or its own."""
        if config.account is None:
            return limit_of(config)
        return PartOfAccount(self.accounts.setdefault(config.account, Account(limit_of(config))))

    def says(self, lane: Any, change: Any) -> None:
        """Tell other nodes of a change of a breaker; one process alone tells nobody."""
