"""Users and hosts of which some come more often than others: Zipf's law, exactly, in a run, and to the linter."""

import math
import pickle
from collections import Counter
from random import Random
from typing import Any

import pytest
from beside import tables
from effort import sliced
from hypothesis import given, strategies as st

import simulation
from actors.errors import ConfigurationError
from simulation.scenario import Scenario, parse
from simulation.scenario.identity import host_of_user
from simulation.scenario.lint import lint_scenario
from simulation.scenario.workload import ZipfSpread, host_of, share_of_the_first
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case


def of(entry: str, rest: str = "", duration: str = "10m") -> Scenario:
    return parse(f"duration: {duration}\nworkload: [{{channel: email, {entry}}}]\n{rest}")


def zipf_shares(count: int, exponent: float) -> list[float]:
    weights = [(rank + 1) ** -exponent for rank in range(count)]
    return [weight / math.fsum(weights) for weight in weights]


@given(st.integers(1, 300), st.floats(0, 4), st.floats(0, 1, exclude_max=True))
def test_each_has_the_share_of_its_rank(count: int, exponent: float, share: float) -> None:
    spread, shares = ZipfSpread(count=count, zipf=exponent), zipf_shares(count, exponent)
    number = spread.at(share)
    below = math.fsum(shares[:number])
    assert below - 1e-9 <= share <= below + shares[number] + 1e-9
    assert share_of_the_first(spread, number) == pytest.approx(below, rel=1e-9, abs=1e-12)
    assert share_of_the_first(spread) == pytest.approx(shares[0])


def test_extremes() -> None:
    assert [ZipfSpread(count=3, zipf=1e6).at(share) for share in (0.0, 0.999999)] == [0, 0]
    assert [ZipfSpread(count=4, zipf=0).at(share / 4) for share in range(4)] == [0, 1, 2, 3]
    most = ZipfSpread(count=1_000_000, zipf=1)
    assert most.at(math.nextafter(1.0, 0)) == 999_999
    assert share_of_the_first(most) == pytest.approx(1 / (math.log(1e6) + 0.5772156649), rel=1e-6)


def users_of(result: Any) -> Counter[str]:
    return Counter(result.notifications["user"])


@pytest.mark.parametrize("exponent", [0.0, 1.1, 2.0])
def test_users_of_a_run_have_their_shares(exponent: float) -> None:
    result = simulation.run(of(f"arrivals: {{constant: 20/s}}, users: {{count: 50, zipf: {exponent}}}", duration="5m"))
    found, total = users_of(result), 6_000
    for number, share in enumerate(zipf_shares(50, exponent)):
        sd = math.sqrt(total * share * (1 - share))
        assert abs(found[f"user-{number}"] - total * share) <= 5 * sd + 1
    assert found.total() == total


def test_events_and_clients_have_users_by_their_shares_too() -> None:
    text = """
        duration: 10m
        workload:
          - {event: OrderShipped, arrivals: {constant: 5/s}, users: {count: 1000, zipf: 1.5}}
        """
    shares = zipf_shares(1000, 1.5)
    assert users_of(simulation.run(parse(text)))["user-0"] == pytest.approx(3000 * shares[0], rel=0.1)
    clients = of("clients: 5, think: 1s, users: {count: 1000, zipf: 1.5}")
    assert users_of(simulation.run(clients))["user-0"] == pytest.approx(2995 * shares[0], rel=0.1)


# ── hosts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 60), st.floats(0, 3), st.integers(0, 10**6), st.integers(1, 2000))
def test_any_users_in_a_row_are_at_each_host_in_its_share(count: int, exponent: float, first: int, many: int) -> None:
    hosts = ZipfSpread(count=count, zipf=exponent)
    found = Counter(host_of(user, hosts) for user in range(first, first + many))
    for number, share in enumerate(zipf_shares(count, exponent)):
        assert abs(found[number] - many * share) <= 3 * math.log2(many + 2) + 1, (
            "as multiples of the golden section are"
        )


def test_a_user_is_always_at_the_same_host() -> None:
    """An outage of one host hits the same users whichever entry they are in, and all that these users get."""
    scenario = parse("""
        duration: 2m
        workload:
          - {channel: email, arrivals: {constant: 20/s}, users: 100, hosts: {count: 9, zipf: 1}}
          - {channel: email, arrivals: {constant: 20/s}, users: {count: 100, zipf: 2}, hosts: {count: 9, zipf: 1}}
        channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}
        faults: [{channel: email, host: host-2.example, outage: true}]
        """)
    rows = simulation.run(scenario).notifications
    hit = {f"user-{user}" for user in range(100) if host_of(user, ZipfSpread(count=9, zipf=1)) == 2}
    assert set(rows["user"][rows["outcome"] != "sent"]) == hit
    assert not hit & set(rows["user"][rows["outcome"] == "sent"])
    assert abs(len(hit) - 100 * zipf_shares(9, 1)[2]) <= 3


@pytest.mark.parametrize("hosts", sliced(["9", "{count: 9, zipf: 1}"], 4))
@pytest.mark.parametrize("users", ["", "users: 100, ", "users: {count: 100, zipf: 0.5}, "])
@pytest.mark.parametrize("kind", ["arrivals: {constant: 5/s}", "clients: 4, think: 1s"])
def test_the_host_in_results_is_that_of_the_address(hosts: str, users: str, kind: str) -> None:
    """A fault goes by the address that is asked for, and results by the user."""
    down = {"host-0.example", "host-2.example", "host-7.example"}
    result = simulation.run(
        of(
            f"{users}hosts: {hosts}, {kind}",
            "channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}, fallback: {channel: sms}}}"
            f"\nfaults: [{{channel: email, host: [{', '.join(down)}], outage: true}}, {{channel: sms, outage: true}}]",
            duration="1m",
        )
    )
    rows = result.notifications
    asked = rows[rows["channel"] == "email"]
    assert set(asked["host"][asked["outcome"] != "sent"]) == down
    assert set(asked["host"][asked["outcome"] == "sent"]) == {f"host-{number}.example" for number in range(9)} - down
    assert {host["name"] for host in result.summary["worst"]["hosts"]} == down
    assert rows[rows["channel"] == "sms"]["host"].isna().all(), "an address there has no host"
    (entry,) = result.scenario.workload
    host_of_one = host_of_user(entry)
    assert host_of_one is not None
    sent_on = pickle.loads(pickle.dumps(host_of_one))
    assert [sent_on(user) for user in asked["user"]] == list(asked["host"])


def test_what_hits_a_host_hits_its_share() -> None:
    scenario = of(
        "arrivals: {constant: 20/s}, hosts: {count: 20, zipf: 1.2}",
        "channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}\n"
        "faults: [{channel: email, host: host-0.example, outage: true}]",
    )
    assert simulation.run(scenario).summary["dead_lettered"] == pytest.approx(
        12_000 * zipf_shares(20, 1.2)[0], abs=40
    ), "as even as the golden section"


def test_a_fault_names_a_host_that_there_is() -> None:
    fault = "faults: [{{channel: email, host: host-{}.example, outage: true}}]"
    entry = "arrivals: {constant: 1/s}, hosts: {count: 20, zipf: 1}"
    of(entry, fault.format(19))
    with pytest.raises(ConfigurationError, match=r"wanted a host of recipients \(host-0.example to host-19.example\)"):
        of(entry, fault.format(20))


# ── reading, the linter, exploration ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["users", "hosts"])
@pytest.mark.parametrize(("value", "problem"), tables(__file__)["no_spreads"])
def test_what_is_no_spread_is_said(key: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        of(f"arrivals: {{constant: 1/s}}, {key}: {value}")
    assert f"workload.0.{key}" in str(raised.value)
    assert problem in str(raised.value)


def test_the_linter_knows_the_busiest_user() -> None:
    limit = "channels: {email: {rate_limit: {max_per_minute: 60}}}"
    even = of("arrivals: {poisson: 20/s}, users: 1000", limit)
    skewed = of("arrivals: {poisson: 20/s}, users: {count: 1000, zipf: 1.1}", limit)
    about = [[str(finding) for finding in lint_scenario(scenario)] for scenario in (even, skewed)]
    assert not any("rate_limit" in text for text in about[0]), "1.2 a minute each"
    busiest = 20 * zipf_shares(1000, 1.1)[0]
    assert any("rate_limit" in text and f"{busiest:.3g}/s" in text for text in about[1]), about[1]


def test_a_case_of_a_swarm_keeps_the_law_with_fewer_users() -> None:
    scenario = of("arrivals: {poisson: 20/s}, users: {count: 5000, zipf: 1.1}, hosts: {count: 7, zipf: 1}")
    for seed in range(5):
        drawn = case(scenario, seed)
        entry: Any = drawn.workload[0]
        assert (entry.users.zipf, entry.hosts) == (1.1, ZipfSpread(count=7, zipf=1))
        assert 1 <= entry.users.count <= 5000
        assert parse(write(drawn)).workload == drawn.workload


def test_an_even_spread_draws_as_before() -> None:
    one = of("arrivals: {constant: 5/s}, users: 7", duration="10s")
    users = [f"user-{int(draw * 7)}" for draw in _draws(one, 50)]
    assert list(simulation.run(one).notifications["user"]) == users


def _draws(scenario: Scenario, count: int) -> list[float]:
    from actors.kernel.randomness import RandomStreams

    random: Random = RandomStreams(scenario.seed).stream("workload.0.users")
    return [random.random() for _ in range(count)]
