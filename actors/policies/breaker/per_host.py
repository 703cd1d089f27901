"""One circuit breaker for each host of recipients, so that one bad mail server does not close the way to all others; or
one for all of a provider."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from functools import partial
from random import Random
from urllib.parse import urlsplit

import msgspec

from actors.instants import NS_PER_S, wait_ns
from actors.messages import BreakerState
from actors.policies.breaker.breaker import Breaker
from actors.policies.breaker.sharing import Sharing
from actors.policies.breaker.states import KEYS_MAX, TRANSITIONS, BreakerEvent, Transition
from actors.settings.breaker import CircuitBreakerConfig

_JSON_SPACE = " \t\r\n"
IDLE_NS = 3600 * NS_PER_S

WHOLE_LANE = ""
"""The host, or the key of a count, that stands for the whole lane."""

_NO_NEWS = frozenset({BreakerEvent.OTHERS_OPEN, BreakerEvent.WAIT_OVER})
"""Transitions that are no news to other nodes: they have caused them, or know since the opening when it ends."""


class _Subscription(msgspec.Struct):
    """The endpoint in a Web Push subscription; everything else in it is passed over."""

    endpoint: str


_subscription = msgspec.json.Decoder(_Subscription)


def recipient_host(recipient: str) -> str:
    """Return the host of a recipient, in lower case: of a URL, of the endpoint in a Web Push subscription (as JSON), or
    the domain of an email address; else ``""``.

    So recipients that have none (a phone number, a device token) share one key.
    """
    if recipient.lstrip(_JSON_SPACE).startswith("{"):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError):  # a mailbox may begin so too
            recipient = _subscription.decode(recipient).endpoint
    if "://" in recipient:
        try:
            host = urlsplit(recipient).hostname or ""
        except ValueError:  # Not a URL after all, such as one with half an IPv6 address.
            return ""
    else:
        host = recipient.rpartition("@")[2] if "@" in recipient else ""
    return host.strip().rstrip(".>").lower()


class BreakerGroup:
    """The circuit breakers of one provider: one for all recipients, or one for each of their hosts.

    Iterating gives each breaker behind its host, the longest unused first, and touches none of them.

    The breaker of a host is made when it is first asked for, and memory is bounded twice. A breaker that has not been
    asked for in `idle_ns` is forgotten, whatever its state; that is at least twice the longest open time, so that its
    open time has passed by then, and all that is lost is its counts. And beyond `keys_max` the one that was asked for
    longest ago is forgotten at once. A forgotten host begins anew, and its permits from before are late: its
    generations go on where the forgotten ones stopped.

    An operator's override applies to every host, also to later ones. Nodes that share breakers tell each other when
    theirs open and close.

    Args:
        config: What each of them does.
        name: Which group this is; the breaker of a host is named ``name/host``.
        on_transition: Called with the host, :data:`WHOLE_LANE` for the only one, and the transition.
        random: The stream for the jitter of `open_growth`, shared by all hosts.
        keys_max: Breakers kept at most.
        idle_ns: How long one that is not asked for is kept at least.

    Raises:
        ValueError: `config` asks for jitter, and `random` is None; or `keys_max` is less than 1.
    """

    def __init__(
        self,
        config: CircuitBreakerConfig,
        *,
        name: str = "",
        on_transition: Callable[[str, Transition], None] | None = None,
        random: Random | None = None,
        keys_max: int = KEYS_MAX,
        idle_ns: int = IDLE_NS,
    ) -> None:
        if keys_max < 1:
            raise ValueError(f"wanted room for at least 1 breaker, got {keys_max!r}")
        self._config = config
        self._name = name
        self._on_transition = on_transition
        self._say: Callable[[str, int | None], None] | None = None
        self._random = random
        self._keys_max = keys_max
        self._sharing = None if config.shared == "none" else Sharing(config.shared)
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        self._idle_ns = max(idle_ns, 2 * wait_ns(longest))
        self._first_generation = 1
        self._breakers: OrderedDict[str, tuple[Breaker, int]] = OrderedDict()
        """The longest unused first; with each the instant at which it was last asked for."""
        self.begins = config.begins
        """The state that a new one is in, once it has been overridden."""
        self._override: BreakerEvent | None = None
        """The operator's latest override."""
        whole = self._make(WHOLE_LANE)
        self.only = None if config.per == "host" else whole
        """The one breaker; None: each host has one."""
        if self.only is not None:
            self._breakers[WHOLE_LANE] = whole, 0

    def __len__(self) -> int:
        return len(self._breakers)

    def __iter__(self) -> Iterator[tuple[str, Breaker]]:
        return ((host, breaker) for host, (breaker, _) in self._breakers.items())

    def of(self, host: str, now_ns: int) -> Breaker:
        """Return the breaker that decides about `host`. `now_ns` never goes back from one call to the next."""
        if self.only is not None:
            return self.only
        kept = self._breakers.get(host)
        if kept is None:
            self._forget(now_ns)
            breaker = self._make(host)
        else:
            breaker = kept[0]
        self._breakers[host] = (breaker, now_ns)
        self._breakers.move_to_end(host)
        if kept is None and self._override is not None and self._override in TRANSITIONS[breaker.state]:
            breaker.override(self._override, now_ns)  # a transition as any other, so that the listener knows its state
        return breaker

    def override(self, event: BreakerEvent, now_ns: int) -> bool:
        """Override every breaker, now and in future; return whether that changes anything."""
        after = _STATE_BY_OVERRIDE[event]
        changed = after is not self.begins
        self.begins = after
        self._override = event
        for _, breaker in list(self):
            breaker.advance(now_ns)
            if event in TRANSITIONS[breaker.state]:
                breaker.override(event, now_ns)
                changed = True
        return changed

    @property
    def are_shared(self) -> bool:
        """Whether other nodes have a say in whether they are open."""
        return self._sharing is not None

    def share(self, say: Callable[[str, int | None], None]) -> None:
        """Call a function from now on with a host and until when its breaker is open by its own calls; None: it is not
        any more."""
        self._say = say

    def hear(self, node: int, host: str, until_ns: int | None, now_ns: int) -> None:
        """Take in until when another node says that the breaker of a host is open; None: it does not say so."""
        self.of(host, now_ns).hear(node, until_ns, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        """Take in which nodes live now, this one included."""
        if self._sharing is not None:
            self._sharing.count(len(nodes))
            for _, breaker in list(self):
                breaker.recount(nodes, now_ns)

    def _forget(self, now_ns: int) -> None:
        while self._breakers:
            breaker, used_ns = next(iter(self._breakers.values()))
            if len(self._breakers) < self._keys_max and now_ns - used_ns < self._idle_ns:
                return
            self._first_generation = max(self._first_generation, breaker.generation + 1)
            self._breakers.popitem(last=False)

    def _make(self, host: str) -> Breaker:
        return Breaker(
            self._config,
            name=f"{self._name}/{host}" if host else self._name,
            on_transition=partial(self._transition, host),
            random=self._random,
            first_generation=self._first_generation,
            sharing=self._sharing,
        )

    def _transition(self, host: str, transition: Transition) -> None:
        if self._on_transition is not None:
            self._on_transition(host, transition)
        if self._say is None or transition.event in _NO_NEWS:
            return
        if transition.to_state is BreakerState.OPEN:
            self._say(host, transition.reopen_at_ns)
        elif transition.from_state is BreakerState.OPEN:
            self._say(host, None)


_STATE_BY_OVERRIDE = {
    BreakerEvent.FORCE_OPEN: BreakerState.FORCED_OPEN,
    BreakerEvent.DISABLE: BreakerState.DISABLED,
    BreakerEvent.METRICS_ONLY: BreakerState.METRICS_ONLY,
    BreakerEvent.CLOSE: BreakerState.CLOSED,
}
