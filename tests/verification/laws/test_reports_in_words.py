"""Breaches, as people read them: the settings with their values, and no reprs of Python."""

import re

import msgspec
import pytest
from each_row import over_each
from histories import (
    EMAIL,
    breaker,
    check_breach,
    context_of,
    crashed,
    dead,
    failed,
    let_through,
    made,
    redriven,
    requested,
    sent,
    settled,
    suppressed,
    told,
)

from actors.event_words import class_in_words, what_happened
from actors.messages import RecordedEvent
from actors.pipeline.channel import Channel
from actors.pipeline.handler import Handler
from simulation.invariants import Context
from simulation.verification.laws.text import history_lines, line, message_text, named

OPENS = breaker(10, "closed", "open", "trip")


def test_a_breach_names_the_setting_with_its_value():
    check_breach("open-breaker", [OPENS, let_through(11)], "(channels.email.circuit_breaker.timeout = 1m)")
    drops = {"rate": "2/10s", "on_limit": "drop"}
    three = [let_through(0), let_through(1), let_through(2)]
    check_breach("quota", three, "(channels.email.quota = {rate: 2/10s, on_limit: drop})", context_of(quota=drops))
    late = msgspec.structs.replace(sent(11), started_ns=0)
    check_breach("in-time", [requested(0), made(0), late], "(channels.email.timeout = 10s)")


def test_a_further_provider_names_its_own_settings_and_those_it_has_from_the_channel():
    context = context_of(quota={"rate": "2/s"}, timeout=3, failover={"backup": {"quota": {"rate": "1/s"}}})
    assert named(context, ["quota", "timeout", "hedging"], (EMAIL, "backup")) == [
        "channels.email.failover.backup.quota = {rate: 1/s}",
        "channels.email.timeout = 3s",
    ]
    assert named(context, ["quota"], (EMAIL, "primary")) == ["channels.email.quota = {rate: 2/s}"]
    assert named(context, ["quota"], None) == []


def test_settings_of_the_whole_need_no_channel():
    context = Context(channels=context_of().channels, max_pending=20)
    paths = ["max_pending", "remember_ids", "dead_letters.keep"]
    assert named(context, paths, None) == ["max_pending = 20", "remember_ids = 24h"]


PASSES = let_through(1)

ALL = [
    *(requested(0), sent(1), failed(1, 2), failed(1), dead(1), suppressed(1), redriven(1), crashed(1), OPENS),
    *(made(1), made(1, answered=False), PASSES, settled(2, PASSES), told(1, Handler, Channel, object())),
]


@over_each(ALL)
def test_no_line_has_a_repr_in_it(each):
    text = line(each)
    assert not re.search(r"[A-Z]\w+\(|<|=|None|_", text), text


@pytest.mark.parametrize("event", [each for each in ALL if isinstance(each, RecordedEvent)])
def test_an_event_is_in_the_words_of_the_console(event):
    assert what_happened(event) in line(event)


def test_lines_of_several_notifications_say_of_which():
    assert history_lines([requested(0, "a"), sent(1, "a")])[0].endswith("s  Accepted on email for ann")
    assert history_lines([requested(0, "a"), sent(1, "b")])[1].endswith("s  b: Sent with attempt 1")


def test_messages_and_actors_are_in_words():
    assert class_in_words("CircuitBreakerActor") == "circuit breaker"
    assert message_text(PASSES.message) == "attempt 1 of n (admitted)"
    assert message_text(settled(2, PASSES).message) == "attempt 1 of n (sent)"
    assert message_text(PASSES.message.attempt.command) == "n (send notification)"
