"""A provider whose answers are written down: they come in the order of the attempts, whatever else is said of it."""

import pytest
from hypothesis import given, strategies as st
from provider_attempts import ATTEMPT

import simulation
from actors.errors import ConfigurationError
from actors.faults.conditions import NEVER_NS
from actors.faults.provider import SimulatedProvider
from actors.kernel.randomness import RandomStreams
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Sent, Transient
from actors.settings.faults import FaultConfig
from actors.settings.script import ScriptedAnswer
from simulation.scenario import parse

KINDS = {
    "sent": Sent, "transient": Transient, "throttled": Transient, "permanent": Permanent,
    "dead_destination": DeadDestination, "channel_fault": ChannelFault, "ambiguous": Ambiguous,
}  # fmt: skip
GOES_WRONG = {"failure_rate": 0.4, "latency": 0.25, "capacity": 2, "per_in_flight": 0.1}


def answers():
    timed = st.builds(ScriptedAnswer, outcome=st.sampled_from([*KINDS]), latency=st.sampled_from([0.0, 0.08, 5.0]))
    return st.lists(timed | st.builds(ScriptedAnswer, outcome=st.sampled_from(["lost", "hang"])), max_size=6)


@given(answers(), st.integers(0, 5))
def test_the_first_answers_are_as_written_and_all_else_as_if_they_had_not_been(script, seed):
    fault = FaultConfig.model_validate({"channel": "sms", "fail_first": 1, "latency": 2})
    scripted, plain = (
        SimulatedProvider(**GOES_WRONG, script=given, faults=[fault], streams=RandomStreams(seed))
        for given in (script, [])
    )
    for answer in script:
        delivered = scripted.delivered
        got = scripted.attempt(ATTEMPT, 0)
        assert scripted.delivered - delivered == (answer.outcome in ("sent", "lost"))
        if answer.outcome in KINDS:
            assert (got.delay_ns, type(got.result)) == (round(answer.latency * 1e9), KINDS[answer.outcome])
            assert getattr(got.result, "throttled", False) == (answer.outcome == "throttled")
        else:
            assert got.delay_ns == NEVER_NS
    for now_ns in range(0, 10**10, 10**9):
        assert scripted.attempt(ATTEMPT, now_ns) == plain.attempt(ATTEMPT, now_ns)


def test_a_reason_and_a_wait_are_what_the_provider_says():
    script = [{"outcome": "throttled", "retry_after": 7.0, "reason": "too fast"}, {}]
    provider = SimulatedProvider(script=script)
    outcome = provider.attempt(ATTEMPT, 0).result
    assert (outcome.reason, outcome.retry_after, outcome.throttled) == ("too fast", 7.0, True)
    assert provider.attempt(ATTEMPT, 0).result == Sent()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("{outcome: sent, retry_after: 5s}", "wanted retry_after only with outcome: transient or throttled, got sent"),
        ("{outcome: sent, reason: why}", "wanted reason only with an outcome that is a failure, got sent"),
        ("{outcome: hang, latency: 1s}", "wanted no latency with outcome: hang, where no answer comes"),
        ("{outcome: late}", "wanted one of sent, transient, "),
        ("sent", r"wanted an answer such as \{outcome: transient, latency: 80ms\}"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(answer, problem):
    text = "duration: 1s\nworkload: [{channel: sms, arrivals: {constant: 1/s}}]\n"
    with pytest.raises(ConfigurationError, match=problem):
        parse(f"{text}channels: {{sms: {{provider: {{script: [{answer}]}}}}}}")


def test_each_provider_of_a_channel_has_its_own_and_both_clocks_follow_it():
    scenario = parse("""
duration: 3s
workload: [{channel: sms, arrivals: {times: [0s, 1s]}}]
channels:
  sms:
    retry: {max_attempts: 2, initial_delay: 500ms}
    switch_after: 1
    provider: {script: [{outcome: transient, reason: first}, {outcome: sent, latency: 20ms}]}
    failover: {backup: {provider: {script: [{outcome: permanent, latency: 3ms, reason: second}]}}}
faults: [{channel: sms, outage: true}]
""")
    simulated, live = (simulation.run(scenario, runtime=runtime, invariants="all") for runtime in ("simpy", "trio"))
    assert simulated.history == live.history
    told = [
        (type(event).__name__, event.at_ns / 1e9, event.provider, getattr(event, "reason", None))
        for event in simulated.history
        if type(event).__name__ in ("NotificationSent", "NotificationFailed")
    ]
    assert told == [
        ("NotificationFailed", 0.0, "primary", "first"),
        ("NotificationFailed", 0.503, "backup", "second"),
        ("NotificationSent", 1.02, "primary", None),
    ]
