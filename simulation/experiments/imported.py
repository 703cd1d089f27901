"""Imported policies: each line with its mark, and the times of attempts, as sheets and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from actors.formatting import counted
from actors.settings.channel import ChannelConfig, NotifierConfig
from actors.settings.file import settings_of_tree
from simulation.experiments.explaining.schedule import Schedule, retries_of, schedule_sheet, schedules
from simulation.importing.channels import channel_names, place_of, root_of
from simulation.importing.files import Imported
from simulation.importing.policy import Finding, Mark, Policy, Question
from simulation.sheets import Column, Row, Sheet, Word

ATTEMPTS_MAX = 100
"""The most attempts of a policy that its document lists."""

NAME_MAX = 24
"""Characters of another file's name that stand beside its line, so that the column leaves room for the others."""

_MOODS: dict[Mark, Any] = {
    Mark.EXACT: "fine",
    Mark.APPROXIMATE: "unsure",
    Mark.CANNOT_BE_SAID: "bad",
    Mark.DOES_NOTHING: "bad",
}


class ImportedPolicies:
    """Policies with the channels and the schedules that they become.

    Raises:
        ConfigurationError: settings that a policy became are refused, with the lines that they came from.
    """

    def __init__(self, imported: Imported) -> None:
        self.imported = imported
        self.names = channel_names(imported.policies)
        self.configs = [_config(policy) for policy in imported.policies]
        drawn: dict[str, Schedule] = {}  # many policies of a file wait alike
        self.schedules: list[Schedule | None] = []
        for retries in (None if config is None else retries_of(config) for config in self.configs):
            key = repr(retries)
            if retries is not None and key not in drawn:
                drawn[key] = schedules(retries, shown=ATTEMPTS_MAX)[0]
            self.schedules.append(drawn.get(key))

    @property
    def questions(self) -> list[Question]:
        """The open questions, each name once."""
        asked = {each.name: each for policy in self.imported.policies for each in policy.questions}
        return list(asked.values())

    @property
    def document(self) -> dict[str, Any]:
        """The policies as a plain dict, fit for JSON: instants and waits in seconds."""
        return {
            "files": list(self.imported.files),
            "passed_over": len(self.imported.passed_over),
            "problems": list(self.imported.problems),
            "policies": [
                {
                    **asdict(policy),
                    "channel": None if config is None else name,
                    "settings": policy.channel,
                    "max_attempts": None if schedule is None or config is None else config.retry.max_attempts,
                    "attempts": [] if schedule is None else [asdict(each) for each in schedule.attempts],
                }
                for policy, name, config, schedule in self._each()
            ],
        }

    @property
    def sheets(self) -> list[Sheet]:
        """A table of lines and one of attempts for each policy; policies without retries and without lines are listed
        at the end."""
        bare = [each for each in self._each() if _is_bare(each[0], each[3])]
        if len(bare) < 2:
            return [sheet for each in self._each() for sheet in _sheets(*each)]
        found = [sheet for each in self._each() if each not in bare for sheet in _sheets(*each)]
        names = ", ".join(policy.name for policy, *_ in bare)
        return [*found, Sheet("One attempt, and no setting of retries", said=[f"{names}."])]

    def _each(self) -> Iterator[tuple[Policy, str, ChannelConfig | None, Schedule | None]]:
        return zip(self.imported.policies, self.names, self.configs, self.schedules, strict=True)


def _is_bare(policy: Policy, schedule: Schedule | None) -> bool:
    is_one = schedule is not None and schedule.max_attempts == 1
    return is_one and len(policy.findings) < 2 and not policy.notes and not policy.questions


def _config(policy: Policy) -> ChannelConfig | None:
    if policy.channel is None:
        return None
    (config,) = settings_of_tree(NotifierConfig, root_of([policy])).channels.values()
    return config


def sheets_of_lines(imported: Imported, channel: str | None = None) -> list[Sheet]:
    """Return the sheets of the lines of policies, or of the one that a channel has, without their attempts."""
    policies = dict(zip(channel_names(imported.policies), imported.policies, strict=True))
    return [_lines(policy, name) for name, policy in policies.items() if channel in (None, name)]


def in_words(imported: Imported) -> str:
    """Return how much was read: ``3 policies in 2 files, 40 files passed over``."""
    text = f"{counted(len(imported.policies), 'policy', 'policies')} in {counted(len(imported.files), 'file')}"
    return text + (f", {counted(len(imported.passed_over), 'file')} passed over" if imported.passed_over else "")


def _lines(policy: Policy, name: str) -> Sheet:
    main = place_of(policy).source
    columns = [
        Column("line"),
        Column("setting", folds=True),
        Column("mark"),
        Column("becomes"),
        Column("why", folds=True),
    ]
    rows = [_row(each, place) for each, place in zip(policy.findings, _places(policy, main), strict=True)]
    becomes = "" if policy.channel is None else f", channel {name}"
    return Sheet(policy.name, columns, rows, policy.notes, about=f"{policy.kind}, {main}{becomes}")


def _sheets(policy: Policy, name: str, config: ChannelConfig | None, schedule: Schedule | None) -> Iterator[Sheet]:
    yield _lines(policy, name)
    if schedule is not None and schedule.max_attempts == 1:
        yield Sheet(said=["One attempt; nothing is retried."])
    elif schedule is not None:
        assert config is not None
        yield schedule_sheet(schedules(retries_of(config))[0])
    elif policy.questions:
        yield Sheet(warnings=["When attempts are made is open:", *(each.asked for each in policy.questions)])
    else:
        yield Sheet(warnings=["When attempts are made cannot be said."])


def _places(policy: Policy, main: str) -> Iterator[str]:
    """Yield the line of each finding, with its file unless that is the main one: its last name where that tells it.

    Of a long name the end is shown, which tells files of a folder apart.
    """
    files = {main, *(each.file for each in policy.findings if each.line)}
    names = Counter(PurePath(each).name for each in files)
    for each in policy.findings:
        name = PurePath(each.file).name
        name = name if names[name] == 1 else each.file
        of_other = f"{name if len(name) <= NAME_MAX else '…' + name[1 - NAME_MAX :]}:{each.line}"
        yield "" if not each.line else str(each.line) if each.file == main else of_other


def _row(finding: Finding, where: str) -> Row:
    return Row((where, finding.text, Word(finding.mark.value, _MOODS[finding.mark]), finding.path, finding.reason))
