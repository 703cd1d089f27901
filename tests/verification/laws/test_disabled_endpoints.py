"""The invariant of disabled endpoints: histories that break it, and some that do not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from histories import S, breach_of, check_breach, context_of, dead, failed, made, redriven, requested, sent

from actors.endpoints import EndpointMark, EndpointState
from actors.outcomes import Transient

DOWN = Transient(reason="HTTP 503")


def marked(seconds: float, state: str, since: float, **fields: Any) -> Any:
    mark = EndpointMark(state=EndpointState(state), since_ns=round(since * S), until_ns=round((since + 120) * S))
    return failed(seconds, seconds + 1, reason="HTTP 503", kind="Transient", endpoint=mark, **fields)


def context() -> Any:
    return context_of(endpoints={"disable_after": 60})


def disabled(seconds: float) -> Any:
    return msgspec.structs.replace(dead(seconds), reason="the endpoint is disabled")


BEGINS = [
    requested(0),
    made(0, outcome=DOWN),
    marked(1, "suspected", 1),
    made(7, outcome=DOWN),
    marked(8, "failing", 1),
]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([made(59, outcome=DOWN), marked(60, "disabled", 1)], "its attempts have not failed for 60 s yet"),
        ([made(62, outcome=DOWN), marked(63, "disabled", 2)], "no attempt at it failed since"),
        ([sent(9), requested(9), made(62, outcome=DOWN), marked(63, "disabled", 1)], "no attempt at it failed since"),
        ([failed(62, 63, kind="Transient")], "is not disabled, and all attempts at it have failed for 60 s"),
        ([marked(62, "disabled", 1), made(63)], "starts at ann@example.org, which was disabled at"),
        ([disabled(9)], "is dead-lettered since its endpoint is disabled, which it is not"),
        ([marked(62, "disabled", 1), sent(62.5), requested(63), made(63), disabled(64)], "which it is not"),
        ([marked(62, "disabled", 1), dead(62), redriven(63, without_operator=True), made(64)], "starts at"),
    ],
)
def test_what_breaks_it(events, text):
    check_breach("disabled-endpoints", [*BEGINS, *events], text, context())


@pytest.mark.parametrize(
    "events",
    [
        [marked(62, "disabled", 1), disabled(63)],
        [marked(62, "disabled", 1), disabled(63), redriven(64), made(64)],
        [made(61), marked(62, "disabled", 1), sent(63), requested(63), made(64)],
        [failed(62, 63, kind="Transient", throttled=True), failed(63, 64, kind="ChannelFault")],
        [failed(62, 63, kind="Transient", refused=True)],
        [made(62, outcome=DOWN, recipient="Ann <ANN@example.org>"), marked(63, "disabled", 1)],
    ],
)
def test_what_does_not(events):
    assert breach_of("disabled-endpoints", [*BEGINS, *events], context()) is None
