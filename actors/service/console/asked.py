"""Which dead letters a page is about, as its address or a form says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from actors.service.console.words import sentence
from actors.service.operations.queries import Filter, readable
from actors.settings.quantities import parse_duration

NAMES = ("reason", "reason_is", "channel", "recipient", "user", "id", "since", "until")
"""The parts of a filter, as they are called in addresses."""

WINDOWS = (
    ("Last 15 minutes", timedelta(minutes=15)),
    ("Last hour", timedelta(hours=1)),
    ("Last 24 hours", timedelta(days=1)),
)
"""Time windows that are one click away."""


@dataclass(frozen=True)
class Asked:
    """A filter, beside the typed texts."""

    texts: Mapping[str, str]
    """The typed texts, by the names of :data:`NAMES`; empty where nothing was typed."""
    filter: Filter
    """The filter that the texts mean; a part that cannot be read is left out."""
    problems: Mapping[str, str]
    """The problem of a part; empty where there is none."""

    @property
    def is_narrowed(self) -> bool:
        return any(self.texts.values())

    @property
    def is_sound(self) -> bool:
        return not any(self.problems.values())

    def up_to(self, instant: datetime) -> Asked:
        """Return the same, without letters that were dead-lettered after `instant`."""
        end = instant + timedelta(microseconds=1)  # a filter's end is none of its own
        if self.filter.until is not None and self.filter.until <= end:
            return self
        return Asked({**self.texts, "until": written(end)}, replace(self.filter, until=end), self.problems)


def read_asked(said: Mapping[str, str], now: datetime) -> Asked:
    if (window := parse_duration(said.get("window", ""))) is not None:
        # In whole seconds: a field for times shows nothing finer.
        since = written((now - timedelta(seconds=window)).replace(microsecond=0))
        said = {**said, "since": since, "until": ""}
    texts = {name: said.get(name, "").strip() for name in NAMES} | {"reason_is": said.get("reason_is", "")}
    asked, wrong = readable({name: text for name, text in texts.items() if text and name != "reason_is"})
    asked = replace(asked, reason_is=texts["reason_is"] or None)  # to the letter
    problems = dict.fromkeys(NAMES, "") | {name: sentence(problem) for name, problem in wrong.items()}
    for name, instant in (("since", asked.since), ("until", asked.until)):
        if instant is not None and "-" not in texts[name]:  # how long ago: a page that follows is about the same time
            texts[name] = written(instant)
    if asked.since is not None and asked.until is not None and asked.until < asked.since:
        problems["until"] = "This is before the time that it starts."
    return Asked(texts, asked, problems)


def said_of(asked: Filter) -> list[tuple[str, str]]:
    """Return a filter in words: each part and its wanted value."""
    said = []
    for name, label in _LABELS.items():
        value = getattr(asked, name)
        if value is not None:
            said.append((label, f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)))
    return said


_LABELS = {
    "reason_is": "reason",
    "reason": "reason contains",
    "channel": "channel",
    "recipient": "recipient contains",
    "user": "user",
    "id_prefix": "id begins with",
    "since": "dead-lettered since",
    "until": "dead-lettered until",
}


def written(instant: datetime) -> str:
    """Return an instant as a field for times has it, in UTC."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat()
