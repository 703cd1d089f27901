"""Failure rules of the user's: what they get of the load, what their answers mean, and when they are asked."""

import pytest
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT, S, fault
from worlds import Scripted

import simulation
from actors.domain.attempts import Attempt
from actors.errors import ConfigurationError
from actors.faults.chaos import FaultyProvider
from actors.faults.provider import NEVER_NS, SimulatedProvider
from actors.faults.queue import Load
from actors.messages import NotificationChannel
from actors.outcomes import Ambiguous, Outcome, Permanent, Sent, Transient
from simulation.scenario import parse

OVERLOADED = Transient(reason="overloaded")


class Spy:
    """A rule that writes down what it gets, and lets the rest decide, or gives this outcome."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.asked_with: list[tuple[float, Load]] = []
        self.outcome = outcome

    def __call__(self, attempt: Attempt, now_ns: int, load: Load) -> Outcome | None:
        self.asked_with.append((now_ns / S, load))
        return self.outcome


# ── the load ────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    capacity=st.none() | st.integers(1, 3),
    failing=st.sampled_from([{}, {"failure_rate": 0.5}, {"lost_reply_rate": 0.5}, {"capacity": 1, "at": 5, "for": 5}]),
    arrivals=st.lists(st.integers(0, 12), max_size=25).map(sorted),
)
def test_the_load_is_what_a_count_over_all_that_went_before_gives(capacity, failing, arrivals):
    spy = Spy()
    faults = [fault(**failing)] if failing else []
    provider = SimulatedProvider(latency=2, capacity=capacity, faults=faults, rules=[spy])
    # A lost reply is work as any other, so its end is that of an attempt whose reply is not lost.
    twin = SimulatedProvider(latency=2, capacity=capacity, faults=[] if "lost_reply_rate" in failing else faults)
    spans: list[tuple[float, float, bool]] = []
    for at in arrivals:
        before = twin.delivered
        end = at + twin.attempt(ATTEMPT, at * S).delay_ns / S
        spans.append((end - 2, end, twin.delivered > before))
        provider.attempt(ATTEMPT, at * S)
        now, load = spy.asked_with[-1]
        earlier = spans[:-1]
        assert now == at
        assert load.in_service == sum(start <= at < end for start, end, _ in earlier)
        assert load.queued == sum(at < start for start, _, _ in earlier)
        assert load.under_way == load.in_service + load.queued
        assert load.delivered == sum(end <= at and delivered for _, end, delivered in earlier)


def test_what_is_not_worked_on_is_no_load():
    spy = Spy()
    faults = [fault(**{"for": 1}, hang=True), fault(at=1, **{"for": 1}, outage=True)]
    provider = SimulatedProvider(latency=9, faults=faults, rules=[spy])
    for at in (0, 1, 2, 3):
        provider.attempt(ATTEMPT, at * S)
    assert [(at, load.under_way) for at, load in spy.asked_with] == [(2, 0), (3, 1)]


# ── the answer ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_rule_that_answers_decides():
    silent, first, second = Spy(), Spy(OVERLOADED), Spy(Permanent(reason="never asked"))
    provider = SimulatedProvider(latency=2, rules=[silent, first, second])
    effect = provider.attempt(ATTEMPT, 0)
    assert (effect.delay_ns, effect.result) == (2 * S, OVERLOADED)
    assert [len(rule.asked_with) for rule in (silent, first, second)] == [1, 1, 0]


@pytest.mark.parametrize(("keys", "asked"), [
    ({"hang": True}, False), ({"outage": True}, False), ({"throttle": {"rate": "1/h"}}, False),
    ({"fail_first": 1}, True), ({"failure_rate": 1}, True), ({"lost_reply_rate": 1}, True),
])  # fmt: skip
def test_rules_stand_between_outages_and_what_chance_decides(keys, asked):
    spy = Spy(OVERLOADED)
    provider = SimulatedProvider(faults=[fault(**keys)], rules=[spy])
    if "throttle" in keys:
        provider.attempt(ATTEMPT, 0)
        spy.asked_with.clear()
    assert (provider.attempt(ATTEMPT, 0).result == OVERLOADED) is asked
    assert len(spy.asked_with) == asked


def test_a_first_failure_is_kept_for_an_attempt_that_no_rule_decides_about():
    rules = [lambda attempt, now_ns, load: OVERLOADED if now_ns < S else None]
    provider = SimulatedProvider(fail_count=1, rules=rules)
    outcomes = [provider.attempt(ATTEMPT, at * S).result for at in (0, 1, 2)]
    assert outcomes == [OVERLOADED, Transient(reason="injected failure"), Sent()]


@pytest.mark.parametrize(
    ("outcome", "answers"),
    [
        (OVERLOADED, [2, 4, 6]),
        (Ambiguous(reason="who knows"), [2, 4, 6]),
        (Transient(reason="busy", throttled=True), [2, 2, 2]),
        (Transient(reason="refused", connection=True), [2, 2, 2]),
    ],
)
def test_a_refusal_at_admission_takes_up_no_capacity_and_failed_work_does(outcome, answers):
    provider = SimulatedProvider(latency=2, capacity=1, rules=[Spy(outcome)])
    assert [provider.attempt(ATTEMPT, 0).delay_ns / S for _ in range(3)] == answers
    assert provider.delivered == 0


def test_a_rule_may_have_an_attempt_succeed_whatever_is_drawn():
    provider = SimulatedProvider(failure_rate=1, faults=[fault(lost_reply_rate=1)], rules=[Spy(Sent(answer="250 OK"))])
    effect = provider.attempt(ATTEMPT, 0)
    assert effect.result == Sent(answer="250 OK")
    assert effect.delay_ns < NEVER_NS
    assert provider.delivered == 1


def test_a_rule_leaves_the_draws_of_later_attempts_as_it_was():
    ruled = SimulatedProvider(0.5, rules=[lambda attempt, now_ns, load: OVERLOADED if now_ns < 50 else None])
    plain = SimulatedProvider(0.5)
    one, other = ([each.attempt(ATTEMPT, at).result for at in range(200)] for each in (ruled, plain))
    assert one[:50] == [OVERLOADED] * 50
    assert one[50:] == other[50:]


def test_what_cannot_be_called_is_no_rule():
    with pytest.raises(ConfigurationError) as refused:
        SimulatedProvider(rules=[Spy(), "overloaded"])
    assert refused.value.problems == ["rules.1: wanted a function (attempt, now_ns, load), got 'overloaded'"]


# ── in the pipeline and in a run ────────────────────────────────────────────────────────────────────────────────


COLLAPSE = """
duration: 30s
workload:
  - {channel: sms, arrivals: {constant: 10/s}}
  - {channel: push, arrivals: {constant: 10/s}}
channels:
  sms: {provider: {latency: 200ms, capacity: 1}, retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}
  push: {provider: {latency: 200ms}}
"""


def sheds_load(attempt: Attempt, now_ns: int, load: Load) -> Outcome | None:
    return Transient(reason="shed", throttled=True) if load.queued >= 3 else None


@pytest.mark.parametrize("channel", ["sms", NotificationChannel.SMS])
def test_rules_reach_a_run_by_channel(channel):
    result = simulation.run(parse(COLLAPSE), rules={channel: [sheds_load]})
    push, sms = result.summary["channels"]["push"], result.summary["channels"]["sms"]
    assert push["sent"] == push["accepted"] == 300
    # 5 a second for thirty seconds, and what was queued then.
    assert sms["sent"] == 150 + 3
    assert {letter.reason for letter in result.dlq.itertuples()} == {"shed"}
    assert result.history == simulation.run(parse(COLLAPSE), rules={channel: [sheds_load]}, runtime="trio").history


def test_rules_of_a_channel_that_is_not_used_are_refused():
    with pytest.raises(ConfigurationError) as refused:
        simulation.run(parse(COLLAPSE), rules={"sms": [sheds_load], "webhook": [sheds_load], "telex": []})
    assert refused.value.problems == [
        "rules: wanted a channel that the scenario uses (sms, push), got 'webhook'",
        "rules: wanted a channel that the scenario uses (sms, push), got 'telex'",
    ]


@pytest.mark.parametrize("rules", [[], 0, 5, [sheds_load]])
def test_rules_that_are_no_mapping_are_refused_also_where_they_are_empty(rules):
    with pytest.raises(ConfigurationError, match="rules: wanted a mapping from channels to their rules, got "):
        simulation.run(parse(COLLAPSE), rules=rules)


# ── a rule that fails ───────────────────────────────────────────────────────────────────────────────────────────────


def raises(attempt, now_ns, load):
    raise KeyError("no such destination")


def answers_nonsense(attempt, now_ns, load):
    return "sent"


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [(raises, KeyError, "no such destination"), (answers_nonsense, TypeError, "wanted an outcome or None")],
)
@pytest.mark.parametrize("is_own", [False, True])
def test_a_rule_that_raises_ends_a_simulated_run_with_its_traceback(rule, error, text, runtime, is_own):
    how = {"rules": {"sms": [rule]}}
    if is_own:
        how = {"providers": {"sms": SimulatedProvider(rules=[rule]), "push": SimulatedProvider()}}
    with pytest.raises(error, match=text) as raised:
        simulation.run(parse(COLLAPSE), runtime=runtime, **how)
    if rule is raises:
        assert raised.traceback[-1].name == "raises"


def test_a_rule_that_raises_live_is_logged_once_and_decides_nothing(caplog):
    provider = SimulatedProvider(rules=[raises, Spy(OVERLOADED)])
    assert [provider.attempt(ATTEMPT, second * S).result for second in range(3)] == [OVERLOADED] * 3
    (logged,) = caplog.records
    place = f"{__file__}:{raises.__code__.co_firstlineno + 1}"
    assert logged.getMessage() == f"failure rule 0, raises, raised at {place}; it decides nothing of such an attempt"
    assert logged.exc_info is not None


def test_live_the_attempts_of_a_rule_that_raises_go_to_the_transport(caplog):
    transport = Scripted()
    provider = FaultyProvider(transport, [], rules=[raises])
    assert [provider.attempt(ATTEMPT, second).result for second in range(5)] == [Sent()] * 5
    assert (len(transport.tries), len(caplog.records)) == (5, 1)
