"""The tables of a test file, in the YAML file beside it."""

from pathlib import Path
from typing import Any

import msgspec


def tables(test: str) -> dict[str, Any]:
    """Return the tables of a test file by name: ``breaker.yaml`` has those of ``test_breaker.py``."""
    path = Path(test)
    return msgspec.yaml.decode(path.with_name(f"{path.stem.removeprefix('test_')}.yaml").read_bytes())
