"""Quotas that several providers share, as they are of one account (`quota: {account}`)."""

from __future__ import annotations

from simulation.verification.model.limits import Limit


class Account:
    """The quotas of one account, each a lane's, which take turns where they wait."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.lanes: list[PartOfAccount] = []
        self.gone = 0


class PartOfAccount(Limit):
    """What a lane may take of an account.

    Where one was told until when to wait, and that has come, it goes before those that have gone since it went: another
    one that asks first is told to ask a nanosecond later. That is once, so that none waits for one that asks no more.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._went = 0
        """As the how-many-th of the account it let one go last."""
        self._told_ns: int | None = None
        """Until when it is told to wait."""
        self._yields_ns = -1
        """When it was last told that it is another one's turn: so it is for all of that instant."""
        account.lanes.append(self)

    def fits_at(self, key: str, now_ns: int) -> int:
        fits_ns = self._account.limit.fits_at(key, now_ns)
        if self._yields_ns == now_ns:
            return max(fits_ns, now_ns + 1)
        self._told_ns = fits_ns if fits_ns > now_ns else None
        if self._told_ns is not None:
            return fits_ns
        waiting = [each for each in self._account.lanes if each._told_ns is not None and each._told_ns <= now_ns]
        first = min(waiting, key=lambda each: each._went, default=self)
        if first._went >= self._went:
            return now_ns
        self._yields_ns, self._told_ns, first._told_ns = now_ns, now_ns + 1, None
        return now_ns + 1

    def charge(self, key: str, now_ns: int) -> None:
        self._account.limit.charge(key, now_ns)
        self._account.gone += 1
        self._went = self._account.gone
