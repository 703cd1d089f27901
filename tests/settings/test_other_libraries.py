"""The words of other libraries: where they lead, and which numbers a hint may show."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from each_row import over_each
from hypothesis import example, given, strategies as st

import simulation
from actors.errors import ConfigurationError
from actors.settings.base import _own_paths, _refused
from actors.settings.foreign_quantities import words_in
from actors.settings.hints import unknown_setting
from actors.settings.library_table import words
from actors.settings.meanings import PLACES, WordPlace, plain
from actors.settings.other_libraries import NO_SUCH_KEY, example_of, meaning, translate
from actors.settings.quantities import parse_duration, parse_share
from simulation.scenario.metrics import Outline, summary_shape

CASES = yaml.safe_load((Path(__file__).parent / "other_libraries.yaml").read_text(encoding="utf-8"))
TEXT = "duration: 1m\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\nchannels:\n  email:\n"


def problems(at: str, line: str) -> list[str]:
    """What is said of one more line, in the settings of a channel or in a group of them."""
    text = TEXT + (f"    {at}:\n      {line}" if at != "channel" else f"    {line}")
    with pytest.raises(ConfigurationError) as caught:
        simulation.parse(text)
    return [
        re.sub(r"^.*?: (unknown key; )?|, got .*$", "", each.partition(": channels.")[2])
        for each in caught.value.problems
    ]


def said_of(key: str, value: Any, place: WordPlace) -> str:
    """The sentence of a word, empty where it is none."""
    meant = meaning(key, value, place)
    return "" if meant is None else meant.text


@over_each((at, *case) for at, cases in CASES.items() for case in cases.items())
def test_a_word_leads_to_the_key_here_with_the_number_that_was_given(at, line, said):
    assert problems(at, line) == said


# ── the law of numbers ──────────────────────────────────────────────────────────────────────────────────────────

_NUMBER = re.compile(r"(?<![A-Za-z_0-9.])[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?")
_EXAMPLES = re.compile(r"(?:such as|for example|by default|which takes| wants) .*?(?=; |$)")
_FACTS = re.compile(
    r"max_attempts: 1\b|jitter_share: (?:25|50)%|\b429\b|[45]xx|U\([^)]*\)|its 25 retries|true is 1s|1, 2, 4 times"
    r"|backoff_multiplier: 2\b|more than 5|0, which is without end|retry_after_jitter: 50%|burst: 1\b|consecutive5xx\w*"
    r"|at 95% of it|max_attempts is 3\b|begins with 0s|of them 0s"
)
_UNITS = {"ns": 1e-9, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def numbers(text: str) -> set[float]:
    """The numbers of a text, each duration also in seconds."""
    found = {float(each) for each in _NUMBER.findall(text)}
    for number, unit in re.findall(r"([0-9.]+) ?(ns|ms|s|min|m|h|d)\b", text):
        found.add(float(number) * _UNITS[unit])
    return found


def derived(given: set[float]) -> set[float]:
    """All that may become of numbers: counted with the first attempt, in per cent, in seconds, minutes and hours."""
    further = {each * factor for each in given for factor in (1, 100, 0.001, 1000)} | {each + 1 for each in given}
    return further | {each / unit for each in further for unit in (60, 3600)} | {60.0, 3600.0}


_FRAGMENT = re.compile(r"`([^`]*)`")
_ROOTS = {
    "of the channel": "",
    "to the channel itself": "",
    "in an entry of the workload": "workload",
    "in a fault": "faults",
    "at the top of the file": "scenario",
}


def offered(text: str, at: str) -> list[list[tuple[str, dict[str, Any]]]]:
    """The lines that each reading of a text offers, as they are printed, with their places from the channel on."""
    text = re.sub(r"^wanted .*? \((?=[^()]* is )", "", text)
    readings = []
    for reading in re.split(r"; or ", text):
        found = []
        for part in reading.partition("; ")[0].rpartition(" meant, ")[2].split(", with "):
            said = part if "belongs" in part else part.rpartition("`")[2]
            under = re.match(r" under (\w+)", said)
            here = f"{at}.{under[1]}".strip(".") if under else at
            place = next((root for words, root in _ROOTS.items() if words in said), here)
            found += [(place, yaml.safe_load(line)) for line in _FRAGMENT.findall(part)]
        readings += [found] if found else []
    return readings


def paste(file: dict[str, Any], place: str, lines: dict[str, Any]) -> None:
    if not lines:
        return
    root, *groups = place.split(".") if place else [""]
    part = {"scenario": file, "workload": file["workload"][0], "faults": {}}.get(root, file["channels"]["email"])
    for group in groups if root in PLACES or not root else [root, *groups]:
        part = part.setdefault(group, {})
    for key, value in lines.items():
        if isinstance(value, dict) and isinstance(part.get(key), dict):
            paste({"channels": {"email": part[key]}, "workload": [{}]}, "", value)
        else:
            part[key] = value


@over_each((at, *case) for at, cases in CASES.items() for case in cases.items())
def test_what_a_text_offers_is_taken_where_it_is_pasted_as_it_is_printed(at, line, said):
    at = "" if at == "channel" else at
    given = yaml.safe_load(line if line[0] == "{" else f"{{{line}}}")
    key, value = next(iter(given.items()))
    inner = f"{at}.{key}".strip(".")
    if (
        len(given) == 1
        and isinstance(value, dict)
        and not said[0].startswith("wanted")
        and _refused(inner, None) != NO_SUCH_KEY
    ):
        at, given = inner, value
    kept = {key: value for key, value in given.items() if _refused(f"{at}.{key}".strip("."), value) is None}
    readings = [offered(text, at) for text in said]
    for text, found in zip(said, readings, strict=True):
        assert found or "`" not in text.partition(";")[0], text
        assert text.startswith("wanted") or not re.search(r"\bis (?:here )?[a-z_.]+: ", text.partition(";")[0]), text
        assert all(isinstance(lines, dict) and len(lines) == 1 for reading in found for _, lines in reading), text
    choices = [[found[0] for found in readings if found]]
    choices += [[reading] for found in readings for reading in found[1:] if len(given) == 1]
    if not all(found or text.startswith("leave") for text, found in zip(said, readings, strict=True)):
        choices = [each for each in choices if each and not kept]
    for choice in choices:
        file: dict[str, Any] = {
            "duration": "1m",
            "workload": [{"channel": "email", "arrivals": {"constant": "1/s"}}],
            "channels": {"email": {}},
        }
        paste(file, at, kept)
        for place, lines in [item for reading in choice for item in reading]:
            paste(file, place, lines)
        simulation.parse(yaml.safe_dump(file))


def near(number: float, allowed: set[float]) -> bool:
    return any(abs(number - each) <= 1e-9 * max(1, abs(each)) for each in allowed)


DURATIONS = {"00:07:13": 433, "00:02:00": 120, "1.02:03:04": 93784, "PT47S": 47, "PT7M": 420, "1m37s": 97,
             "47 seconds": 47, "437ms": 0.437, "7.minutes": 420, "ofSeconds(47)": 47}  # fmt: skip
VALUES = st.one_of(
    st.integers(0, 10**6),
    st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3)),
    st.sampled_from([*DURATIONS, "soon", "", "37%", "37/m", "37 per minute", True, False, None, [37], {"foo": 37}]),
)
MODULES = ["retry", "breaker", "channel", "rate_limit", "bulkhead", "adaptive", "workload", "faults"]


COMPUTED = re.compile(r"<[^<>]*[-+*/][^<>]*>")
PLAIN_ROWS = [row for row in words() if not COMPUTED.search(row.value + row.also)]


@given(st.sampled_from(PLAIN_ROWS), VALUES, VALUES, st.sampled_from(MODULES))
@example(next(row for row in words() if row.word == "sampling_duration"), "00:02:00", None, "breaker")
def test_no_number_is_said_that_is_neither_given_nor_marked_as_an_example(row, value, other, module):
    others = [*words_in(row.value), *words_in(row.also)] + [
        each.partition("=")[0] for each in row.at.split() if "=*" in each
    ]
    beside = {row.word: value, **dict.fromkeys(others, other)}
    said = said_of(row.word, value, WordPlace(module, beside=beside, refused=_refused))
    form = {
        number
        for each in words()
        if plain(each.word) == plain(row.word)
        for number in numbers(each.value) | numbers(each.also)
    }
    allowed = derived(_seconds(value) | _seconds(other)) | form
    for number in numbers(_FACTS.sub("", _EXAMPLES.sub("", said))):
        assert near(number, allowed), f"{row.word}: {value!r} → {said}"


def _seconds(value: Any) -> set[float]:
    there = set() if isinstance(value, bool) else numbers(str(value))
    return there | ({DURATIONS[value]} if isinstance(value, str) and value in DURATIONS else set())


@given(st.sampled_from([row for row in words() if row.key and row.at != "expect"]), VALUES)
def test_each_suggestion_is_one_that_the_settings_take(row, value):
    said = said_of(row.word, value, WordPlace((row.at.split() or ["channel"])[0], refused=_refused))
    pattern = rf"(?:is |or ){re.escape(row.key)}: (\{{.*?\}}+|[^ ,;{{]+)"
    for written in re.findall(pattern, _EXAMPLES.sub("", said)):
        assert _refused(row.key, yaml.safe_load(written)) is None, said


def test_each_example_of_the_table_is_one_that_the_settings_take():
    wrong = []
    for row in (row for row in words() if row.key not in ("", *PLACES) and row.at != "expect"):
        written = example_of(row)[0]
        problem = _refused(row.key, yaml.safe_load(written)) if written else None
        if problem is not None or (row.value and written is None) or _refused(row.key, object()) is None:
            wrong.append(f"{row.peer} {row.word}: {row.key}: {written}: {problem}")
    assert wrong == []


def test_each_word_of_a_metric_means_one_that_there_is():
    for row in (row for row in words() if row.at == "expect"):
        part: Any = summary_shape(Outline(()))
        for key in row.key.split("."):
            part = part[key]


def test_no_word_is_a_key_in_the_place_where_it_is_told_apart():
    """Else nobody would be told of it."""
    names = [(row.peer, plain(row.word), row.at) for row in words()]
    assert len(names) == len(set(names))
    assert all(row.key or row.note for row in words())


@given(st.dictionaries(st.sampled_from([row.word for row in words()]) | st.text(max_size=8), VALUES, max_size=6))
def test_no_key_of_a_mapping_vanishes(mapping):
    said = said_of("retry_policy", mapping, WordPlace("channel", ["retry"], refused=_refused, own_paths=_own_paths))
    for key in mapping:
        assert key in said or _translated(key, said), f"{key}: {said}"


def _translated(key: str, said: str) -> bool:
    alike = [row for row in words() if plain(row.word) == plain(key)]
    return any(part in said for row in alike for part in row.key.split(".")[-1:])


def test_of_two_words_of_one_key_none_vanishes():
    said = said_of(
        "retry_policy",
        {"maxAttempts": 4, "maximumAttempts": 7},
        WordPlace("channel", ["retry"], refused=_refused, own_paths=_own_paths),
    )
    assert "max_attempts: 4" in said
    assert "maximumAttempts is retry.max_attempts too, which has another value already" in said


WORDS = st.sampled_from([row.word for row in words()])
ANYTHING = st.recursive(
    VALUES | st.text(max_size=12) | st.sampled_from(["wait_fixed(3)+stop_after_delay(x)", "a.b(1)", "-1", -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(WORDS | st.text(max_size=8) | st.lists(WORDS, max_size=4).map(".".join), ANYTHING, st.sampled_from(MODULES))
@example("a.b.retry", {"seconds": "x", "nanos": []}, "channel")
@example("per_try_timeout", {"seconds": [], "nanos": {}}, "retry")
def test_whatever_is_given_for_a_word_is_no_error(word, value, module):
    beside = {word: value, "retry": value}
    place = WordPlace(module, ["retry"], beside, _refused, _own_paths)
    assert isinstance(said_of(word, value, place), str)
    unknown = unknown_setting("RetryConfig", {"retry": lambda _: True}, word, value, place, lambda *_: "a duration")
    assert unknown.startswith("unknown key; ")


@pytest.mark.parametrize(
    ("word", "given", "low", "high"),
    [
        ("backoff", lambda low, high: {"delay": 1000 * high, "jitter": 1 - low / high}, 1, 2),
        ("wait_random", lambda low, high: {"min": low, "max": high}, 1, 1),
    ],
)
@given(st.integers(1, 500), st.integers(501, 10**4))
def test_a_random_wait_is_drawn_from_the_range_of_the_library(word, given, low, high, shortest, longest):
    shortest, longest = shortest * low, longest * high
    place = WordPlace("channel", ["retry"], refused=_refused, own_paths=_own_paths)
    retry = translate(word, given(shortest, longest), place).tree["retry"]
    wait, share = parse_duration(retry["initial_delay"]), parse_share(retry["jitter_share"])
    assert retry["jitter"] == "proportional"
    assert wait * (1 - share) == pytest.approx(shortest, abs=1e-6 * longest)
    assert wait * (1 + share) == pytest.approx(longest, rel=1e-6)
