"""Lists of dead letters: which of them fit a filter, page by page, or how many there are of each kind; and how a filter
is written in an address, a form, a body or on a command line."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import trio
from pydantic import Field

from actors.domain.notification_state import State
from actors.domain.store import Store
from actors.errors import ConfigurationError
from actors.instants import since_1970_ns, utc
from actors.messages import DeadLetterMessage, NotificationChannel, SendNotification
from actors.settings.base import Settings, validated
from actors.settings.quantities import Text, Wanted, parse_duration

T = TypeVar("T")

By: TypeAlias = Literal["reason", "channel", "recipient"]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which dead letters; all that is given has to fit, and all of them fit a filter in which nothing is."""

    reason: str | None = None
    """Part of the reason of the dead letter, with the underlying one as the console shows it, or of the provider's last
    answer; upper and lower case are the same."""
    reason_is: str | None = None
    channel: NotificationChannel | None = None
    recipient: str | None = None
    """Part of the address; upper and lower case are the same."""
    user: str | None = None
    id_prefix: str | None = None
    since: datetime | None = None
    """They were dead-lettered at this instant or later. With a time zone."""
    until: datetime | None = None
    """They were dead-lettered before this instant. With a time zone."""

    def fitting(self, letters: Iterable[DeadLetterMessage]) -> Iterator[DeadLetterMessage]:
        return functools.reduce(lambda left, condition: filter(condition, left), self._conditions(), iter(letters))

    def _of_commands(self) -> Iterator[Callable[[SendNotification], bool]]:
        if (channel := self.channel) is not None:
            yield lambda command: command.channel == channel
        if (user := self.user) is not None:
            yield lambda command: command.user == user
        if (prefix := self.id_prefix) is not None:
            yield lambda command: command.notification_id.startswith(prefix)
        if self.recipient is not None:
            recipient = self.recipient.casefold()
            yield lambda command: recipient in command.recipient.casefold()

    def _conditions(self) -> Iterator[Callable[[DeadLetterMessage], bool]]:
        if conditions := [*self._of_commands()]:
            yield lambda letter: all(fits(letter.command) for fits in conditions)
        if (whole := self.reason_is) is not None:
            yield lambda letter: letter.failure_reason == whole
        if self.since is not None:
            since_ns = since_1970_ns(self.since)
            yield lambda letter: _moved_ns(letter) >= since_ns
        if self.until is not None:
            until_ns = since_1970_ns(self.until)
            yield lambda letter: _moved_ns(letter) < until_ns
        if self.reason is not None:
            reason = self.reason.casefold()
            label = "" if reason in LATEST_FAILURE else LATEST_FAILURE  # words that each letter has find none
            yield lambda letter: reason in _said(letter, label).casefold()

    @property
    def is_of_letters(self) -> bool:
        """Whether the filter has a condition that dead letters alone can meet."""
        return {self.reason, self.reason_is, self.since, self.until} != {None}

    def __str__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None) or "all"


LOOKED_BACK_MAX = 10_000
"""The most ended notifications that a search by user looks through, the latest: no store has an index of users."""


class Known(NamedTuple):
    """A notification that is no dead letter."""

    command: SendNotification
    state: State
    ended_at: datetime | None
    """When it ended; None: it is in flight."""


def in_flight_or_ended(filter: Filter, store: Store, in_flight: Iterable[SendNotification], now_ns: int) -> list[Known]:
    """Return the notifications in flight that fit, then the ones that ended lately, the latest first.

    Only a filter by user, recipient or id finds any; one by reason or time finds dead letters alone.

    Args:
        filter: the conditions.
        store: remembers the notifications that ended at this node since it started; the last `LOOKED_BACK_MAX` count.
        in_flight: the commands of the notifications in flight at this node.
        now_ns: the present instant, in nanoseconds since 1970.
    """
    if {filter.user, filter.recipient, filter.id_prefix} == {None} or filter.is_of_letters:
        return []
    conditions = [*filter._of_commands()]
    ended = store.remembered.latest(LOOKED_BACK_MAX, now_ns)
    known = (
        *(Known(command, "in flight", None) for command in in_flight),
        *(Known(command, state, utc(ended_ns)) for command, state, ended_ns in ended),
    )
    return [each for each in known if all(fits(each.command) for fits in conditions)]


def underlying_reason(letter: DeadLetterMessage) -> str | None:
    """Return the provider's latest failure, where a dead letter's reason is another one, such as an open breaker or an
    expiry; None: it is the reason, or is not known."""
    said = (failed.answer if failed.refused else failed.reason for failed in reversed(letter.history))
    latest = next(filter(None, said), None)
    return None if latest == letter.failure_reason else latest


LATEST_FAILURE = "the provider's latest failure: "


def _said(letter: DeadLetterMessage, label: str) -> str:
    underlying = f" ({label}{said})" if (said := underlying_reason(letter)) else ""
    return f"{letter.failure_reason}{underlying}\n{(letter.history[-1].answer or '') if letter.history else ''}"


def read_instant(text: Any, now: datetime) -> datetime | None:
    """Return the instant that is written as a date and time, UTC where it has no zone, or as how long ago: ``2h``."""
    try:
        if isinstance(text, str) and (ago := parse_duration(text, unit_required=True)) is not None:
            return now - timedelta(seconds=ago)
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # or it was before the year 1
        return None


def _instant(value: Any, _unit_required: bool) -> datetime | None:
    return read_instant(value, datetime.now(UTC))


_Instant = Annotated[
    datetime, Wanted("a time such as 2026-03-01T14:30Z, or how long ago such as 2h", _instant, {"type": "string"})
]


class FilterSettings(Settings):
    """A filter in writing; see :class:`~actors.service.operations.queries.Filter` for what its keys mean."""

    wanted_text: ClassVar[str] = "a filter such as {reason: mailbox full, channel: email, since: 2h}"
    reason: Text | None = None
    reason_is: Text | None = None
    channel: NotificationChannel | None = None
    recipient: Text | None = None
    user: Text | None = None
    id_prefix: Text | None = Field(default=None, alias="id")
    since: _Instant | None = None
    until: _Instant | None = None

    @property
    def filter(self) -> Filter:
        return Filter(**{name: getattr(self, name) for name in FilterSettings.model_fields})


def filter_of(given: Mapping[str, Any]) -> Filter:
    """Return the filter that is written here, one key for each condition; raise ConfigurationError, with all problems,
    where it cannot be read."""
    return validated(FilterSettings, given).filter


def readable(given: Mapping[str, str]) -> tuple[Filter, dict[str, str]]:
    """Return the filter that is written here without the conditions that cannot be read, and the problems of these."""
    try:
        return filter_of(given), {}
    except ConfigurationError as error:
        problems = dict(line.split(": ", 1) for line in error.problems)
    return filter_of({name: text for name, text in given.items() if name not in problems}), problems


ALL = Filter()


@dataclass(frozen=True)
class Page:
    letters: list[DeadLetterMessage]
    next: str | None
    """The cursor to ask for the next page with; None: there is none."""


class Queue(Protocol):
    """Dead letters in the order in which they came: those of a dead letter queue, or of a store's file."""

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all there are now, oldest first."""

    def letter(self, notification_id: str) -> DeadLetterMessage | None: ...


LOOKED_AT_MAX = 500
"""The number of letters that are looked at in one piece of work."""


def slices(
    queue: Queue, filter: Filter, *, after: str | None = None, newest_first: bool = False
) -> Iterator[list[DeadLetterMessage]]:
    """Return the letters in a queue that fit, in a list for each `LOOKED_AT_MAX` that are looked at.

    Other tasks may run between two lists: a letter that leaves the queue meanwhile is left out, as is one that comes.
    """
    ids = queue.ids[::-1] if newest_first else queue.ids
    is_before: Callable[[DeadLetterMessage], bool] | None = None
    if after is not None and (cursor := read_cursor(after)) is not None:
        moved_ns, notification_id = cursor
        last = queue.letter(notification_id)
        if last is not None and _moved_ns(last) == moved_ns:
            ids = ids[ids.index(notification_id) + 1 :]
        elif newest_first:  # that is gone: from its instant on, so that none is left out
            is_before = lambda letter: _moved_ns(letter) > moved_ns  # noqa: E731
        else:
            is_before = lambda letter: _moved_ns(letter) < moved_ns  # noqa: E731
    for start in range(0, len(ids), LOOKED_AT_MAX):
        found = map(queue.letter, ids[start : start + LOOKED_AT_MAX])
        letters = [letter for letter in found if letter is not None]
        if is_before is not None:
            letters = [*itertools.dropwhile(is_before, letters)]
            is_before = None if letters else is_before
        yield [*filter.fitting(letters)]


def paged(queue: Queue, filter: Filter, *, limit: int, after: str | None = None, newest_first: bool = False) -> Page:
    found: list[DeadLetterMessage] = []
    for letters in slices(queue, filter, after=after, newest_first=newest_first):
        found += letters
        if len(found) > limit:
            break
    return page_of(found, limit, after)


def page_of(found: list[DeadLetterMessage], limit: int, after: str | None) -> Page:
    """Return the page with the first `limit` of the letters that were found behind `after`."""
    if len(found) <= limit:
        return Page(found, None)
    letters = found[:limit]
    return Page(letters, _cursor(letters[-1]) if letters else after)


async def worked_out(found: list[DeadLetterMessage], make: Callable[[], T]) -> T:
    """Return the result of `make`: from a thread, where the letters are many."""
    return make() if len(found) <= LOOKED_AT_MAX else await trio.to_thread.run_sync(make)


def _cursor(letter: DeadLetterMessage) -> str:
    return f"{_moved_ns(letter)}-{letter.notification_id}"


def read_cursor(text: str) -> tuple[int, str] | None:
    """Return the instant and the id of the last letter of a page, from what its `next` says; None: it is no such."""
    moved, dash, notification_id = text.partition("-")
    return (int(moved), notification_id) if dash and re.fullmatch("[0-9]{1,19}", moved) else None


@dataclass(frozen=True)
class Group:
    """Dead letters that have something in common."""

    key: str
    """Their reason, channel or recipient."""
    count: int
    oldest: datetime
    """When the first of them was dead-lettered."""
    newest: datetime
    """When the last of them was dead-lettered."""
    failures: Sequence[tuple[str, int]] = ()
    """The providers' latest failures behind a reason, in other words than it, and how often; the commonest first."""


_KEYS: dict[By, Any] = {
    "reason": lambda letter: letter.failure_reason,
    "channel": lambda letter: letter.channel.value,
    "recipient": lambda letter: letter.command.recipient,
}


def grouped(letters: Iterable[DeadLetterMessage], by: By) -> list[Group]:
    groups: dict[str, list[DeadLetterMessage]] = {}
    counts: Counter[str] = Counter()
    failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for letter in letters:
        key = _KEYS[by](letter)
        counts[key] += 1
        if by == "reason" and (failure := underlying_reason(letter)) is not None:
            failures[key][failure] += 1
        oldest, newest = groups.setdefault(key, [letter, letter])
        if _moved_ns(letter) < _moved_ns(oldest):
            groups[key][0] = letter
        elif _moved_ns(letter) > _moved_ns(newest):
            groups[key][1] = letter
    return [
        Group(key, count, groups[key][0].moved_at, groups[key][1].moved_at, failures[key].most_common())
        for key, count in counts.most_common()
    ]


def _moved_ns(letter: DeadLetterMessage) -> int:
    return letter.epoch_ns + letter.moved_at_ns
