"""Series as text: heights, bands and axes by their definitions."""

import pytest
from hypothesis import given, strategies as st

from simulation.reporting.expectation_report import BLOCKS, axis, in_cells, sparkline, windows_line

HEIGHTS = " " + BLOCKS
VALUES = st.lists(st.floats(0, 1e9), max_size=80)


@given(values=VALUES)
def test_a_larger_value_is_never_lower_and_only_nothing_is_blank(values: list[float]) -> None:
    line = sparkline(values)
    heights = [HEIGHTS.index(block) for block in line]
    assert len(heights) == len(values)
    for one, height in zip(values, heights, strict=True):
        assert (height == 0) == (one == 0)
        for other, its_height in zip(values, heights, strict=True):
            assert one <= other or height >= its_height
    if any(values):
        assert max(heights) == 8


@pytest.mark.parametrize(
    ("values", "top", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], None, " ▁▂▃▄▅▆▇█"),
        ([0, 0], None, "  "),
        ([], None, ""),
        ([1, 1000], None, "▁█"),
        ([1, 2], 4, "▂▄"),
        ([9], 4, "█"),
    ],
)
def test_heights_are_eighths_of_the_top(values: list[float], top: float | None, line: str) -> None:
    assert sparkline(values, top) == line


@given(values=st.lists(st.integers(0, 100), max_size=50), size=st.integers(1, 9))
def test_cells_lose_nothing(values: list[int], size: int) -> None:
    cells = in_cells(values, size, sum)
    assert sum(cells) == sum(values)
    assert len(cells) == -(-len(values) // size)


@pytest.mark.parametrize(
    ("span", "line"),
    [
        ((0, 10), "━    "),
        ((10, 30), " ━━  "),
        ((15, 15.001), " ━   "),
        ((9, 31), "━━━━ "),
        ((40, 90), "    ━"),
        ((49.9, 50), "    ━"),
        ((0, 50), "━━━━━"),
    ],
)
def test_a_window_is_drawn_in_each_cell_that_it_touches(span: tuple[float, float], line: str) -> None:
    assert windows_line([span], 10, 5) == line


@given(
    spans=st.lists(st.tuples(st.floats(0, 99.9), st.floats(0, 50)), max_size=5),
)
def test_windows_are_never_lost_and_never_longer_than_the_line(spans: list[tuple[float, float]]) -> None:
    line = windows_line([(start, start + length) for start, length in spans], 2.0, 50)
    assert len(line) == 50
    assert ("━" in line) == bool(spans)


def test_ticks_without_room_go_without_text() -> None:
    assert axis([(0, "0"), (10, "10"), (20, "20"), (60, "60"), (99, "99")], 10, 8) == ("┌┬┬───┬─", "0 20  60")
    assert axis([(0, "0"), (30, "30")], 10, 8) == ("┌──┬────", "0  30")
