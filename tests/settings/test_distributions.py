import math
import pickle
import statistics
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st
from scipy import stats

from actors.settings.distributions import Distribution
from actors.settings.quantities import FROM_FILE, LONGEST_S

DRAWS = 20_000


def drawn(settings: Any, seed: int = 1, **context: str) -> list[float]:
    draw = Distribution.model_validate(settings, context={**FROM_FILE, **context}).sampler(Random(seed))
    return [draw() for _ in range(DRAWS)]


def test_a_duration_alone_is_constant() -> None:
    assert Distribution.model_validate("80ms", context=FROM_FILE) == Distribution(constant=0.08)
    assert Distribution.model_validate(0.08) == Distribution(constant=0.08)
    assert set(drawn("80ms")) == {0.08}


@pytest.mark.parametrize(
    ("settings", "mean", "sd"),
    [
        ({"uniform": {"low": "1s", "high": "3s"}}, 2.0, math.sqrt(1 / 3)),
        ({"exponential": {"mean": "2s"}}, 2.0, 2.0),
        ({"normal": {"mean": "10s", "sd": "1s"}}, 10.0, 1.0),
        ({"gamma": {"mean": "2s", "shape": 4}}, 2.0, 1.0),
        ({"pareto": {"minimum": "1s", "alpha": 4}}, 4 / 3, math.sqrt(2 / 9)),
        # mean 0.75 · 1 + 0.25 · 5, mean square 0.75 · 1 + 0.25 · 2 · 25
        ({"mixture": [{"weight": 3, "constant": "1s"}, {"weight": 1, "exponential": {"mean": "5s"}}]}, 2.0, 9.25**0.5),
    ],
)  # fmt: skip
def test_means_and_deviations(settings: Any, mean: float, sd: float) -> None:
    values = drawn(settings)
    assert abs(statistics.mean(values) - mean) < 5 * sd / math.sqrt(DRAWS)
    assert statistics.stdev(values) == pytest.approx(sd, rel=0.1)


def test_a_lognormal_has_its_median_and_99th_percentile() -> None:
    values = drawn({"lognormal": {"median": "80ms", "p99": "900ms"}})
    below = sum(value < 0.08 for value in values)
    assert abs(below - DRAWS / 2) < 5 * math.sqrt(DRAWS / 4)
    above = sum(value > 0.9 for value in values)
    assert abs(above - DRAWS / 100) < 5 * math.sqrt(DRAWS * 0.01 * 0.99)


@pytest.mark.parametrize("shape", [0.3, 1, 4, 2.5, 400])
def test_a_gamma_follows_its_distribution(shape: float) -> None:
    values = drawn({"gamma": {"mean": "2s", "shape": shape}}, seed=3)
    assert stats.kstest(values, stats.gamma(shape, scale=2 / shape).cdf).pvalue > 1e-3


def test_a_gamma_of_whole_shape_is_as_many_exponential_stages() -> None:
    stage = Distribution.model_validate({"exponential": {"mean": 0.5}}).sampler(Random(4))
    stages = [sum(stage() for _ in range(4)) for _ in range(DRAWS)]
    assert stats.ks_2samp(drawn({"gamma": {"mean": "2s", "shape": 4}}), stages).pvalue > 1e-3


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1e-6, 1e6), st.integers())
def test_gammas_share_their_draws(shape: float, other_shape: float, mean: float, seed: int) -> None:
    """One draw of the stream each, of which they are the quantile: longer for one is longer for the other."""
    random, other, raw = Random(seed), Random(seed), Random(seed)
    draw = Distribution.model_validate({"gamma": {"mean": mean, "shape": shape}}).sampler(random)
    draw_other = Distribution.model_validate({"gamma": {"mean": 2 * mean, "shape": other_shape}}).sampler(other)
    pairs = sorted((raw.random(), draw(), draw_other()) for _ in range(30))
    assert random.getstate() == other.getstate() == raw.getstate()
    for column in (1, 2):
        values = [pair[column] for pair in pairs]
        assert values == sorted(values)


@given(st.floats(1e-6, 1e6), st.integers())
def test_a_gamma_of_shape_1_is_exponential(mean: float, seed: int) -> None:
    gamma = Distribution.model_validate({"gamma": {"mean": mean, "shape": 1}}).sampler(Random(seed))
    exponential = Distribution.model_validate({"exponential": {"mean": mean}}).sampler(Random(seed))
    for _ in range(20):
        assert gamma() == pytest.approx(exponential(), rel=1e-9)


def test_a_normal_is_cut_at_0() -> None:
    values = drawn({"normal": {"mean": "0s", "sd": "1s"}})
    assert min(values) == 0
    assert abs(values.count(0.0) - DRAWS / 2) < 5 * math.sqrt(DRAWS / 4)


def test_a_pareto_has_its_tail() -> None:
    values = drawn({"pareto": {"minimum": "10ms", "alpha": 1.5}})
    assert min(values) >= 0.01 * (1 - 1e-12)
    expected = DRAWS * (0.01 / 0.1) ** 1.5
    assert abs(sum(value > 0.1 for value in values) - expected) < 5 * math.sqrt(expected)


def test_a_mixture_chooses_by_weight_and_may_hold_mixtures() -> None:
    inner = {"mixture": [{"weight": 1, "constant": "2s"}, {"weight": 1, "constant": "3s"}]}
    values = drawn({"mixture": [{"weight": 0.5, "constant": "1s"}, {"weight": 1, **inner}]})
    for value in (1.0, 2.0, 3.0):
        assert abs(values.count(value) - DRAWS / 3) < 5 * math.sqrt(DRAWS * 2 / 9)


def test_measured_durations_are_drawn_with_replacement(tmp_path: Path) -> None:
    (tmp_path / "latency.csv").write_text("time,seconds\n1,0.05\n2,0.08\n3,1.2\n4,0.08\n")
    values = drawn({"empirical": "latency.csv"}, directory=str(tmp_path))
    assert set(values) == {0.05, 0.08, 1.2}
    assert abs(values.count(0.08) - DRAWS / 2) < 5 * math.sqrt(DRAWS / 4)


@pytest.mark.parametrize("text", ["latency\n0.5\n", "0.5\n", "\ufeffseconds\r\n0.5\r\n"])
def test_the_only_column_needs_no_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "latency.csv").write_text(text, encoding="utf-8")
    assert set(drawn({"empirical": "latency.csv"}, directory=str(tmp_path))) == {0.5}


def test_measured_durations_travel_with_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "latency.csv"
    file.write_text("seconds\n0.5\n")
    distribution = Distribution(empirical=str(file))
    file.unlink()
    assert pickle.loads(pickle.dumps(distribution)).sampler(Random(1))() == 0.5


ANY: list[Any] = [
    {"uniform": {"high": "3s"}},
    {"exponential": {"mean": "2s"}},
    {"normal": {"mean": "1s", "sd": "5s"}},
    {"lognormal": {"median": "80ms", "p99": "80ms"}},
    {"gamma": {"mean": "36525d", "shape": 0.01}},
    {"pareto": {"minimum": "1s", "alpha": 0.01}},
    {"mixture": [{"weight": 1e-9, "constant": "1s"}, {"weight": 1e9, "exponential": {"mean": "5s"}}]},
]


@pytest.mark.parametrize("settings", ANY, ids=lambda settings: next(iter(settings)))
@given(st.integers())
def test_the_same_stream_gives_the_same_draws_and_none_is_negative(settings: Any, seed: int) -> None:
    distribution = Distribution.model_validate(settings, context=FROM_FILE)
    one, other = distribution.sampler(Random(seed)), distribution.sampler(Random(seed))
    values = [one() for _ in range(20)]
    assert values == [other() for _ in range(20)]
    assert min(values) >= 0
    assert max(values) <= LONGEST_S * (1 + 1e-9), "a hundred years, whatever the tail"


def test_a_constant_draws_nothing() -> None:
    random = Random(1)
    before = random.getstate()
    Distribution(constant=1.0).sampler(random)()
    assert random.getstate() == before


@pytest.mark.parametrize(
    "settings", [{}, {"constant": None}, {"constant": 1, "exponential": {"mean": 1}}, {"mixture": []}]
)
def test_exactly_one_kind(settings: Any) -> None:
    with pytest.raises(ValueError, match=r"wanted (exactly one of|a list of at least one entry)"):
        Distribution.model_validate(settings)


@pytest.mark.parametrize("name", ["ms", "latency_ms", "Latency (ms)", "took-µs", "elapsed.milliseconds", "minutes"])
def test_measurements_whose_column_says_that_they_are_not_in_seconds_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "latency.csv").write_text(f"{name}\n120\n80\n")
    with pytest.raises(ValueError, match=r"wanted seconds in latency\.csv"):
        drawn({"empirical": "latency.csv"}, directory=str(tmp_path))


@pytest.mark.parametrize("name", ["s", "latency", "latency_s", "value", "items", "Duration (seconds)", "admin"])
def test_other_names_of_the_only_column_say_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "latency.csv").write_text(f"{name}\n0.5\n")
    assert set(drawn({"empirical": "latency.csv"}, directory=str(tmp_path))) == {0.5}
