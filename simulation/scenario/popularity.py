"""Over how many users or hosts notifications are spread: evenly, or by Zipf's law."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import model_validator

from actors.settings.base import Settings, at_key, plain_or
from actors.settings.quantities import PositiveWholeNumber, ZoneName, number, wanted, whole_number

COUNT_MAX = 1_000_000
"""The most that are spread by Zipf's law: eight bytes of memory for each."""


class ZipfSpread(Settings):
    """Some come more often than others, by Zipf's law: the k-th as often as 1/k^zipf says, number 0 the most often."""

    wanted_text: ClassVar[str] = "a whole number of at least 1, or a mapping such as {count: 10000, zipf: 1.1}"

    count: Annotated[int, whole_number(1, COUNT_MAX)]
    """How many there are, at most a million."""

    zipf: Annotated[float, number(0)]
    """The exponent. 0: all alike. 1: the first comes twice as often as the second, ten times as often as the tenth."""

    def at(self, share: float) -> int:
        """Return the number of which so large a share of all that comes is of smaller numbers.

        Args:
            share: at least 0 and less than 1; drawn uniformly at random, it gives each number as often as it comes.
        """
        bounds = _bounds(self.count, self.zipf)
        return min(bisect_right(bounds, share * bounds[-1]), self.count - 1)


class UserSpread(ZipfSpread):
    """The users of an entry, some of whom get more than others, or who are all in one time zone. Users of one zone are
    not those of another: `Asia/Tokyo-user-7` is not `user-7`."""

    zipf: Annotated[float, number(0)] = 0.0
    """The exponent. 0: all alike. 1: the first gets twice as many as the second, ten times as many as the tenth."""

    zone: ZoneName | None = None
    """The users' time zone, which `quiet_hours` without a zone of their own use. None: UTC."""

    @model_validator(mode="after")
    def _more_than_a_number(self) -> Self:
        if self.model_fields_set == {"count"}:
            raise at_key("zipf", wanted("a number of at least 0", "nothing"), self.zipf)
        return self


@lru_cache(maxsize=8)
def _bounds(count: int, exponent: float) -> array[float]:
    return array("d", accumulate(float(rank) ** -exponent for rank in range(1, count + 1)))


Spread: TypeAlias = Annotated[PositiveWholeNumber | ZipfSpread, plain_or(PositiveWholeNumber, ZipfSpread)]
"""So many, one as often as another; or some more often than others."""

Users: TypeAlias = Annotated[PositiveWholeNumber | UserSpread, plain_or(PositiveWholeNumber, UserSpread)]
"""The same of users, who may be in a time zone."""


def count_of(spread: int | ZipfSpread) -> int:
    """Return over how many it is."""
    return spread.count if isinstance(spread, ZipfSpread) else spread


def share_of_the_first(spread: int | ZipfSpread, many: int = 1) -> float:
    """Return how much comes of those that come the most often, so many of them, as a share of all."""
    if not isinstance(spread, ZipfSpread):
        return min(1.0, many / spread)
    bounds = _bounds(spread.count, spread.zipf)
    return bounds[min(many, spread.count) - 1] / bounds[-1] if many else 0.0


_GOLDEN = 0x9E37_79B9_7F4A_7C15
"""The golden section of 2^64: its multiples fill the circle more evenly than any other's (Knuth, volume 3, 6.4)."""


def host_of(user: int, hosts: int | ZipfSpread) -> int:
    """Return at which host a user is, by number: always the same, and each host has its share of any many users."""
    if isinstance(hosts, ZipfSpread):
        return hosts.at((user * _GOLDEN % 2**64) / 2**64)
    return user % hosts
