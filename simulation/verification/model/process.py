"""A process of the service, as the parts of it know it: what is under way there, and what they have its rules do.

These rules stand in `handler` and `orders`; how a process starts and crashes, in `node`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from actors.messages import DeadLetterMessage, NotificationEvent, SendNotification
from actors.settings.rate_limit import QuotaConfig
from simulation.verification.model.budgets import Budget
from simulation.verification.model.limits import Account, Limit, PartOfAccount, limit_of
from simulation.verification.model.loop import Loop, Timeline
from simulation.verification.model.notifications import (
    CUT,
    TIMED_OUT,
    Admitted,
    Attempt,
    Commit,
    Ended,
    Notification,
    Send,
)
from simulation.verification.model.resuming import Arrivals


class Process(Loop):
    """The state of a process that its parts share."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        super().__init__(timeline, node)
        self.pending: dict[str, Notification] = {}
        self.asked: dict[int, Send] = {}
        self.timed_out: set[tuple[int, int]] = set()
        """The latest instant at which sends have timed out, with the number of each."""
        self.commits: dict[str, Commit] = {}
        """The changes that are not durable yet, by notification."""
        self.budgets: dict[str, Budget] = {}
        self.accounts: dict[str, Account] = {}
        """By name, those of which providers have their quotas."""
        self.arrivals: dict[str, Arrivals] = {}

    # What its parts have its rules do. In handler:
    is_wanted: Callable[[SendNotification], bool]
    make: Callable[[Admitted], None]
    ask: Callable[[Send], int]
    decided: Callable[[Send], None]
    notification_of: Callable[[Attempt], Notification | None]
    answered: Callable[[Send], None]
    turned_away: Callable[[Attempt, Ended], None]
    requeued: Callable[[Attempt, bool], None]
    # In orders:
    withdrawn: Callable[[Attempt], None]
    waits_in_no_line: Callable[[Collection[Attempt]], None]
    redriving: Any

    def end_send(self, number: int) -> Send:
        """Return a send whose answer has come, or whose time is up: it is at its provider no more."""
        send = self.asked.pop(number)
        if (
            send.outcome is TIMED_OUT or send.outcome is CUT
        ) and send.ended_ns == self.now_ns:  # else it comes out of a mailbox
            self.timed_out = {each for each in self.timed_out if each[0] == self.now_ns} | {(self.now_ns, number)}
        return send

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

    def says_pause(self, lane: Any, host: str, until_ns: int) -> None:
        """Tell other nodes of a pause that a provider has asked for, where there are any."""

    def says(self, lane: Any, change: Any) -> None:
        """Tell other nodes of a change of a breaker; one process alone tells nobody."""
