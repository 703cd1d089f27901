"""The quotas of a process: each provider's own, those of accounts, and its parts in those of all nodes."""

from __future__ import annotations

from actors.messages import Message
from actors.policies.rate_limit.limiter import Limiter, go_on_from, make_limiter
from actors.settings.rate_limit import QuotaConfig

WHOLE = ""
"""The key of what a quota counts."""


class QuotaDivided(Message, frozen=True, gc=False):
    """The part of a process in a quota has changed, so that what waits may go sooner, or has to wait for longer."""


class Quotas:
    """Makes the quotas of all lanes of a process. What the accounts allow is filled in."""

    def __init__(self, nodes: int = 1) -> None:
        """Make none yet.

        Args:
            nodes: among how many those of all nodes are divided.
        """
        self._accounts: dict[str, Account] = {}
        self._nodes = nodes
        self._divided: list[PartOfNodes] = []

    def divide(self, nodes: int, now_ns: int) -> bool:
        """Divide the quotas of all nodes among so many from now on; tell whether there are any that this changes."""
        if nodes == self._nodes:
            return False
        self._nodes = nodes
        for part in self._divided:
            part.divide(nodes, now_ns)
        return bool(self._divided)

    def limiter(self, config: QuotaConfig) -> Limiter:
        """Return the quota of one more lane: its own, or its part in that of an account or of all nodes."""
        if config.across == "nodes":
            self._divided.append(PartOfNodes(config, self._nodes))
            return self._divided[-1]
        if config.account is None:
            return make_limiter(config)
        if config.account not in self._accounts:
            self._accounts[config.account] = Account(make_limiter(config))
        return self._accounts[config.account].lane()


class PartOfNodes:
    """A limiter that is an equal part of what all nodes have; a :class:`~actors.policies.rate_limit.limiter.Limiter`.

    When there are more nodes or fewer it goes on with the tokens that it has, as far as they fit into its new part, so
    that a change lets no burst through.
    """

    def __init__(self, config: QuotaConfig, nodes: int) -> None:
        self._config = config
        self._limiter = make_limiter(config, nodes)

    def divide(self, nodes: int, now_ns: int) -> None:
        """Be one of so many parts from now on."""
        before, self._limiter = self._limiter, make_limiter(self._config, nodes)
        go_on_from(self._limiter, before, WHOLE, now_ns)

    @property
    def active_keys(self) -> int:
        return self._limiter.active_keys

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        return self._limiter.try_acquire(key, now_ns, cost)

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        return self._limiter.fits_at(key, now_ns, cost)

    def forget_idle(self, now_ns: int) -> None:
        self._limiter.forget_idle(now_ns)


class Account:
    """A limiter for several lanes that take turns where they wait, so that none is always the last to ask."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.lanes: list[LaneOfAccount] = []
        self.turn = 0
        """How often one of them was let through."""

    def lane(self) -> LaneOfAccount:
        self.lanes.append(LaneOfAccount(self))
        return self.lanes[-1]


class LaneOfAccount:
    """What a lane sees of the quota of an account; a :class:`~actors.policies.rate_limit.limiter.Limiter`.

    A lane that finds none left is told when there will be again. When that comes, whoever of those that were told was
    served longest ago goes first: another one that asks before is told to ask right after. That is once, so that none
    waits for a lane that does not ask any more.
    """

    __slots__ = ("_account", "_served", "_told_ns", "_yields_ns")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._served = 0
        """The turn in which it was let through last."""
        self._told_ns: int | None = None
        """When it was told to ask again, and has not asked since."""
        self._yields_ns = -1
        """When it was last told that it is another lane's turn: so it is for all of that instant."""

    @property
    def active_keys(self) -> int:
        return self._account.limiter.active_keys

    def try_acquire(self, key: str, now_ns: int, cost: int = 1) -> int:
        fits_at_ns = self._account.limiter.try_acquire(key, now_ns, cost)
        if fits_at_ns == now_ns:
            self._account.turn += 1
            self._served = self._account.turn
        return fits_at_ns

    def fits_at(self, key: str, now_ns: int, cost: int = 1) -> int:
        """Return what :meth:`try_acquire` would, or the next instant where it is the turn of another lane."""
        fits_at_ns = self._account.limiter.fits_at(key, now_ns, cost)
        if fits_at_ns > now_ns:
            self._told_ns = fits_at_ns
            return fits_at_ns
        if self._yields_ns == now_ns:
            return now_ns + 1
        self._told_ns = None
        waiting = (lane for lane in self._account.lanes if lane._waits(now_ns))
        first = min(waiting, key=lambda lane: lane._served, default=None)
        if first is None or first._served >= self._served:
            return now_ns
        first._told_ns = None
        self._yields_ns, self._told_ns = now_ns, now_ns + 1
        return now_ns + 1

    def forget_idle(self, now_ns: int) -> None:
        self._account.limiter.forget_idle(now_ns)

    def _waits(self, now_ns: int) -> bool:
        return self._told_ns is not None and self._told_ns <= now_ns
