"""Quotas that all nodes have together, divided among those that live. Small cases are derived by hand."""

from typing import Any

import pytest
from beside import tables
from effort import examples
from hypothesis import given, settings, strategies as st

import simulation
from actors.messages import NotificationSent
from actors.pipeline.quotas import PartOfNodes
from actors.policies.rate_limit.limiter import make_limiter
from actors.settings.channel import ChannelConfig
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

S = 1_000_000_000
LEAKY = "{rate: 4/s, kind: leaky_bucket, across: nodes}"
TOKENS = "{rate: 4/s, kind: token_bucket, burst: 8, across: nodes}"


def scenario(quota: str, *faults: str, nodes: str = "{count: 4, takeover_after: 2s}", more: str = "drain: 0s") -> Any:
    return parse(
        f"duration: 20s\nnodes: {nodes}\nworkload: [{{channel: email, arrivals: {{constant: 40/s}}}}]\n"
        f"channels: {{email: {{quota: {quota}}}}}\nfaults: [{', '.join(faults)}]\n{more}",
        "fleet.yaml",
    )


def sent(of: Any, **arguments: Any) -> list[tuple[float, int]]:
    """Run it; return when each was sent, in seconds, and by which node."""
    events: list[Any] = []
    simulation.run(of, on_events=events.extend, invariants="all", **arguments)
    return [(event.at_ns / S, event.node) for event in events if isinstance(event, NotificationSent)]


def between(found: list[tuple[float, int]], begin_s: float, end_s: float) -> int:
    return sum(begin_s <= at_s < end_s for at_s, _ in found)


def test_each_node_has_an_equal_part():
    found = sent(scenario(LEAKY))
    assert len(found) == 4 * 20
    assert [sum(node == each for _, node in found) for each in (1, 2, 3, 4)] == [20] * 4
    assert len(sent(scenario(LEAKY.replace("nodes", "each")))) == 4 * 4 * 20


def test_of_a_burst_too():
    found = sent(scenario(TOKENS))
    assert len(found) == 8 + 4 * 20 - 4  # those that are full at 20 s exactly would go then
    assert between(found, 0, 0.3) == 8


def test_the_part_of_a_dead_node_is_free_when_its_lease_ends_and_its_own_again_when_it_is_back():
    crash = "{channel: email, node: [3, 4], at: 6.1s, crash: process, restart_after: 6s}"
    found = sent(scenario(LEAKY, crash))
    assert between(found, 0, 6.1) == 4 * 7  # one each second from 0 s on
    assert between(found, 6.1, 8.1) == 2 * 2  # of the four parts, two are nobody's
    assert between(found, 8.2, 12.1) in (15, 16)  # two have all of it
    assert between(found, 14, 19) == 4 * 5


def test_a_deploy_gives_it_back_at_once():
    found = sent(scenario(LEAKY, "{at: 5.1s, deploy: {each_down: 2s, every: 3s}}"))
    assert 74 <= len(found) <= 84
    assert between(found, 15, 20) == 4 * 5


def test_one_node_alone_has_all_of_it():
    assert len(sent(scenario(LEAKY, nodes="1"))) == 80


def test_more_nodes_divide_it_further():
    found = sent(scenario(LEAKY, "{at: 10.1s, scale: {to: 8}}"))
    assert between(found, 14, 18) == 16
    assert {node for at_s, node in found if at_s > 14} == set(range(1, 9))


def test_what_waits_goes_sooner_when_the_part_becomes_larger():
    """At one in a minute a node of four waits for four; the three that are stopped leave it one in a minute."""
    quota = "{rate: 1/min, kind: leaky_bucket, across: nodes}"
    found = sent(scenario(quota, "{at: 10s, scale: {to: 1}}", more="drain: 2m"))
    assert [round(at_s) for at_s, node in found if node == 1] == [0, 60, 120]


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=examples(15), deadline=None)
@given(
    count=st.integers(1, 6),
    quota=st.sampled_from([LEAKY, TOKENS, "{rates: [6/s, 20/5s], kind: token_bucket, across: nodes}"]),
    routing=st.sampled_from(["round_robin", "random"]),
    crash=st.sampled_from(["", "{channel: email, node: 1, at: 5s, crash: process, restart_after: 60s}"]),
    seed=st.integers(0, 99),
)
def test_all_nodes_together_never_exceed_it_while_there_are_as_many(count, quota, routing, crash, seed):
    nodes = f"{{count: {count}, routing: {routing}, takeover_after: 2s}}"
    of = scenario(quota, crash, nodes=nodes)
    found = sent(of, seed=seed)
    config = ChannelConfig.model_validate(of.channels.email).quota
    assert config is not None
    for begin_s, end_s in ((0.0, 5.0), (7.5, 20.0)):
        times = [at_s for at_s, _ in found if begin_s <= at_s < end_s]
        for limit in config.limits:
            burst = max(count, (config.burst or int(limit.count)) if config.kind == "token_bucket" else 1)
            for first in range(len(times)):
                for last in (len(times) - 1, min(len(times) - 1, first + 2 * burst)):
                    allowed = burst + limit.per_second * (times[last] - times[first]) + 1e-6
                    assert last - first + 1 <= allowed


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from(["token_bucket", "leaky_bucket"]),
    st.lists(st.tuples(st.integers(0, 900_000_000), st.integers(1, 5) | st.none()), max_size=80),
)
def test_a_part_never_lets_more_through_than_the_whole_whatever_happens(kind, course):
    """However often it is divided anew: as tokens are kept, and none are given."""
    config = ChannelConfig.model_validate({"quota": {"rate": "5/s", "kind": kind, "across": "nodes"}}).quota
    part, whole, now_ns = PartOfNodes(config, 1), make_limiter(config), 0
    for after_ns, nodes in course:
        now_ns += after_ns
        if nodes is not None:
            part.divide(nodes, now_ns)
        if part.fits_at("", now_ns) == now_ns:
            assert whole.fits_at("", now_ns) <= now_ns + 1  # one of a nanosecond's parts may be rounded up
            part.try_acquire("", now_ns)
            whole.try_acquire("", now_ns)
        else:
            assert part.fits_at("", part.fits_at("", now_ns)) == part.fits_at("", now_ns)


def test_dividing_gives_no_tokens_and_takes_none_that_fit():
    config = ChannelConfig.model_validate(
        {"quota": {"rate": "4/s", "kind": "token_bucket", "burst": 8, "across": "nodes"}}
    )
    part = PartOfNodes(config.quota, 2)
    for _ in range(3):
        assert part.try_acquire("", 0) == 0
    part.divide(1, 0)  # 1 of 4 is left; of 8, it is 1
    assert part.try_acquire("", 0) == 0
    assert part.fits_at("", 0) == S // 4
    part.divide(4, S)  # 4 have come; of 2, it is 2
    assert [part.try_acquire("", S) for _ in range(2)] == [S, S]
    assert part.fits_at("", S) == 2 * S


def test_both_clocks_have_the_same_history():
    faults = "{channel: email, node: 2, at: 4s, crash: process, restart_after: 9s}", "{at: 9s, scale: {to: 6}}"
    of = scenario(TOKENS, *faults)
    simulated, live = (simulation.run(of, runtime=runtime).summary for runtime in ("simpy", "trio"))
    assert live == {**simulated, "runtime": "trio"}


# ── what is refused, and said ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("channel", "nodes", "said"), tables(__file__)["linted"])
def test_the_linter_says_what_nodes_come_to(channel, nodes, said):
    of = parse(
        f"duration: 10m\nnodes: {nodes}\nchannels: {{email: {{{channel}}}}}\n"
        "workload: [{channel: email, users: 100, arrivals: {constant: 40/s}}]"
    )
    assert [str(finding) for finding in lint_scenario(of)] == said
