"""Oban's workers: what was imported, beside the formulas of Oban's own source."""

from __future__ import annotations

import math
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from effort import examples
from hypothesis import given, settings, strategies as st
from imported import one, read, starts

from actors.errors import ConfigurationError

TABLES = tables(__file__)


def worker(options: str, body: str = "", **arguments: Any) -> Any:
    text = f"defmodule Shop.Charge do\n  use Oban.Worker{options}\n  alias Oban.Job\n{body}\nend\n"
    return one("oban", text, names=["charge.ex"], **arguments)


def by_oban(attempts: int, *, at_most: bool) -> list[float]:
    """Return starts by `Oban.Worker.backoff/1` and `Oban.Backoff.jitter/2` of 2.23."""
    found = [0.0]
    for attempt in range(1, attempts):
        clamped = attempt if attempts <= 20 else math.floor(attempt / attempts * 20 + 0.5)
        wait = 15 + 2**clamped
        found.append(found[-1] + wait * (1.1 if at_most else 1))
    return found


@pytest.mark.parametrize("attempts", [1, 2, 7, 20, 21, 35, 60])
def test_starts_are_those_of_oban(attempts: int) -> None:
    ours = starts(worker(f", max_attempts: {attempts}"))
    assert [each[0] for each in ours] == pytest.approx(by_oban(attempts, at_most=False), rel=1e-6)
    assert [each[1] for each in ours] == pytest.approx(by_oban(attempts, at_most=True), rel=1e-6)


FORMULAS = {
    "trunc(:math.pow({a}, n)) + {b}": lambda a, b, n: a**n + b,
    "min({a} * Integer.pow(2, n - 1), {b} * 60)": lambda a, b, n: min(a * 2 ** (n - 1), b * 60),
    "n * {a} + {b}": lambda a, b, n: n * a + b,
    "if n > 2, do: {a}, else: {b}": lambda a, b, n: a if n > 2 else b,
    "Enum.at([{a}, {b}], n - 1, 3_600)": lambda a, b, n: [a, b][n - 1] if n < 3 else 3600,
    "case n do 1 -> {a}; m when m in 2..3 -> m * {b}; _ -> 28_800 end": lambda a, b, n: (
        a if n == 1 else n * b if n < 4 else 28_800
    ),
}


@given(st.sampled_from(sorted(FORMULAS)), st.integers(1, 9), st.integers(1, 90), st.integers(2, 10))
@settings(max_examples=examples(150), deadline=None)
def test_a_backoff_of_the_file_is_worked_out(formula: str, a: int, b: int, attempts: int) -> None:
    body = f"  def backoff(%Job{{attempt: n}}), do: ({formula.format(a=a, b=b)})"
    found = worker(f", max_attempts: {attempts}", body)
    theirs = [0.0]
    for attempt in range(1, attempts):
        theirs.append(theirs[-1] + FORMULAS[formula](a, b, attempt))
    assert [each[0] for each in starts(found)] == pytest.approx(theirs, rel=1e-6)
    assert [each[1] for each in starts(found)] == pytest.approx(theirs, rel=1e-6)


@over_each(TABLES["marks"])
def test_each_option_has_its_mark(row: dict[str, Any]) -> None:
    found = worker(row.get("options", ""), row.get("text", ""), given=row.get("given"))
    said = {each.text: f"{each.mark.value}: {each.reason}" for each in found.findings}
    for text, mark in row["marks"].items():
        assert any(key.startswith(text) and said[key].startswith(mark) for key in said), said
    assert (found.channel or {}).get("retry", {}).get("schedule") == row.get("schedule")
    assert (found.channel is None) == row.get("open", False)


def test_clauses_modules_and_macros_lead_to_the_waits() -> None:
    texts = (
        """
        defmodule Shop.Slow do
          use Oban.Worker, queue: :slow, max_attempts: 4
          alias Shop.Waits
          @impl true
          def backoff(%{unsaved_error: %{reason: %Busy{}}}), do: 600
          def backoff(%Oban.Job{attempt: 1}), do: 60
          def backoff(%Oban.Job{} = job), do: job.attempt |> Waits.of() |> max(90)
          def timeout(_job), do: :timer.minutes(5)
        end
        defmodule Shop.Worker do
          defmacro __using__(opts) do
            quote do
              use Oban.Worker, max_attempts: 5
            end
          end
        end
        defmodule Shop.Mail do
          use Shop.Worker, queue: :mail
        end
        """,
        "defmodule Shop.Waits do\n  @base 50\n  def of(n), do: n * @base\nend\n",
        "import Config\nconfig :shop, Oban, queues: [slow: 3, mail: [limit: 7]]\n",
        "defmodule Shop.Calls do\n  def go, do: %{id: 1} |> Shop.Mail.new(max_attempts: 2) |> Oban.insert()\nend\n",
    )
    found = read("oban", *texts, names=["a.ex", "waits.ex", "config.exs", "calls.ex"])
    assert {name: each.channel and each.channel["retry"]["max_attempts"] for name, each in found.items()} == {
        "Shop.Slow": 4,
        "Shop.Slow (unsaved_error: %{reason: %Busy{}})": 4,
        "Shop.Mail": 5,
        "Shop.Mail.new:2": 2,
    }
    assert [each[0] for each in starts(found["Shop.Slow"])] == [0, 60, 160, 310]
    assert [each[0] for each in starts(found["Shop.Slow (unsaved_error: %{reason: %Busy{}})"])] == [0, 600, 1200, 1800]
    slow, mail = (dict(found[name].channel or {}) for name in ("Shop.Slow", "Shop.Mail"))
    assert (slow["max_in_flight"], slow["timeout"], mail["max_in_flight"]) == (3, "300s", 7)


def test_what_cannot_be_read_is_refused_with_its_place() -> None:
    for text in (
        "use Oban.Worker, max_attempts: <%= n %>",
        "<<<<<<< HEAD\n# Oban.Worker",
        "Oban.Worker " + "[" * 9_000,
    ):
        with pytest.raises(ConfigurationError, match=r"charge\.ex"):
            read("oban", text, names=["charge.ex"])


def test_what_does_not_end_takes_a_bounded_time() -> None:
    doubled = "".join(f"@a{n} @a{n + 1} + @a{n + 1}\n" for n in range(50)) + "@a50 1\n"
    for attempts in ("@a0", "again(1)", "9 ** 9 ** 9 ** 9"):
        body = f"{doubled}defp again(n), do: again(n) + again(n)\ndef backoff(_), do: again(2)"
        assert worker(f", max_attempts: {attempts}", body).channel is None
