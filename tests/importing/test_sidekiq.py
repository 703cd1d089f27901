"""Sidekiq's jobs and Active Job's `retry_on`: what was imported, beside the formulas of their own source."""

from __future__ import annotations

from typing import Any

import pytest
from beside import tables
from each_row import over_each
from effort import examples
from hypothesis import given, settings, strategies as st
from imported import one, read, starts

from actors.errors import ConfigurationError

TABLES = tables(__file__)
JOB = "class Charge\n  include Sidekiq::Job\n"


def ruby(body: str, **arguments: Any) -> Any:
    return one("sidekiq", f"{JOB}{body}\nend\n", names=["charge.rb"], **arguments)


def by_sidekiq(waits: list[int], major: int, *, at_most: bool) -> list[float]:
    """Return starts by `Sidekiq::JobRetry#process_retry`; a wait of 0 is the formula of `#delay_for`."""
    found = [0.0]
    for count, wait in enumerate(waits):
        delay = wait if wait > 0 else count**4 + 15
        jitter = 9 * (count + 1) if major < 8 else 10 * (count + 1)  # rand(10) * (count + 1), rand(10 * (count + 1))
        found.append(found[-1] + delay + (jitter if at_most else 0))
    return found


@given(st.integers(0, 25), st.sampled_from([7, 8]), st.integers(-1, 4000), st.integers(0, 100))
@settings(max_examples=examples(150), deadline=None)
def test_starts_are_those_of_sidekiq(retries: int, major: int, base: int, slope: int) -> None:
    block = f"sidekiq_retry_in {{ |count| {base} + {slope} * count }}" if base >= 0 else ""
    found = ruby(f"sidekiq_options retry: {retries}\n{block}", versions={"sidekiq": f"{major}.0"})
    waits = [base + slope * count if base >= 0 else 0 for count in range(retries)]
    ours = starts(found)
    for place, at_most in ((0, False), (1, True)):
        theirs = by_sidekiq(waits, major, at_most=at_most)
        if any(wait == 0 for wait in waits) and base >= 0:  # one default wait among others
            assert len(ours) == len(theirs)
        assert [each[place] for each in ours] == pytest.approx(theirs, rel=1e-6)


@given(
    st.integers(1, 12),
    st.sampled_from([":polynomially_longer", "3", "90", "5.minutes", "->(n) { n * 10 }"]),
    st.sampled_from([None, 0, 0.15, 0.5]),
)
@settings(max_examples=examples(100), deadline=None)
def test_starts_are_those_of_active_job(attempts: int, wait: str, jitter: float | None) -> None:
    options = f"wait: {wait}, attempts: {attempts}" + ("" if jitter is None else f", jitter: {jitter}")
    text = f"class Charge < ApplicationJob\n  retry_on Error, {options} do |job, error| end\nend\n"
    ours = starts(one("sidekiq", text, names=["charge.rb"]))
    share = 0.0 if wait.startswith("->") else 0.15 if jitter is None else jitter
    least, most = [0.0], [0.0]
    for count in range(1, attempts):  # ActiveJob::Exceptions#determine_delay of Rails 8.1
        delay = {":polynomially_longer": count**4, "->(n) { n * 10 }": 10 * count, "5.minutes": 300}.get(wait) or int(
            wait
        )
        plus = 2 if wait == ":polynomially_longer" else 0
        least.append(least[-1] + delay + plus)
        most.append(most[-1] + delay * (1 + share) + plus)
    assert [each[0] for each in ours] == pytest.approx(least, rel=1e-6)
    beyond = 2 * share * (attempts - 1) if wait == ":polynomially_longer" else 0  # which its mark says
    assert all(theirs - 1e-6 <= each[1] <= theirs + beyond + 1e-6 for each, theirs in zip(ours, most, strict=True))


@over_each(TABLES["marks"])
def test_each_option_has_its_mark(row: dict[str, Any]) -> None:
    found = ruby(row["text"], given=row.get("given"), versions=row.get("versions"))
    said = {each.text: f"{each.mark.value}: {each.reason}" for each in found.findings}
    for text, mark in row["marks"].items():
        assert any(key.startswith(text) and said[key].startswith(mark) for key in said), said
    attempts = None if found.channel is None else found.channel["retry"]["max_attempts"]
    assert attempts == row.get("attempts")
    assert [each.name for each in found.questions] == row.get("asks", [])


@pytest.mark.parametrize(
    ("wait", "version", "is_read"),
    [
        ("exponentially", {}, False),
        ("exponentially", {"rails": "7.1"}, True),
        ("exponentially", {"rails": "7.2"}, False),
        ("polynomially", {}, True),
        ("polynomially", {"rails": "7.0"}, False),
        ("polynomially", {"rails": "7.1"}, True),
    ],
    ids=str,
)
def test_rails_has_one_name_of_the_growing_wait_by_version(wait: str, version: dict[str, str], is_read: bool) -> None:
    text = f"class A < ApplicationJob\n  retry_on E, wait: :{wait}_longer, attempts: 3 do |job| end\nend\n"
    found = one("sidekiq", text, names=["a.rb"], versions=version)
    assert (found.channel is not None) == is_read
    assert is_read or "Rails raises an error" in "".join(each.reason for each in found.findings)


def test_each_branch_of_a_block_is_a_policy() -> None:
    found = read(
        "sidekiq",
        JOB
        + """
        SLOW = [60, 5.minutes].freeze
        sidekiq_options retry: 4
        sidekiq_retry_in do |count, exception|
          case exception
          when Net::ReadTimeout, Busy then SLOW.fetch(count, 1.hour)
          when Invalid then :kill
          else
            10 * (count + 1)
          end
        end
        end""",
        names=["charge.rb"],
        versions={"sidekiq": "7.3"},
    )
    assert list(found) == [
        "Charge",
        "Charge (exception is Net::ReadTimeout, Busy)",
        "Charge (exception is Invalid)",
    ]
    waits = [[0, 10, 30, 60, 100], [0, 60, 360, 3960, 7560], [0]]
    assert [[each[0] for each in starts(policy)] for policy in found.values()] == waits
    assert found["Charge"].notes == (
        "this holds where none of these does: exception is Net::ReadTimeout, Busy; exception is Invalid",
    )


def test_options_come_from_bases_modules_and_the_process() -> None:
    texts = (
        "class Base; include Sidekiq::Job; sidekiq_options retry: 3, dead: false; end",
        "module Patient; extend ActiveSupport::Concern; included do; sidekiq_options retry: 9; end; end",
        "class A < Base; end\nclass B < Base; sidekiq_options retry: false; end\n"
        "class C; include Sidekiq::Job; include Patient; end\nclass D; include Sidekiq::Worker; end\n"
        "class E < Elsewhere; sidekiq_options queue: 1; end",
        "Sidekiq.configure_server { |config| config[:max_retries] = 6 }",
        "A.set(retry: 1).perform_async",
    )
    found = read("sidekiq", *texts, names=[f"{place}.rb" for place in range(len(texts))])
    attempts = {name: each.channel and each.channel["retry"]["max_attempts"] for name, each in found.items()}
    assert attempts == {"Base": 4, "A": 4, "B": 1, "C": 10, "D": 7, "E": 7, "A.set:1": 2}
    assert "Elsewhere, which these files do not settle" in "".join(each.reason for each in found["E"].findings)


@pytest.mark.parametrize(
    ("version", "attempts", "elapsed"), [("7.1", 3, None), ("7.3", 3, "3600s"), ("8.1", 10, "3600s"), ("", 10, "3600s")]
)
def test_a_time_bounds_or_replaces_the_count_by_version(version: str, attempts: int, elapsed: str | None) -> None:
    versions = {"sidekiq": version} if version else {}
    found = ruby("sidekiq_options retry: 2, retry_for: 1.hour", versions=versions)
    retry = found.channel["retry"]
    assert (retry["max_attempts"], retry.get("max_elapsed")) == (attempts, elapsed)
    (counted,) = [each for each in found.findings if each.text == "retry: 2"]
    assert counted.mark.value == ("exact" if attempts == 3 else "does nothing")
    assert ("before that both bound them" in counted.reason) == (not version)


REFUSED = {
    "a template": JOB + "sidekiq_options retry: <%= retries %>\nend",
    "a merge conflict": f"{JOB}<<<<<<< HEAD\nsidekiq_options retry: 1\n>>>>>>> b\nend",
    "deep": JOB + "A = " + "[" * 10_000 + "]" * 10_000 + "\nend",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"charge\.rb"):
        read("sidekiq", text, names=["charge.rb"])


def test_what_does_not_end_takes_a_bounded_time() -> None:
    doubled = "".join(f"A{n} = A{n + 1} + A{n + 1}\n" for n in range(50)) + "A50 = 1\n"
    body = f"{doubled}def again(n) = again(n) + again(n)\n"
    for retries in ("A0", "again(1)", "9 ** 9 ** 9 ** 9"):
        assert ruby(f"{body}sidekiq_options retry: {retries}").channel is None


@pytest.mark.parametrize(
    ("name", "text", "attempts"),
    [
        ("config/sidekiq.yml", ":concurrency: <%= ENV['X'] %>\n:max_retries: 3 # each\n", 4),
        ("sidekiq.production.yaml", "max_retries: 3\n", 4),
        ("config/sidekiq.yml", ":max_retries: <%= ENV.fetch('X', 3) %>\n", None),
        ("config/sidekiq.yml", ":max_retries: 3\nproduction:\n  :max_retries: 9\n", None),
        ("config/other.yml", ":max_retries: 3\n", 26),
    ],
)
def test_the_file_of_the_process_has_the_default_of_all_jobs(name: str, text: str, attempts: int | None) -> None:
    for options, answers in (("", {}), ("sidekiq_options retry: true", {}), ("", {"max_retries": "3"})):
        found = ruby(options, others={name: text}, given=answers)
        expected = 4 if answers and attempts is None else attempts
        assert (found.channel and found.channel["retry"]["max_attempts"]) == expected
        assert [each.name for each in found.questions] == ["max_retries"] * (expected is None)


@pytest.mark.parametrize(
    ("text", "attempts"),
    [
        ("Sidekiq.default_worker_options = { backtrace: true, retry: 6 }", 7),
        ("Sidekiq.default_job_options = { 'retry' => 3 }", 4),
        ("Sidekiq.default_job_options['retry'] = false", 1),
        ("Sidekiq.configure_server { |config| config.default_worker_options = { retry: 2 } }", 3),
        ("Sidekiq.default_job_options = OPTIONS", None),
    ],
)
def test_options_of_all_jobs(text: str, attempts: int | None) -> None:
    for folder, expected in (("config", attempts), ("test", 26)):
        found = one("sidekiq", f"{JOB}end\n", text, names=["charge.rb", f"{folder}/sidekiq.rb"])
        assert (found.channel and found.channel["retry"]["max_attempts"]) == expected


def test_a_constant_of_another_file_has_to_be_in_reach() -> None:
    use = "class A < Base\n  include Sidekiq::Job\n  include Slow\n  sidekiq_options retry: {}\nend\n"
    others = (
        "class Base\n  MINE = 3\nend\n",
        "module Slow\n  WAITS = 4\nend\n",
        "module Config\n  TRIES = 5\nend\n",
        "class Stranger\n  LIMIT = 6\nend\n",
        "TOP = 7\n",
    )
    names = ["a.rb", *(f"{place}.rb" for place in range(len(others)))]
    attempts = {}
    for name in ("MINE", "WAITS", "Config::TRIES", "TRIES", "LIMIT", "TOP", "Other::TRIES"):
        channel = read("sidekiq", use.format(name), *others, names=names)["A"].channel
        attempts[name] = channel and channel["retry"]["max_attempts"]
    assert attempts == {"MINE": 4, "WAITS": 5, "Config::TRIES": 6, "TRIES": None, "LIMIT": None, "TOP": 8,
                        "Other::TRIES": None}  # fmt: skip
