"""The option ``--rules``: failure rules in Python, for the runs of a command that was given them by name.

Nothing but this option names code to run: no key of a scenario does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from simulation.commands.shared import import_from_here, option

if TYPE_CHECKING:
    from actors.faults.rules import FailureRule
    from simulation.scenario import Scenario

RulesOption = Annotated[
    list[str] | None,
    option(
        "A failure rule in Python, on each channel or on one: rules:sheds_load or email=rules:Outage. A class "
        "is called without arguments, anew for each run.",
        "--rules",
        metavar="MODULE:NAME",
    ),
]

NOT_SO_WITH_RULES = frozenset({"failure-settings-without-effect", "unknown-reason"})
"""The findings that hold only where the scenario alone decides about attempts."""

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FORM = re.compile(rf"(?:(?P<channel>[^=:]+)=)?(?P<module>{_DOTTED}):(?P<name>{_DOTTED})")


@dataclass(frozen=True)
class NamedRules:
    """Failure rules by their names; called with a scenario it makes the rules of a run, also in another process."""

    texts: tuple[str, ...]

    def problems(self, scenarios: Sequence[Scenario]) -> list[str]:
        """Return why they cannot be the rules of these scenarios; importing their modules is tried."""
        from actors.errors import ConfigurationError

        try:
            for scenario in scenarios:
                self(scenario)
        except ConfigurationError as error:
            return error.problems
        return []

    def __call__(self, scenario: Scenario) -> dict[str, list[FailureRule]]:
        """Return the rules for a run of a scenario, by channel.

        Raises:
            ConfigurationError: a text names none, or a channel that the scenario does not use; all problems.
        """
        from actors.errors import ConfigurationError

        used, problems, found = scenario.channels_used, [], defaultdict[str, list["FailureRule"]](list)
        for text in self.texts:
            try:
                channel, named = _found(text)
                if channel is not None and channel not in used:
                    raise ValueError(f"wanted a channel that {scenario.name} uses ({', '.join(used)}), got {channel!r}")
                for each in used if channel is None else [channel]:
                    found[each].append(_rule(named))
            except ValueError as problem:
                problems.append(f"--rules {text}: {problem}")
        if problems:
            raise ConfigurationError(problems)
        return dict(found)


def _found(text: str) -> tuple[str | None, Any]:
    from simulation.running.own_code import imported

    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("wanted MODULE:NAME or CHANNEL=MODULE:NAME, such as email=shop.rules:sheds_load")
    import_from_here()
    return form["channel"], imported(f"{form['module']}:{form['name']}")


def _rule(named: Any) -> FailureRule:
    from actors.errors import described
    from actors.kernel.async_handlers import is_async

    if isinstance(named, type):
        try:
            named = named()
        except Exception as error:
            raise ValueError(f"calling the class raised {described(error)}") from None
    if not callable(named) or is_async(named):
        what = "an async function" if callable(named) else f"{named!r:.100}"
        raise ValueError(f"wanted a function of (attempt, now_ns, load), or a class of such, got {what}")
    rule: FailureRule = named
    return rule
