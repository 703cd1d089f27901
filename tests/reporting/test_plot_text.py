"""Text that fits, and a time axis with ticks at round numbers."""

import pytest
from hypothesis import given, strategies as st

from simulation.reporting.plots.panels import ticks_s, unit_of
from simulation.reporting.plots.text import cut, drawable, width_in, wrap

WORDS = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=120)


@given(text=WORDS, room=st.floats(0.5, 4), lines_max=st.integers(1, 5))
def test_wrapped_lines_have_room_and_say_the_text_from_its_beginning(text, room, lines_max):
    lines = wrap(text, room, 9, lines_max)
    assert len(lines) <= lines_max
    assert all(width_in(line, 9) <= room for line in lines)
    said = "".join(lines).replace(" ", "")
    whole = drawable(text).replace(" ", "")
    assert said == whole or (len(lines) == lines_max and whole.startswith(said.removesuffix("…")))


@given(text=WORDS, room=st.floats(0.5, 4))
def test_what_is_cut_is_as_long_as_there_is_room_for(text, room):
    shown = cut(text, room, 9)
    if shown == text:
        assert width_in(text, 9) <= room
    else:
        kept = shown.removesuffix("…")
        assert text.startswith(kept)
        assert width_in(shown, 9) <= room
        more = text[: len(kept) + 1 + len(text[len(kept) :]) - len(text[len(kept) :].lstrip())]
        assert width_in(more + "…", 9) > room


def test_line_breaks_become_blanks_and_unknown_letters_a_sign_for_them():
    assert drawable(" a\n b\t c\N{NO-BREAK SPACE}d ") == "a b c\N{NO-BREAK SPACE}d"
    assert drawable("日 \x00 é →") == "\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER} é →"


@pytest.mark.parametrize(
    ("end_s", "unit", "step_s"),
    [
        (0.1, "ms", 0.01),
        (10, "s", 1),
        (60, "s", 10),
        (180, "s", 20),
        (600, "min", 60),
        (3600, "min", 600),
        (3 * 3600, "min", 1200),
        (14 * 3600, "h", 7200),
        (86_400, "h", 3 * 3600),
        (14 * 86_400, "days", 2 * 86_400),
        (365 * 86_400, "days", 91 * 86_400),
    ],
)
def test_the_unit_suits_the_length_of_the_run(end_s, unit, step_s):
    assert unit_of(end_s).name == unit
    ticks = ticks_s(end_s)
    assert ticks[1] - ticks[0] == pytest.approx(step_s)


@given(end_s=st.floats(1e-6, 36_525 * 86_400))
def test_there_are_some_ticks_and_not_too_many(end_s):
    ticks = ticks_s(end_s)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 12
    assert ticks[-1] <= end_s * (1 + 1e-9)
