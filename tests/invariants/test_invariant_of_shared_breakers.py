"""What breaks the law of breakers that nodes share: each breach is the last event of a short history."""

from __future__ import annotations

from typing import Any

from histories import breach_of, breaker, context_of, made
from msgspec.structs import replace

from actors.messages import ActorFailed, BreakerTransitioned
from simulation.invariants import Context

NAME = "shared-breakers"


def of_nodes(nodes: int = 3, faults: Any = (), **circuit_breaker: Any) -> Context:
    settings = {"timeout": "60s", "shared": "any", "share_latency": "1s", **circuit_breaker}
    context = context_of(faults, circuit_breaker=settings)
    context.nodes = nodes
    return context


def at(node: int, seconds: float, before: str, after: str, cause: str) -> BreakerTransitioned:
    return breaker(seconds, before, after, cause, breaker=f"email@{node}", node=node)


def trips(node: int, seconds: float) -> BreakerTransitioned:
    return at(node, seconds, "closed", "open", "trip")


def is_told(node: int, seconds: float) -> BreakerTransitioned:
    return at(node, seconds, "closed", "open", "others-open")


def sent(node: int, seconds: float) -> Any:
    return replace(made(seconds), node=node)


def text_of(*events: Any, context: Context | None = None) -> str | None:
    breach = breach_of(NAME, events, context or of_nodes())
    return None if breach is None else breach.message


def test_others_open_one_only_while_they_say_so():
    assert text_of(trips(1, 10), is_told(2, 11), is_told(3, 70)) is None
    assert "opens as others say so, and 0 do, of at least 1" in (text_of(trips(1, 10), is_told(2, 10.9)) or "")
    assert "and 0 do" in (text_of(trips(1, 10), is_told(2, 70.1)) or "")
    assert "and 0 do" in (text_of(trips(2, 10), is_told(2, 12)) or "")


def test_what_one_has_only_been_told_is_no_word_of_its_own():
    late = [trips(1, 10), is_told(2, 60), is_told(3, 71)]
    assert "and 0 do" in (text_of(*late) or "")


def test_a_quorum_is_more_than_half_of_the_nodes():
    context = of_nodes(5, shared="quorum")
    assert "and 2 do, of at least 3" in (text_of(trips(1, 10), trips(2, 11), is_told(3, 12), context=context) or "")
    context = of_nodes(5, shared="quorum")
    assert text_of(trips(1, 10), trips(2, 11), trips(4, 11), is_told(3, 12), context=context) is None


def test_nothing_is_sent_while_others_say_so():
    assert text_of(trips(1, 10), sent(2, 11), sent(1, 12), sent(2, 70)) is None
    text = "n is sent by node 2, and 1 others say since 11 s that breaker email is open, of 1 that it takes"
    assert text in (text_of(trips(1, 10), sent(2, 11.1)) or "")


def test_it_may_be_where_they_may_not_be_heard_any_more():
    died = ActorFailed(at_ns=12 * 10**9, epoch_ns=0, node=1, actor="process", error="", decision="restart")
    assert text_of(trips(1, 10), died, sent(2, 13)) is None
    closed = at(1, 12, "open", "closed", "close")
    assert text_of(trips(1, 10), closed, sent(2, 13.1)) is None
    overridden = at(2, 12, "open", "closed", "close")
    assert text_of(trips(1, 10), is_told(2, 11), overridden, sent(2, 13)) is None
