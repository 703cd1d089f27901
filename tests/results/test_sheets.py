"""A sheet says the same in a terminal, as Markdown, in a notebook and on a page; no text of it is markup there."""

import math
import re

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from selectolax.lexbor import LexborHTMLParser

from simulation.reporting.html.rendering import environment
from simulation.sheets import Code, Column, Kind, Lines, Row, Sheet, Word, cell_text, markdown, notebook, terminal

COLUMNS = (Column("what"), Column("took", Kind.DURATION), Column("at", Kind.INSTANT), Column("share", Kind.SHARE))
SHEET = Sheet(
    "A title",
    COLUMNS,
    [
        Row(["a", 83.3, 331.0, 0.99969]),
        Row(["b", math.inf, None, 0.5], "part"),
        Row([Word("fails", "bad", "twice"), "", 3725.0, 1.0], "total"),
    ],
    notes=["how to read it"],
    said=["a finding"],
    warnings=["a limit"],
    key="a",
)
TEXTS = [["a", "83.3 s", "5:31", ">99.9%"], ["b", "never", "–", "50%"], ["fails twice", "", "1:02:05", "100%"]]


def in_terminal(sheet):
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(terminal(sheet))
    return captured.get()


def in_notebook(sheet):
    rows = LexborHTMLParser(notebook(sheet)).css("tbody tr")
    return [[cell.text().strip() for cell in row.css("th, td")] for row in rows]


def on_a_page(sheet):
    html = environment().from_string('{% from "macros.html" import table %}{{ table(sheet) }}').render(sheet=sheet)
    return LexborHTMLParser(html)


def test_all_views_have_the_same_cells():
    assert in_notebook(SHEET) == TEXTS
    assert [line.split("  ") for line in in_terminal(SHEET._replace(rows=SHEET.rows[:1])).splitlines()][1][0] == "a"
    words = [re.split(r" {2,}", line.strip()) for line in in_terminal(SHEET).splitlines()[1:]]
    assert words == [[text for text in row if text] for row in TEXTS]
    cells = [line.strip("| ").split(" | ") for line in markdown(SHEET)][2:]
    assert [[cell.replace("\\", "") for cell in row] for row in cells[:2]] == [
        ["a", "83.3 s", "5:31", "&gt;99.9%"],
        TEXTS[1],
    ]
    assert cells[2][0] == "**fails** twice"
    page = on_a_page(SHEET)
    rows = [[cell.text().strip() for cell in row.css("th, td")] for row in page.css("tbody tr")]
    assert [[text.split(".")[0] if ":" in text else text.replace("\xa0", " ") for text in row] for row in rows] == TEXTS
    assert [row.attributes.get("class") for row in page.css("tbody tr")] == [None, None, "total"]
    assert page.css_first("td span").attributes["title"] == "331 s"


def test_a_part_of_the_columns_keeps_their_order_and_leaves_out_unknown_ones():
    assert [column.heading for column in SHEET.only("share", "nowhere", "what").columns] == ["share", "what"]
    assert SHEET.only("share", "what").rows[0].cells == [0.99969, "a"]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.0, Kind.SHARE, "0%"),
        (0.0001, Kind.SHARE, "<0.1%"),
        (1234567, Kind.COUNT, "1,234,567"),
        (1.016, Kind.TIMES, "×1.02"),
        (0.0, Kind.DURATION, "0 s"),
        (59.6, Kind.INSTANT, "1:00"),
        (90_061.0, Kind.INSTANT, "1\xa0d\xa01:01:01"),
        (Lines(["a", "b"]), Kind.TEXT, "a\nb"),
        (Code("x <= 1"), Kind.NUMBER, "x <= 1"),
    ],
)
def test_a_number_is_written_as_its_column_is(value, kind, text):
    assert cell_text(value, kind) == text


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_text_is_markup_or_does_anything_to_a_terminal(first, second):
    sheet = Sheet(first, [Column("a"), Column("b")], [Row([first, second])])
    shown = in_terminal(sheet)
    assert all(char.isprintable() or char in "\n\xa0" for char in shown)
    (row,) = list(markdown(sheet))[2:]
    assert len(re.split(r"(?<!\\)(?:\\\\)*\|", row.strip())) == 4
    tree = LexborHTMLParser(notebook(sheet))
    assert {node.tag for node in tree.css("div *")} <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
