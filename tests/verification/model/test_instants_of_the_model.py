"""Time in the reference model: what it counts for itself is what the product counts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from actors import instants as of_the_product
from simulation.verification.model import instants

SECONDS = st.one_of(st.floats(0, 10), st.floats(0, 1e7), st.integers(0, 10**7).map(lambda hundredths: hundredths / 100))


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [
        (0.0, 0),
        (2.01, 2_010_000_000),  # as a double times 1e9 it is 2009999999.9999998
        (-2.01, -2_010_000_000),
        (0.5e-9, 0),
        (1.5e-9, 2),
        (2.5e-9, 2),
        (3_000_000.0000000005, 3_000_000_000_000_000),
    ],
)
def test_seconds_are_the_nearest_whole_nanosecond(seconds: float, nanoseconds: int) -> None:
    assert instants.ns(seconds) == instants.wait_ns(abs(seconds)) * (-1 if seconds < 0 else 1) == nanoseconds


@given(SECONDS)
@example(2_251_799.8136852485)  # between two doubles that are half nanoseconds
def test_the_model_counts_seconds_as_the_product_does(seconds: float) -> None:
    assert instants.ns(seconds) == of_the_product.ns(seconds)
    assert instants.ns(-seconds) == of_the_product.ns(-seconds)


@pytest.mark.parametrize(
    "seconds", [4.6e9, 4_611_686_018.0, 4_611_686_018.427387, 4_611_686_019.0, 1e300, float("inf")]
)
def test_no_wait_is_longer_than_the_longest(seconds: float) -> None:
    assert instants.wait_ns(seconds) == of_the_product.wait_ns(seconds) <= instants.LONGEST_WAIT_NS


@given(st.integers(-(2**60), 2**62))
def test_an_instant_is_read_to_the_microsecond_that_it_is_in(nanoseconds: int) -> None:
    assert instants.utc(nanoseconds) == of_the_product.utc(nanoseconds)


@pytest.mark.parametrize(("one", "other", "first"), [(None, None, None), (3, None, 3), (None, 0, 0), (3, 2, 2)])
def test_never_is_later_than_any_instant(one: int | None, other: int | None, first: int | None) -> None:
    assert instants.sooner(one, other) == first
