"""Mappings that cannot be changed, so that a message that carries one is immutable too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

_TEXT = frozenset({str})


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed, nor can its values, so that a message that carries one is immutable too.

    Lists inside become tuples, and dicts become FrozenDicts.
    """

    def __init__(self, items: Mapping[Any, Any] | None = None) -> None:
        if items:
            is_frozen = _TEXT.issuperset(map(type, items.values()))
            dict.__init__(self, items if is_frozen else {key: _frozen(value) for key, value in items.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a message's metadata cannot be changed; build a new message")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict(value)
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


NO_METADATA = FrozenDict()
