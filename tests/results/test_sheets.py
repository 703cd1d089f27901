"""A sheet says the same in a terminal, as Markdown, in a notebook and on a page; no text of it is markup there."""

import math
import re
from io import StringIO

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len
from rich.console import Console
from selectolax.lexbor import LexborHTMLParser

from simulation.reporting.console import print_table
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


# ── narrow terminals ────────────────────────────────────────────────────────────────────────────────────────────────

VERDICTS = Sheet(
    columns=[Column(each) for each in ("incident", "", "what decides", "as it happened")],
    rows=[
        Row(
            ("github-webhooks-2024", Word("breaks", "bad"), "sent_fraction == 1", "71 min late, none lost, and a herd")
        ),
        Row(("vonage-2022", Word("holds", "fine"), "others.delivered_within(1m) >= 99%", "20 to 23 s late for 3 days")),
    ],
)


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60])
def test_a_table_fits_a_terminal_without_a_broken_word(width):
    shown = drawn(terminal(VERDICTS, width), width)
    assert max(map(cell_len, shown.splitlines())) <= width
    words = [word for row in VERDICTS.rows for cell in row.cells for word in cell_text(cell, Kind.TEXT).split()]
    assert sorted(word for word in words if word in shown.split()) == sorted(words)


def test_a_table_that_fits_is_as_it_is_and_one_with_no_room_for_words_is_in_blocks():
    assert drawn(terminal(VERDICTS, 200), 200) == in_terminal(VERDICTS)
    lines = [line.rstrip() for line in drawn(terminal(VERDICTS, 60), 60).splitlines()]
    assert lines[:3] == [
        "github-webhooks-2024  breaks",
        "  what decides    sent_fraction == 1",
        "  as it happened  71 min late, none lost, and a herd",
    ]


@given(
    rows=st.lists(st.lists(st.text("ab \n\x1bä漢", max_size=30), min_size=3, max_size=3), min_size=1, max_size=4),
    width=st.integers(12, 90),
)
def test_whatever_stands_in_a_table_no_line_is_longer_than_the_terminal(rows, width):
    sheet = Sheet(columns=[Column("a"), Column("of all"), Column("")], rows=[Row(tuple(row)) for row in rows])
    assert max((cell_len(line) for line in drawn(terminal(sheet, width), width).splitlines()), default=0) <= width


def drawn(table, width):
    file = StringIO()
    Console(file=file, width=width, color_system=None).print(table)
    return file.getvalue()


def test_in_a_file_a_table_that_folds_breaks_its_texts_at_words(capsys):
    columns = [Column("limit"), Column("breaks first", folds=True), Column("edge")]
    long = "workload.offers.delivery_time_s.p90 <= 3m"
    print_table(Sheet("", columns, [Row(["email.outage", long, " ".join(["as far as was tried"] * 6)])]))
    words = capsys.readouterr().out.split()
    assert {"breaks", "first", "workload.offers.delivery_time_s.p90"} <= set(words)
