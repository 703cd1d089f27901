"""The quotas of a process: each provider's own, the accounts' quotas, and this node's parts of quotas of all nodes."""

from __future__ import annotations

from actors.messages import Message
from actors.policies.rate_limit.limiter import Limiter, go_on_from, make_limiter
from actors.settings.rate_limit import QuotaConfig

WHOLE = ""
"""The one key under which a quota counts."""


class QuotaDivided(Message, frozen=True, gc=False):
    """The part of a process in a quota has changed, so that what waits may go sooner, or has to wait for longer."""


class Quotas:
    """Makes the quotas of all lanes of a process. What the accounts allow is filled in."""

    def __init__(self, nodes: int = 1) -> None:
        """Make no quotas yet; `nodes` is the number of nodes among which the quotas of all nodes are divided."""
        self._accounts: dict[str, Account] = {}
        self._nodes = nodes
        self._divided: list[PartOfNodes] = []

    def divide(self, nodes: int, now_ns: int) -> bool:
        """Divide the quotas of all nodes among `nodes` from now on; tell whether this changes any."""
        if nodes == self._nodes:
            return False
        self._nodes = nodes
        for part in self._divided:
            part.divide(nodes, now_ns)
        return bool(self._divided)

    def limiter(self, config: QuotaConfig) -> Limiter:
        """Return the quota of one more lane: its own, its share of an account's, or this node's part of all nodes'."""
        if config.across == "nodes":
            self._divided.append(PartOfNodes(config, self._nodes))
            return self._divided[-1]
        if config.account is None:
            return make_limiter(config)
        if config.account not in self._accounts:
            self._accounts[config.account] = Account(make_limiter(config))
        return self._accounts[config.account].lane()


class PartOfNodes:
    """One node's equal part of a quota of all nodes; a :class:`~actors.policies.rate_limit.limiter.Limiter`.

    When the number of nodes changes it keeps its tokens, as far as they fit into the new part, so that a change lets no
    burst through.
    """

    def __init__(self, config: QuotaConfig, nodes: int) -> None:
        self._config = config
        self._limiter = make_limiter(config, nodes)

    def divide(self, nodes: int, now_ns: int) -> None:
        """Be one of `nodes` equal parts from now on."""
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
        """How many requests of all lanes were let through."""

    def lane(self) -> LaneOfAccount:
        self.lanes.append(LaneOfAccount(self))
        return self.lanes[-1]


class LaneOfAccount:
    """A lane's view of the quota of an account; a :class:`~actors.policies.rate_limit.limiter.Limiter`.

    If the account's quota is used up, the lane learns when the next token is due. At that instant the waiting lane that
    was served longest ago goes first; a lane that asks earlier is turned away once, for a nanosecond. Only once, so
    that a lane that has stopped asking cannot block the others.
    """

    __slots__ = ("_account", "_served", "_told_ns", "_yields_ns")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._served = 0
        """The account's `turn` when this lane was let through last."""
        self._told_ns: int | None = None
        """The instant at which the lane was told to ask again; None once it has asked."""
        self._yields_ns = -1
        """The instant at which it was last another lane's turn; the lane is turned away for all of that instant."""

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
        first._is_passed_over()
        self._yields_ns, self._told_ns = now_ns, now_ns + 1
        return now_ns + 1

    def forget_idle(self, now_ns: int) -> None:
        self._account.limiter.forget_idle(now_ns)

    def _is_passed_over(self) -> None:
        self._told_ns = None

    def _waits(self, now_ns: int) -> bool:
        return self._told_ns is not None and self._told_ns <= now_ns
