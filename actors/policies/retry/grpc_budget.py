"""Retry throttling as in gRPC: tokens that failures take and successes give back."""

from __future__ import annotations

from actors.policies.retry.policy import FailureKind


class GrpcBudget:
    """A failure takes one token, a success gives `token_ratio`; retries only while more than half of all are there.

    After gRPC's proposal A6, "Throttling Retry Attempts and Hedged RPCs". Tokens are counted in thousandths, as A6 asks
    (at 0.1 a success, floats need 51 successes for 50). Retries themselves cost nothing, so what is bounded is not
    their number but the failures among all attempts: at one failure in ``1 + 1 / token_ratio`` it keeps its level.

    Raises:
        ValueError: `max_tokens` or `token_ratio` is less than a thousandth.
    """

    __slots__ = ("_max", "_ratio", "_tokens")

    def __init__(self, max_tokens: float, token_ratio: float) -> None:
        self._max, self._ratio = _thousandths(max_tokens), _thousandths(token_ratio)
        self._tokens = self._max

    @property
    def tokens(self) -> float:
        """How many are there."""
        return self._tokens / 1000

    def start(self, charge: int, now_ns: int) -> None:
        """Nothing depends on it."""

    def end(self, charge: int, succeeded: bool | None, now_ns: int) -> None:
        """Take or give what the end of an attempt takes or gives."""
        if succeeded:
            self._tokens = min(self._max, self._tokens + self._ratio)
        elif succeeded is not None:
            self._tokens = max(0, self._tokens - 1000)

    def try_retry(self, kind: FailureKind, now_ns: int) -> int | None:
        """Return 1 if more than half of the tokens are there, else None. The same holds for a hedge."""
        return 1 if 2 * self._tokens > self._max else None

    def give_back(self, charge: int, now_ns: int) -> None:
        """Nothing was taken."""

    def reconfigure(self, max_tokens: float, token_ratio: float) -> None:
        """Take other settings from now on; what is there keeps its share of what there is at most."""
        ceiling, ratio = _thousandths(max_tokens), _thousandths(token_ratio)
        self._tokens = self._tokens * ceiling // self._max
        self._max, self._ratio = ceiling, ratio


def _thousandths(tokens: float) -> int:
    count = round(tokens * 1000)
    if count < 1:
        raise ValueError(f"wanted at least a thousandth of a token, got {tokens!r}")
    return count
