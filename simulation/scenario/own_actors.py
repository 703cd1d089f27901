"""Own actors of a scenario: the code that it names, and whether that may be imported."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import ConfigDict

from actors.settings.base import Settings
from actors.settings.faults import ACTOR_NAME, ACTORS
from actors.settings.quantities import Wanted

_CODE = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"

ActorKey: TypeAlias = Annotated[
    str,
    Wanted(
        "a name of letters, digits, _ and - that no actor of the pipeline has",
        lambda value, _: value if re.fullmatch(ACTOR_NAME, value) and value not in ACTORS else None,
        {"type": "string", "pattern": f"^{ACTOR_NAME}$", "not": {"enum": list(ACTORS)}},
    ),
]

CodeName: TypeAlias = Annotated[
    str,
    Wanted(
        "a class such as shop.digests:Digest",
        lambda value, _: value if isinstance(value, str) and re.fullmatch(_CODE, value) else None,
        {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"},
    ),
]


class OwnActorConfig(Settings):
    """An actor of a class of yours, with its settings: the arguments of the constructor."""

    model_config = ConfigDict(extra="allow")

    wanted_text: ClassVar[str] = "a class with its settings, such as {actor: shop.digests:Digest, at_most: 20}"

    actor: CodeName
    """The class, `module:name`: a subclass of `actors.OwnActor`. It is code, so it is imported only with `--code`."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as the file has them."""
        return self.model_extra or {}
