"""The scenarios that are refused, of ``tests/scenario/malformed/scenarios.yaml``."""

import contextlib
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parents[1] / "scenario" / "malformed"


class Malformed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario with all that is said of it."""

    name: str
    problems: str
    scenario: str = ""
    bytes: str = ""

    def written(self, folder: Path) -> Path:
        """Write the scenario into a folder, beside the data that it may name."""
        with contextlib.suppress(FileExistsError):
            (folder / "data").symlink_to(FOLDER / "data")
        path = folder / f"{self.name}.yaml"
        path.write_bytes(self.scenario.encode() or self.bytes.encode("latin-1"))
        return path


MALFORMED = msgspec.yaml.decode((FOLDER / "scenarios.yaml").read_bytes(), type=tuple[Malformed, ...])
