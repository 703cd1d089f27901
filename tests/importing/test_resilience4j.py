"""Settings of resilience4j: which hold, and the waits that come of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st

from actors.errors import ConfigurationError
from simulation.importing.files import import_files, recognised_kinds
from simulation.importing.policy import Mark
from simulation.importing.readers.resilience4j import duration_of
from simulation.importing.source import Given, SourceFile
from tests.support import effort
from tests.support.imported import marks, one, read, reason, starts

KIND = "resilience4j"
GROWS = "enableExponentialBackoff: true"
DOUBLE = "exponentialBackoffMultiplier: 2"


def retries(block: str, configs: str = "{}", **arguments: Any) -> Any:
    text = f"resilience4j.retry:\n  configs: {configs}\n  instances: {{pay: {block}}}\n"
    return one(KIND, text, **arguments)


def waits(policy: Any) -> list[float]:
    found = [late for _, late in starts(policy)]
    return [round(after - before, 6) for before, after in itertools.pairwise(found)]


@pytest.mark.parametrize(
    ("block", "configs", "expected"),
    [
        ("{}", "{}", [0.5, 0.5]),
        ("{maxAttempts: 4, waitDuration: 100}", "{}", [0.1, 0.1, 0.1]),
        ("{max-attempts: 2, wait_duration: PT1.5S}", "{}", [1.5]),
        ("{maxAttempts: 2, waitDuration: 1_500}", "{}", [1.5]),
        ("{maxAttempts: 4, waitDuration: 1s, enableExponentialBackoff: true}", "{}", [1, 1.5, 2.25]),
        # Settings of the backoff count only beside a waitDuration in the same block.
        ("{enableExponentialBackoff: true, exponentialBackoffMultiplier: 3}", "{}", [0.5, 0.5]),
        # A cap counts only beside a multiplier.
        (
            "{maxAttempts: 4, waitDuration: 1s, enableExponentialBackoff: true, exponentialMaxWaitDuration: 1s}",
            "{}",
            [1, 1.5, 2.25],
        ),
        (
            f"{{maxAttempts: 4, waitDuration: 1s, {GROWS}, {DOUBLE}, exponentialMaxWaitDuration: 3s}}",
            "{}",
            [1, 2, 3],
        ),
        # The default config is inherited; of a backoff too, beside the instance's own waitDuration.
        ("{}", "{default: {maxAttempts: 2, waitDuration: 9s}}", [9]),
        ("{waitDuration: 1s}", "{default: {waitDuration: 9s, enableExponentialBackoff: true}}", [1, 1.5]),
        # A named base inherits the default config.
        ("{baseConfig: slow}", "{default: {maxAttempts: 4}, slow: {waitDuration: 3s}}", [3, 3, 3]),
        # Rounded down to milliseconds each time, 1.5 ms never comes.
        ("{maxAttempts: 5, waitDuration: 1ms, enableExponentialBackoff: true}", "{}", [0.001, 0.001, 0.001, 0.001]),
        (
            "{maxAttempts: 4, waitDuration: 4s, enableExponentialBackoff: true, exponentialBackoffMultiplier: 0.5}",
            "{}",
            [4, 2, 1],
        ),
    ],
)
def test_the_waits_are_those_of_the_blocks_that_hold(block: str, configs: str, expected: list[float]) -> None:
    assert waits(retries(block, configs)) == expected


@given(
    wait=st.integers(1, 20_000),
    attempts=st.integers(2, 10),
    multiplier=st.floats(0.3, 4).map(lambda number: round(number, 2)),
    cap=st.one_of(st.none(), st.integers(1, 60_000)),
    factor=st.one_of(st.none(), st.floats(0, 0.99).map(lambda number: round(number, 2))),
)
@settings(max_examples=effort.examples(400), phases=(Phase.explicit, Phase.generate))
def test_starts_lie_where_the_formula_of_the_library_says(
    wait: int, attempts: int, multiplier: float, cap: int | None, factor: float | None
) -> None:
    """The formula: `IntervalFunction.java`, with `IntervalFunctionCompanion.randomize` adding up to a millisecond."""
    block = f"maxAttempts: {attempts}, waitDuration: {wait}, {GROWS}, exponentialBackoffMultiplier: {multiplier}"
    block += f", exponentialMaxWaitDuration: {cap}" if cap is not None else ""
    block += f", enableRandomizedWait: true, randomizedWaitFactor: {factor}" if factor is not None else ""
    low, high, interval = 0.0, 0.0, wait
    expected = [(0.0, 0.0)]
    for _ in range(attempts - 1):
        limit = cap if cap is not None else 10**15
        low += min(interval * (1 - (factor or 0)), limit)
        high += min(interval * (1 + (factor or 0)), limit)
        expected.append((low / 1000, high / 1000))
        interval = int(interval * multiplier)
    policy = retries(f"{{{block}}}")
    is_exact = marks(policy)["waitDuration"][1] is Mark.EXACT
    assert is_exact or factor
    for found, wanted in zip(starts(policy), expected, strict=True):
        spread = 0.002 * attempts
        assert found[1] >= wanted[1] * 0.99 - spread
        assert found[0] <= wanted[0] * 1.01 + spread
        if is_exact:
            assert found == pytest.approx(wanted, rel=0.01, abs=spread)


@pytest.mark.parametrize(
    ("block", "key", "why"),
    [
        ("{maxRetryAttempts: 9}", "maxRetryAttempts", "resilience4j 2 ignores it; wanted maxAttempts"),
        ("{maxAttempt: 9}", "maxAttempt", "did you mean maxAttempts?"),
        (
            "{waitDuration: 1s, exponentialBackoffMultiplier: 2}",
            "exponentialBackoffMultiplier",
            "only with enableExponentialBackoff",
        ),
        ("{waitDuration: 1s, randomizedWaitFactor: 0.2}", "randomizedWaitFactor", "only with enableRandomizedWait"),
        ("{enableRandomizedWait: true}", "enableRandomizedWait", "only beside a waitDuration in the same block"),
        ("{eventConsumerBufferSize: 10}", "eventConsumerBufferSize", "events"),
    ],
)
def test_dead_settings_are_named_with_the_reason(block: str, key: str, why: str) -> None:
    policy = retries(block)
    assert marks(policy)[key] == (3, Mark.DOES_NOTHING)
    assert why in reason(policy, key)


def test_the_old_name_of_a_setting_is_read_for_the_old_version() -> None:
    assert len(starts(retries("{maxRetryAttempts: 9}", versions={KIND: "1.7.1"}))) == 9


def test_misplaced_blocks_do_nothing_and_their_names_get_the_default() -> None:
    text = """
resilience4j:
  retry:
    backendA: {maxAttempts: 7}
    configs:
      default: {maxAttempts: 2}
      instances:
        backendB: {maxAttempts: 8}
"""
    found = read(KIND, text)
    assert {name: len(starts(policy)) for name, policy in found.items()} == {"backendA": 2, "backendB": 2}
    assert "wanted resilience4j.retry.instances.backendA" in reason(found["backendA"], "maxAttempts")
    assert "called 'instances'" in reason(found["backendB"], "maxAttempts")


def test_a_default_config_alone_is_a_policy() -> None:
    policy = one(KIND, "resilience4j.retry.configs.default: {maxAttempts: 4, waitDuration: 100ms}")
    assert (policy.name, waits(policy)) == ("default", [0.1, 0.1, 0.1])


def test_a_breakers_named_base_does_not_inherit_the_default() -> None:
    text = """
resilience4j.circuitbreaker:
  configs:
    default: {failureRateThreshold: 20, slidingWindowSize: 7}
    strict: {waitDurationInOpenState: 5s}
    named: {slidingWindowSize: 3}
  instances:
    one: {}
    two: {baseConfig: strict, minimumNumberOfCalls: 30}
    named: {}
"""
    found = {name: policy.channel["circuit_breaker"] for name, policy in read(KIND, text).items() if policy.channel}
    assert (found["one"]["window"], found["one"]["failure_rate"]) == ({"calls": 7}, "20%")
    assert (found["two"]["window"], found["two"]["failure_rate"], found["two"]["timeout"]) == (
        {"calls": 100},
        "50%",
        "5s",
    )
    assert (found["two"]["minimum_calls"], found["one"]["minimum_calls"]) == (30, 7)
    assert found["named"]["window"] == {"calls": 3}  # a config of an instance's own name comes before the default


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("COUNT_BASED", ({"calls": 5}, 5, 5)),
        ("time-based", ({"time": "5s"}, 20, 10)),
        ("TIME_BASED", ({"time": "5s"}, 20, 10)),
    ],
)
def test_the_minimum_is_bounded_by_a_window_of_calls_alone(kind: str, expected: tuple[Any, ...]) -> None:
    sizes = "slidingWindowSize: 5, minimumNumberOfCalls: 20, permittedNumberOfCallsInHalfOpenState: 10"
    block = f"{{slidingWindowType: {kind}, {sizes}}}"
    policy = one(KIND, f"resilience4j.circuitbreaker.instances.a: {block}")
    assert policy.channel is not None
    breaker = policy.channel["circuit_breaker"]
    assert (breaker["window"], breaker["minimum_calls"]) == expected[:2]
    assert starts(policy) == [(0, 0)]  # there is no retry of that name


PROFILES = """
resilience4j.retry.instances:
  pay: {maxAttempts: 2, waitDuration: "${wait:1s}"}
  ship: {maxAttempts: 3}
---
spring.config.activate.on-profile: prod & !eu
resilience4j.retry.instances.pay.maxAttempts: 5
"""


@pytest.mark.parametrize(("profiles", "attempts"), [(["prod"], 5), (["prod", "eu"], 2), (["default"], 2)])
def test_a_document_holds_with_its_profile(profiles: list[str], attempts: int) -> None:
    assert len(starts(read(KIND, PROFILES, profiles=profiles)["pay"])) == attempts


def test_a_profile_that_decides_is_asked_for() -> None:
    found = read(KIND, PROFILES)
    assert found["ship"].channel is not None
    assert not found["ship"].questions
    assert found["pay"].channel is None
    assert [question.name for question in found["pay"].questions] == ["profile"]
    named = read(KIND, "resilience4j.retry.instances.a.maxAttempts: 4", names=["x/application-prod.yml"])
    assert named["a"].channel is None
    assert named["a"].questions


def test_a_profile_that_maven_fills_in_is_asked_for() -> None:
    found = read(KIND, "spring.profiles.active: @profile@\n---\n" + PROFILES)["pay"]
    assert found.channel is None
    assert [question.name for question in found.questions] == ["profile"]
    given = read(KIND, "spring.profiles.active: @active.one@\n---\n" + PROFILES, given={"active.one": "prod"})["pay"]
    assert len(starts(given)) == 5


def test_files_of_profiles_go_above_documents_and_properties_above_yaml() -> None:
    files = {
        "s/application.yml": "spring.profiles.active: prod\nresilience4j.retry.instances.a: {maxAttempts: 2}",
        "s/application.properties": "resilience4j.retry.instances.a.wait-duration=3s",
        "s/application-prod.properties": "# a comment\nresilience4j.retry.instances.a.maxAttempts = 4",
    }
    (policy,) = read(KIND, *files.values(), names=list(files)).values()
    assert waits(policy) == [3, 3, 3]


def test_placeholders_are_filled_by_what_is_given_by_files_and_by_their_defaults() -> None:
    block = "{maxAttempts: '${app.tries}', waitDuration: '${WAIT:${OTHER:2s}}'}"
    text = f"app.tries: 4\nresilience4j.retry.instances.a: {block}"
    assert waits(one(KIND, text)) == [2, 2, 2]
    assert waits(one(KIND, text, given={"WAIT": "3s", "app.tries": "2"})) == [3]
    assert marks(one(KIND, text))["waitDuration"][1] is Mark.APPROXIMATE
    assert "where nothing sets" in reason(one(KIND, text), "waitDuration")
    asked = one(KIND, "resilience4j.retry.instances.a: {maxAttempts: '${TRIES}'}")
    assert asked.channel is None
    assert [question.name for question in asked.questions] == ["TRIES"]


def test_two_folders_are_two_applications() -> None:
    text = "resilience4j.retry.instances.a.maxAttempts: {}"
    names = ["shop/src/main/resources/application.yml", "mail/src/main/resources/application.yml"]
    found = read(KIND, text.format(2), text.format(3), names=names)
    assert {name: len(starts(policy)) for name, policy in found.items()} == {"shop/a": 2, "mail/a": 3}


@pytest.mark.parametrize(
    "block",
    [
        "{maxAttempts: 0}",
        "{maxAttempts: many}",
        "{waitDuration: 1.5s}",
        "{waitDuration: -1s}",
        "{baseConfig: gone}",
        "{intervalBiFunction: com.acme.Waits}",
        "{waitDuration: 1s, enableRandomizedWait: true, randomizedWaitFactor: 1.0}",
        "{maxAttempts: '3 # three'}",
        "{maxAttempts: 010}",
    ],
)
def test_what_stops_the_application_or_is_code_is_refused_with_its_line(block: str) -> None:
    policy = retries(block)
    assert policy.channel is None
    assert any(each.mark is Mark.CANNOT_BE_SAID and each.line == 3 for each in policy.findings)


def test_a_turned_order_of_aspects_is_refused() -> None:
    text = """
resilience4j:
  retry: {retryAspectOrder: 2, instances: {a: {maxAttempts: 3}}}
  circuitbreaker: {circuitBreakerAspectOrder: 1, instances: {a: {}}}
"""
    assert one(KIND, text).channel is None
    assert one(KIND, text.replace("Order: 1", "Order: 3")).channel is not None
    alone = one(KIND, text.replace("instances: {a: {}}", "configs: {}"))
    assert reason(alone, "retryAspectOrder") == "only a retry has this name"
    assert reason(alone, "circuitBreakerAspectOrder") == "no circuitbreaker has this name"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500", 0.5),
        ("2s", 2),
        ("3m", 180),
        ("10us", 1e-5),
        ("PT1M30S", 90),
        ("pt0.25s", 0.25),
        ("P1DT1H", 90_000),
        ("1.5s", None),
        ("1 s", None),
        ("5 minutes", None),
        ("PT", None),
    ],
)
def test_durations_are_read_as_spring_reads_them(text: str, seconds: float | None) -> None:
    assert duration_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resilience4j: &a\n  retry: *a\n", ":1:"),
        ("resilience4j:\n  retry:\n<<<<<<< HEAD\n    x: 1\n=======\n    x: 2\n>>>>>>> b\n", ":3: a merge conflict"),
        ("resilience4j:\n\tretry: {}\n", ":2:1: a tab"),
        ("resilience4j:\n  retry: {}\n  retry: {}\n", ":3:3: resilience4j.retry: duplicate key"),
        ("resilience4j: " + "[" * 200, ":1:"),
        ("".join(f"k{number}: 1\n" for number in range(50_000)) + "resilience4j: {}", "too large"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(KIND, text)
    assert says in str(error.value)


def test_templates_are_asked_for_and_anchors_and_merge_keys_are_read() -> None:
    text = """
resilience4j.retry.instances:
  a: &a {maxAttempts: 4, waitDuration: 1s}
  b: {<<: *a, waitDuration: 2s}
  c: {maxAttempts: {{ .Values.tries }}, waitDuration: 5s}
"""
    found = read(KIND, text)
    assert waits(found["b"]) == [2, 2, 2]
    assert found["c"].channel is None
    assert found["c"].questions[0].name == "Values.tries"
    assert waits(read(KIND, text, given={"Values.tries": "2"})["c"]) == [5]
    branched = text.replace("  c:", "{{- if .Values.c }}\n  c:").replace("{{ .Values.tries }}", "3") + "{{- end }}\n"
    assert read(KIND, branched)["c"].channel is None
    with pytest.raises(ConfigurationError, match=r"^file0.yaml:3: a template decides which lines are there") as error:
        read(KIND, "resilience4j.retry.instances:\n  a:\n{{ if .x }}\n    b: 1\n{{ else }}\n    b: 2\n{{ end }}\n")
    assert "duplicate key" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", "resilience4j.retry.instances:\n  {{ svc.name }}:\n    maxAttempts: {{ x | int }}\n"),
        ("a.properties", "\nresilience4j.retry.instances.{{ svc.name }}.max-attempts=4"),
        ("a.yml", "resilience4j.retry.instances.{{ svc.name }}:\n  {{ key }}: 4\n  maxAttempts: 2\n"),
    ],
)
def test_a_template_that_is_a_key_cannot_be_said(name: str, text: str) -> None:
    policy = one(KIND, text, names=[name])
    assert (policy.name, policy.channel) == ("{{ svc.name }}", None)
    line = 1 if text.startswith("resilience4j.retry.instances.") else 2
    assert any((each.line, each.mark) == (line, Mark.CANNOT_BE_SAID) for each in policy.findings)
    assert "\\ue0" not in repr(policy)  # which stand for templates while a file is read


def test_nothing_is_said_of_the_default_of_what_is_asked_for() -> None:
    policy = retries("{maxAttempts: '${N}', waitDuration: '${W}', enableExponentialBackoff: true}")
    marked = marks(policy)
    assert {key: marked[key] for key in ("maxAttempts", "waitDuration", "enableExponentialBackoff")} == {
        "maxAttempts": (3, Mark.CANNOT_BE_SAID),
        "waitDuration": (3, Mark.CANNOT_BE_SAID),
        "enableExponentialBackoff": (3, Mark.EXACT),
    }


CONFIG_MAP = """apiVersion: v1
kind: ConfigMap
data:
  LOG: info
  application.yml: |
    resilience4j.retry:
      instances:
        stock: {maxAttempts: 5}

  application-prod.properties: |-
    resilience4j.retry.instances.stock.max-attempts=7
  other.yml: >
    resilience4j.retry.instances.stock.max-attempts: 9
"""


def test_files_in_a_config_map_are_read_on_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG_MAP)
    for profile, attempts, place in (
        ("prod", 7, ("application-prod.properties", 11)),
        ("x", 5, ("application.yml", 8)),
    ):
        (policy,) = import_files([path], Given(profiles=[profile])).policies
        assert policy.channel is not None
        assert policy.channel["retry"]["max_attempts"] == attempts
        found = next(each for each in policy.findings if each.path == "retry.max_attempts")
        assert (found.file, found.line) == (f"{path}/{place[0]}", place[1])
    assert [kind.name for kind in recognised_kinds(SourceFile("a.yaml", CONFIG_MAP))] == [KIND, KIND]


def test_a_file_that_cannot_be_read_leaves_the_others() -> None:
    found = read(
        KIND,
        "resilience4j.retry.instances.a.maxAttempts: 2",
        "resilience4j: {",
        names=["a/application.yml", "b/application.yml"],
    )
    assert set(found) == {"a", "b/application.yml"}
    assert found["b/application.yml"].channel is None
