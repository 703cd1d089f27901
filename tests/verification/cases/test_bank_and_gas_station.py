"""The examples of SimPy and simmer: their numbers as they print them, and other customers and stations."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st

import simulation
from simulation.validation import Exactly, Verdict
from simulation.verification.cases.families.bank import bank_renege
from simulation.verification.cases.families.gas_station import gas_station, solved
from simulation.verification.cases.families.queues import erlang_b
from simulation.verification.cases.printing import text


def test_the_bank_expects_what_the_example_prints():
    expected = {each.name: each.target for each in bank_renege().experiments[0].quantities if isinstance(each, Exactly)}
    assert expected["come at, s"] == [0, 10.2006, 12.7265, 34.9993, 40.4798]
    assert expected["finish at, s"] == [3.8595, 23.7507, 37.9599, 43.1401]
    assert (expected["leave unserved"], expected["after, s"]) == ([2], [pytest.approx(1.174, abs=5e-4)])


CUSTOMERS = st.tuples(
    st.integers(0, 20).map(float),
    st.integers(0, 8).map(lambda halves: halves / 2 + 0.25),  # never just as long as the wait is
    st.integers(0, 12).map(lambda halves: halves / 2),
)


@settings(max_examples=examples(40))
@given(st.lists(CUSTOMERS, min_size=1, max_size=8))
def test_other_customers_of_the_bank_are_served_and_leave_as_they_should(customers):
    validation = simulation.validate([bank_renege(customers)])
    assert validation.holds, text(validation)


def test_the_station_s_chain_has_the_figures_of_the_vignette():
    shares = solved(3 / 20, 0.75, 8, 3, 0)
    assert shares == pytest.approx({"idle": 0.49689441, "car": 0.44720497, "motorcycle": 0.05590062}, rel=1e-7)
    assert 1 - shares["idle"] == pytest.approx(0.5031055901, rel=1e-9)
    shares = solved(3 / 20, 0.75, 8, 3, 1)
    assert sum(shares.values()) == pytest.approx(1)
    number = 1 - shares["idle"] + shares["car, 1 waiting"] + shares["motorcycle, 1 waiting"]
    assert number == pytest.approx(0.6349614689, rel=1e-9)


@given(st.floats(0.01, 2), st.floats(0, 1), st.floats(0.1, 20), st.floats(0.1, 20))
def test_a_station_without_places_is_a_loss_system(rate, cars, car, motorcycle):
    """The distribution of the services does not matter, but their mean (Erlang's formula; Sevastyanov 1957)."""
    idle = solved(rate, cars, car, motorcycle, 0)["idle"]
    assert 1 - idle == pytest.approx(erlang_b(1, rate * (cars * car + (1 - cars) * motorcycle)))


@pytest.mark.slow
def test_a_smaller_station_with_more_places_holds_too():
    case = gas_station([2], rate=0.3, cars=0.4, car_min=2, motorcycle_min=5)
    assert simulation.validate([case]).results[0].verdict is Verdict.HOLDS
