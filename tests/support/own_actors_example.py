"""The example of the guide on own actors, word for word."""

import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "notebooks" / "guides" / "own-actors"
sys.path.append(str(EXAMPLE))

from confirmation import Confirmation as Confirmation  # noqa: E402
from digest import Digest as Digest  # noqa: E402
