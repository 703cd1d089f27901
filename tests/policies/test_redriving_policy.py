"""Which letters are redriven without an operator, and when: the policy alone."""

from hypothesis import given, strategies as st

from actors.policies.redriving import Redriving
from actors.settings.base import validated
from actors.settings.redrive import RedriveConfig

S = 10**9


def of(**settings):
    return Redriving(validated(RedriveConfig, settings))


def test_none_goes_before_its_host_answers_and_then_the_oldest_first_at_the_rate():
    policy = of(rate="2/s")
    for name in ("a", "b", "c"):
        policy.keep(name, "", "outage", 0)
    assert (policy.take(0), policy.wake_ns) == (None, None)
    policy.begin("")
    taken = []
    for now_ns in range(5 * S, 7 * S, S // 4):
        name = policy.take(now_ns)
        if name is not None:
            policy.drop(name, "")
            policy.charge(now_ns)
            taken.append((name, now_ns / S))
    assert taken == [("a", 5.0), ("b", 5.5), ("c", 6.0)]
    assert policy.wake_ns is None


def test_hosts_take_turns_and_one_that_is_shut_again_waits():
    policy = of(rate="1/s")
    for name, host in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
        policy.keep(name, host, "outage", 0)
    policy.begin()
    assert [policy.take(0) for _ in range(3)] == ["a1", "b1", "a2"]
    policy.end("b")
    assert policy.take(0) is None
    policy.begin("b")
    assert policy.take(0) == "b1"  # those that were skipped are there still


def test_what_leaves_the_queue_or_is_not_meant_any_more_has_no_turn():
    policy = of(at_most=2, reasons=["channel_fault"])
    for name, reason, times in (
        ("a", "channel_fault", 1),
        ("b", "outage", 0),
        ("c", None, 0),
        ("d", "channel_fault", 2),
    ):
        policy.keep(name, "", reason, times)
    policy.keep("e", "", "channel_fault", 0)
    policy.begin("")
    policy.keep("a", "", "channel_fault", 2)  # it has been redriven meanwhile, and has died again
    assert [policy.take(0), policy.take(0)] == ["e", None]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.booleans()), max_size=30))
def test_each_letter_goes_no_more_often_than_it_may(steps):
    """Each step keeps a letter that has died once more, and perhaps its host answers."""
    policy, times, now_ns = of(at_most=3), {}, 0
    for name, host, answers in steps:
        key = name + host
        policy.keep(key, host, "outage", times.get(key, 0))
        if answers:
            policy.begin(host)
        now_ns += S
        while (taken := policy.take(now_ns)) is not None:
            times[taken] = times.get(taken, 0) + 1
            policy.drop(taken, taken[1:])
            policy.charge(now_ns)
    assert max(times.values(), default=0) <= 3


def test_the_host_of_the_oldest_letter_is_the_first_whichever_had_letters_before():
    policy = of()
    for name, host in (("a1", "a"), ("b1", "b"), ("a2", "a")):
        policy.keep(name, host, "outage", 0)
    policy.drop("a1", "a")
    policy.begin()
    assert policy.take(0) == "b1"
