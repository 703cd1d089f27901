"""One circuit breaker for each host of recipients, so that one bad mail server does not close the way to all others."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
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
    """A breaker for each key, made when it is first asked for.

    Memory is bounded twice. A breaker that has not been asked for in `idle_ns` is forgotten, whatever its state; that
    is at least twice the longest open time, so that its open time has passed by then, and all that is lost is its
    counts. And beyond `keys_max` the one that was asked for longest ago is forgotten at once. A forgotten key begins
    anew, and its permits from before are late: its generations go on where the forgotten ones stopped.

    An operator's override applies to every key, also to later ones.

    Args:
        config: What each of them does.
        name: Which group this is; a breaker is named ``name/key``.
        on_transition: Called with the key and the transition.
        random: The stream for the jitter of `open_growth`, shared by all keys.
        keys_max: Breakers kept at most.
        idle_ns: How long one that is not asked for is kept at least.
        sharing: How other nodes take part; None: they do not.

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
        sharing: Sharing | None = None,
    ) -> None:
        if keys_max < 1:
            raise ValueError(f"wanted room for at least 1 breaker, got {keys_max!r}")
        self._config = config
        self._name = name
        self._on_transition = on_transition
        self._random = random
        self._keys_max = keys_max
        self._sharing = sharing
        longest = config.timeout if config.open_growth is None else config.open_growth.max
        self._idle_ns = max(idle_ns, 2 * wait_ns(longest))
        self._first_generation = 1
        self._breakers: OrderedDict[str, tuple[Breaker, int]] = OrderedDict()
        """The longest unused first; with each the instant at which it was last asked for."""
        self._state = self._make("").state
        self._override: BreakerEvent | None = None
        """The operator's latest override."""

    def __len__(self) -> int:
        return len(self._breakers)

    @property
    def begins(self) -> BreakerState:
        """The state that a new one is in, once it has been overridden."""
        return self._state

    def __iter__(self) -> Iterator[tuple[str, Breaker]]:
        """Iterate over the keys and breakers, the longest unused first; touches none of them."""
        return ((key, breaker) for key, (breaker, _) in self._breakers.items())

    def breaker(self, key: str, now_ns: int) -> Breaker:
        """Return the breaker of `key`. `now_ns` never goes back from one call to the next."""
        kept = self._breakers.get(key)
        if kept is None:
            self._forget(now_ns)
            breaker = self._make(key)
        else:
            breaker = kept[0]
        self._breakers[key] = (breaker, now_ns)
        self._breakers.move_to_end(key)
        if kept is None and self._override is not None and self._override in TRANSITIONS[breaker.state]:
            breaker.override(self._override, now_ns)  # a transition as any other, so that the listener knows its state
        return breaker

    def override(self, event: BreakerEvent, now_ns: int) -> bool:
        """Override every breaker, now and in future; return whether that changes anything."""
        changed = False
        after = _STATE_BY_OVERRIDE[event]
        if after is not self._state:
            self._state, changed = after, True
        self._override = event
        for breaker in [breaker for breaker, _ in self._breakers.values()]:
            breaker.advance(now_ns)
            if event in TRANSITIONS[breaker.state]:
                breaker.override(event, now_ns)
                changed = True
        return changed

    def _forget(self, now_ns: int) -> None:
        while self._breakers:
            breaker, used_ns = next(iter(self._breakers.values()))
            if len(self._breakers) < self._keys_max and now_ns - used_ns < self._idle_ns:
                return
            self._first_generation = max(self._first_generation, breaker.generation + 1)
            self._breakers.popitem(last=False)

    def _make(self, key: str) -> Breaker:
        name, on_transition = f"{self._name}/{key}" if key else self._name, self._on_transition
        return Breaker(
            self._config,
            name=name,
            on_transition=None if on_transition is None else lambda transition: on_transition(key, transition),
            random=self._random,
            first_generation=self._first_generation,
            sharing=self._sharing,
        )


_STATE_BY_OVERRIDE = {
    BreakerEvent.FORCE_OPEN: BreakerState.FORCED_OPEN,
    BreakerEvent.DISABLE: BreakerState.DISABLED,
    BreakerEvent.METRICS_ONLY: BreakerState.METRICS_ONLY,
    BreakerEvent.CLOSE: BreakerState.CLOSED,
}
