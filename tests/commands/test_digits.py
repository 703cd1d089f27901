"""Durations and counts in few digits, above all where rounding carries them over the border of a unit."""

import math
import re

import pytest
from each_row import over_each
from hypothesis import example, given, strategies as st

from actors.formatting import plain_number
from actors.lint.findings import duration as in_a_warning
from actors.service.console import words as console_words
from actors.settings.quantities import parse_duration
from simulation.fitting import estimate as fit_words
from simulation.reporting.plots.sweeps import value_text
from simulation.results.formatting import duration_text, metric_text
from simulation.scenario.metrics import MetricKind
from simulation.verification.cases import quantities as validation_words

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
LONGEST_S = 36_525 * 86_400
BORDERS = [1e-6, 1e-3, 1, 10, 60, 120, 3600, 7200, 86_400, 172_800, 1e6, 1e9]
JUST_BELOW = st.builds(lambda border, off: border * (1 - off), st.sampled_from(BORDERS), st.floats(0, 0.02))
DURATIONS = JUST_BELOW | st.floats(1e-9, LONGEST_S)


def read_back(text):
    """Return a duration in seconds: ``3 min 12 s``, ``1.5h``, ``36,525 d``."""
    parts = re.findall(r"([\d.,]+(?:e-\d+)?) ?([a-z]+)", text)
    assert "".join(f"{number}{unit}" for number, unit in parts) == text.replace(" ", "")
    return sum(float(number.replace(",", "")) * SECONDS[unit] for number, unit in parts)


@over_each(
    [
        (0, "0 s"),
        (0.000_999_9, "1 ms"),
        (0.0758, "75.8 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (0.9999, "1 s"),
        (1, "1 s"),
        (119.4, "119 s"),
        (119.99, "2 min"),
        (120, "2 min"),
        (7_100, "118 min"),
        (7_199, "2 h"),
        (172_000, "47.8 h"),
        (172_799, "2 d"),
        (86_400 * 999.6, "1,000 d"),
        (86_400 * 36_525, "36,525 d"),
        (-0.9999, "-1 s"),
        (-90, "-90 s"),
        (None, "–"),
    ]
)
def test_a_duration_is_never_as_much_as_the_next_unit(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (9.999e-7, "1us"),
        (0.000_999_9, "1ms"),
        (0.9999, "1s"),
        (90, "90s"),
        (119.99, "2m"),
        (3599.9, "60m"),
        (3600, "1h"),
        (5400, "90m"),
        (7199, "2h"),
        (172_799, "2d"),
        (86_400 * 36_525, "36,525d"),
    ],
)
def test_a_warning_has_it_as_a_file_does(seconds, text):
    assert in_a_warning(seconds) == text
    assert parse_duration(text.replace(",", ""), unit_required=True) == pytest.approx(seconds, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9994, "999 ms"), (0.9996, "1 s"), (9.996, "10 s"), (59.7, "1 min"), (3599.8, "1 h"), (192, "3 min 12 s")],
)
def test_so_does_the_console_page(seconds, text):
    assert console_words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.999_999_99, "1s"), (0.000_999_999_99, "1ms"), (0.0812345, "81.2345ms"), (5e-10, "0.5ns")],
)
def test_so_does_what_is_fitted(seconds, text):
    assert fit_words.duration(seconds) == text


@pytest.mark.parametrize(
    ("written", "off"),
    [
        (duration_text, 0.005),
        (in_a_warning, 0.005),
        (console_words.duration, 0.06),  # two figures of two units: 59 s are left out beside an hour
        (fit_words.duration, 0.000_005),
    ],
)
@given(one=DURATIONS, other=DURATIONS)
@example(0.9999, 1.0)
@example(119.99, 120.0)
@example(7199.0, 7200.0)
def test_the_text_of_a_duration_can_be_read_back_and_longer_ones_are_no_shorter(written, off, one, other):
    low, high = (written(seconds) for seconds in sorted((one, other)))
    assert "e+" not in low + high
    assert read_back(low) <= read_back(high) * (1 + 1e-9)
    assert read_back(low) == pytest.approx(min(one, other), rel=off)


@given(value=st.floats(-1e15, 1e15), digits=st.integers(1, 9))
@example(999.7, 3)
@example(999.96, 4)
@example(-999.7, 3)
@example(1_234_567.8, 6)
def test_a_large_number_is_whole_and_has_no_exponent(value, digits):
    text = plain_number(value, digits)
    assert "e+" not in text
    back = float(text.replace(",", ""))
    assert back == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
    assert abs(value) < 10**digits or back == round(value)


@given(value=st.floats(1e-3, 1e12), other=st.floats(1e-3, 1e12))
@example(999.7, 1000.0)
@example(999.96, 1000.0)
def test_figures_have_no_exponent_wherever_they_stand(value, other):
    writers = [
        lambda figure: metric_text(figure, MetricKind.COUNT),
        lambda figure: metric_text(figure, MetricKind.COUNT, 3),
        plain_number,
        lambda figure: plain_number(figure, 6),
        value_text,
        validation_words.rounded,
        validation_words.written,
    ]
    for writer in writers:
        low, high = (writer(figure) for figure in sorted((value, other)))
        assert "e+" not in low + high
        assert float(low.replace(",", "")) <= float(high.replace(",", ""))
        assert math.isclose(float(low.replace(",", "")), min(value, other), rel_tol=0.06)


def test_thousands_are_set_apart_but_not_between_settings():
    assert metric_text(999.96, MetricKind.COUNT) == "1,000"
    assert plain_number(-999.7) == "-1,000"
    assert validation_words.rounded(99.7) == "100"
    assert plain_number(1_234_567.8, 6) == "1,234,568"
    assert value_text(1_000_000) == "1000000"
    assert value_text(True) == "true"
