"""What breaks the laws of what nodes share: their breakers, and what one leaves to others."""

from __future__ import annotations

from typing import Any

from histories import breach_of, breaker, context_of, made
from msgspec.structs import replace

from actors.messages import ActorFailed, BreakerTransitioned, NodeTookOver
from actors.pipeline.handler import Handler
from simulation.invariants import Context
from simulation.verification.laws.observations import ActorStarted

NAME = "shared-breakers"
S = 1_000_000_000


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


def starts(seconds: float, *nodes: int) -> list[ActorStarted]:
    return [ActorStarted(at_ns=round(seconds * S), node=node, actor=f"of {node}", kind=Handler) for node in nodes]


def dies(node: int, seconds: float, error: str = "InjectedCrash: crash") -> ActorFailed:
    return ActorFailed(
        at_ns=round(seconds * S), epoch_ns=0, node=node, actor="process", error=error, decision="restart"
    )


def takes_over(node: int, of: int, seconds: float) -> NodeTookOver:
    return NodeTookOver(at_ns=round(seconds * S), epoch_ns=0, node=node, from_node=of, notification_ids=("n",))


def test_a_quorum_is_more_than_half_of_the_nodes():
    context = of_nodes(5, shared="quorum")
    five, two = starts(0, 1, 2, 3, 4, 5), [trips(1, 10), trips(2, 11)]
    assert "and 2 do, of at least 3" in (text_of(*five, *two, is_told(3, 12), context=context) or "")
    context = of_nodes(5, shared="quorum")
    assert text_of(*five, *two, trips(4, 11), is_told(3, 12), context=context) is None


def test_a_quorum_is_of_those_that_live():
    five, gone, two = starts(0, 1, 2, 3, 4, 5), [dies(4, 1), dies(5, 1)], [trips(1, 10), trips(2, 11)]
    text = "n is sent by node 3, and 2 others say since 12 s that breaker email is open, of 2 that it takes"
    assert text in (text_of(*five, *gone, *two, sent(3, 13), context=of_nodes(5, shared="quorum")) or "")
    back = starts(9, 4, 5)
    assert text_of(*five, *gone, *back, *two, sent(3, 13), context=of_nodes(5, shared="quorum")) is None
    leased = of_nodes(5, shared="quorum")
    leased.takeover_after_ns = 30 * S
    assert text_of(*five, *gone, *two, sent(3, 13), context=leased) is None


def test_what_a_node_had_is_taken_over_when_its_lease_is_over():
    def text_of_takeover(*events: Any) -> str:
        context = of_nodes(3)
        context.takeover_after_ns = 30 * S
        breach = breach_of("takeovers", [*starts(0, 1, 2, 3), *events], context)
        return "" if breach is None else breach.message

    assert text_of_takeover(dies(1, 5), takes_over(2, 1, 35)) == ""
    assert text_of_takeover(dies(1, 5, "Stopped: stopped"), takes_over(2, 1, 5)) == ""
    assert "whose lease is over at 35 s" in text_of_takeover(dies(1, 5), takes_over(2, 1, 34))
    twice = dies(1, 5), *starts(10, 1), dies(1, 20)
    assert "whose lease is over at 50 s" in text_of_takeover(*twice, takes_over(2, 1, 35))
    assert "which is there" in text_of_takeover(dies(1, 5), *starts(10, 1), takes_over(2, 1, 35))
    assert "node 2 is there since before that" in text_of_takeover(dies(1, 5), takes_over(2, 1, 40))
    none_left = dies(1, 5), dies(2, 6), dies(3, 7)
    assert text_of_takeover(*none_left, *starts(60, 2), takes_over(2, 1, 60)) == ""


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


def test_nobody_takes_back_what_a_process_has_said_that_has_died():
    ordered = at(1, 13, "closed", "forced-open", "force-open")
    assert text_of(trips(1, 10), dies(1, 12), ordered, is_told(2, 15)) is None
    assert "and 0 do" in (text_of(trips(1, 10), ordered, is_told(2, 15)) or "")
