"""The folder of failing cases: each is kept as a scenario file, and tried first in the next exploration.

A case is kept with the settings that it was found with, so that its file alone shows what broke. When it is tried again
it is tried on the current settings, but where it had settings of its own, that were drawn: it is mended when these no
longer break, and its file is then removed.
"""

from __future__ import annotations

from pathlib import Path

from actors.errors import ConfigurationError
from actors.settings.channel import ChannelConfig, ProviderConfig
from simulation.results.files import is_same
from simulation.scenario import Scenario
from simulation.scenario.loading import given
from simulation.scenario.model import Channels
from simulation.scenario.writing import write

HOME = ".retrylab"
_SETTINGS = ("channels", "preferences", "quiet_hours", "templates", "remember_ids")
_MARK = "; to see it again:"
"""Is in every kept case, and marks it as one: other scenarios are never removed."""

_OWN_SETTINGS = ", with settings of its own"

_IGNORE_ALL = "# Failing cases of explorations, found again by their seeds.\n*\n"


class Corpus:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[Path]:
        """Return the files of the cases, in the order of their names; a user's own scenarios are not among them."""
        there = sorted(self.folder.glob("*.yaml")) if self.folder.is_dir() else []
        return [file for file in there if _is_marked(file)]

    def check(self, scenario: Path) -> None:
        """Check that the file of a scenario is not among the cases, which are replaced and removed.

        Raises:
            ConfigurationError: it is, or has the name of one.
        """
        if any(is_same(file, scenario) for file in (*self.files(), *self.folder.glob("seed-*.yaml"))):
            wanted = "wanted a folder for failing cases, got the one where the scenario itself looks like one"
            raise ConfigurationError([f"--out {self.folder}: {wanted}"])

    def case(self, file: Path, scenario: Scenario) -> Scenario | None:
        """Return the case in a file on the settings of `scenario`; None when it does not fit them any more."""
        try:
            kept = given(file, code=scenario.may_import)
        except ConfigurationError:
            return None
        used, named = set(scenario.channels_used), set(kept.channels_used)
        if not named <= used or any(
            fault.provider is not None and fault.provider not in scenario.providers_used[channel]
            for fault in kept.faults
            for channel in used
            if channel in fault.channel
        ):
            return None
        if _OWN_SETTINGS in file.read_text(encoding="utf-8").partition(_MARK)[0]:
            return kept
        current = {key: getattr(scenario, key) for key in _SETTINGS}
        return kept.model_copy(update=current | {"channels": _with_scripts(scenario.channels, kept.channels)})

    def keep(self, name: str, scenario: Scenario, comment: str, command: str, *, own_settings: bool = False) -> Path:
        """Write a failing case, in place of one of the same name; return its file. `comment` says what broke, and
        `own_settings` whether it is to be tried with the settings that it has, also when others have changed.

        Raises:
            OSError: it cannot be written there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        home = next((parent for parent in (self.folder, *self.folder.parents) if parent.name == HOME), self.folder)
        ignored = home / ".gitignore"
        if home.name == HOME and not ignored.exists():
            ignored.write_text(_IGNORE_ALL, encoding="utf-8")
        file = self.folder / f"{name}.yaml"
        comment += _OWN_SETTINGS if own_settings else ""
        file.write_text(write(scenario, f"{comment}{_MARK}\n{command}"), encoding="utf-8")
        return file


def _with_scripts(channels: Channels, kept: Channels) -> Channels:
    changes: dict[str, ChannelConfig] = {}
    for name in kept.there:
        if name not in kept.model_fields_set:
            continue
        config, scripted = channels.of(name), kept.of(name)
        if scripted.provider.script:
            config = config.model_copy(update={"provider": _with_script(config.provider, scripted.provider)})
        others = {
            each: config.failover[each].model_copy(
                update={"provider": _with_script(config.failover[each].provider, other.provider)}
            )
            for each, other in scripted.failover.items()
            if other.provider.script and each in config.failover
        }
        changes[name] = config.model_copy(update={"failover": config.failover | others}) if others else config
    return channels.model_copy(update=changes)


def _with_script(provider: ProviderConfig, scripted: ProviderConfig) -> ProviderConfig:
    return provider.model_copy(update={"script": scripted.script})


def _is_marked(file: Path) -> bool:
    try:
        return _MARK in file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a folder of that name, or nothing that may be read
        return False
