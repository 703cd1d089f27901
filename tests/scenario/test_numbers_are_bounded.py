"""Every whole number in a file has a bound, or is known to be harmless; and so has what is long on one line."""

import in_process
import pytest

from actors.errors import ConfigurationError
from actors.service.config import ServiceConfig
from actors.settings import yaml_tree
from actors.settings.yaml_tree import VALUES_MAX, Place, Unreadable, read
from simulation.scenario import parse
from simulation.scenario.schema import json_schema

COUNTED = "compared with a counter, or a factor in arithmetic: nothing is made for each"
EXPECTED = "so many arrivals are expected, are said before the run, and come one by one"
ON_DEMAND = "a name drawn by number: what is kept is kept of those that come"
HARMLESS = {
    **dict.fromkeys(("AwsBudgetConfig", "BreakerWindow", "BulkheadConfig", "CircuitBreakerConfig"), COUNTED),
    **dict.fromkeys(("DeadLettersConfig", "EnvoyBudgetConfig", "GradientConfig", "OutcomeRetryConfig"), COUNTED),
    **dict.fromkeys(("QuotaConfig", "RateLimitConfig", "RedriveConfig", "ResendConfig", "RetryConfig"), COUNTED),
    **dict.fromkeys(("TenantConfig", "TokenBudgetConfig", "VegasConfig", "FailoverConfig", "ProviderConfig"), COUNTED),
    **dict.fromkeys(("ChannelConfig", "PctConfig.steps", "ScheduleConfig.deviations"), COUNTED),
    **dict.fromkeys(("FaultConfig.fail_first", "FaultConfig.capacity", ".max_pending"), COUNTED),
    **dict.fromkeys(("QuotaFault", "QueueConfig", "SmtpConfig.mails_per_connection"), COUNTED),
    "HedgingConfig.max_attempts": "more than 5 are taken as 5",
    "BurstArrivals.size": EXPECTED,
    **dict.fromkeys(("ChannelWorkload", "ClosedWorkload.users", "ClosedWorkload.hosts"), ON_DEMAND),
    **dict.fromkeys(("ClosedWorkload.tenants", "EventWorkload"), ON_DEMAND),
    ".seed": "a name of random streams",
}
"""Fields without a maximum, or models none of whose numbers has one, and why that takes neither memory nor time."""


def whole_numbers(schema):
    """Yield the path of each whole number in a JSON schema, by model and key, and what the schema says of it."""

    def within(part, model, key):
        if isinstance(part, list):
            for each in part:
                yield from within(each, model, key)
        elif isinstance(part, dict):
            if part.get("type") == "integer":
                yield f"{model}.{key}", part
            for name, below in part.get("properties", {}).items():
                yield from within(below, part.get("title", model), name)
            for name in ("anyOf", "oneOf", "allOf", "items", "prefixItems", "additionalProperties"):
                yield from within(part.get(name), model, key)

    yield from within({**schema, "title": ""}, "", "")
    for name, part in schema.get("$defs", {}).items():
        yield from within({**part, "title": name} if "properties" in part else part, name, "")


@pytest.mark.parametrize("of", [json_schema, ServiceConfig.model_json_schema], ids=["scenario", "service"])
def test_every_whole_number_of_a_file_has_a_maximum_or_is_known_to_be_harmless(of):
    unbounded = {path for path, part in whole_numbers(of()) if "maximum" not in part}
    assert {path for path in unbounded if not {path, path.partition(".")[0]} & set(HARMLESS)} == set()


WORKLOAD = "duration: 10s\nworkload:\n  - {channel: email, arrivals: {constant: 1/s}, users: 9}\n"


@pytest.mark.parametrize("number", [10**5 + 1, 10**9, 10**18])
@pytest.mark.parametrize(
    ("key", "before", "after", "most"),
    [
        ("nodes", "", "", "1,000"),
        ("nodes", "{count: ", "}", "1,000"),
        ("faults", "[{at: 1s, scale: {to: ", "}}]", "1,000"),
        ("schedule", "{pct: {steps: 9, depth: ", "}}", "10,000"),
        ("sweep", "{drain: [1s, 2s], design: random, samples: ", "}", "10,000"),
    ],
)
def test_a_number_that_takes_memory_for_each_is_refused_with_its_place(key, before, after, most, number):
    text = f"{WORKLOAD}{key}: {before}{number}{after}"
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert refused.value.problems[0].endswith(f": wanted a whole number from 1 to {most}, got {number}")
    assert refused.value.problems[0].startswith("scenario.yaml:4:")


@pytest.mark.parametrize("number", [10**6 + 1, 10**18])
@pytest.mark.parametrize(
    "entry",
    ["{channel: sms, think: 1s, clients: N}", "{channel: sms, arrivals: {constant: 1/s}, users: {zipf: 1, count: N}}"],
)
def test_clients_and_popularity_are_bounded(entry, number):
    with pytest.raises(ConfigurationError, match=r"wanted a whole number from 1 to 1(00|,000),000, got 1"):
        parse(f"duration: 1s\nworkload: [{entry.replace('N', str(number))}]")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--replicates", "1000001"),
        ("run", "--replicates", "9", "--workers", "257"),
        ("sweep", "--out", "out", "--vary", "drain=1s,2s", "--replicates", "999999999"),
        ("sweep", "--out", "out", "--vary", "drain=1s,2s", "--workers", "999999999"),
        ("compare", "--vary", "drain=1s,2s", "--replicates", "1000000"),
        ("tune", "--vary", "drain=1s,2s", "--trials", "99999999999"),
        ("explore", "--seeds", "1000000000"),
        ("explore", "--workers", "1000000000"),
    ],
)
def test_numbers_on_a_command_line_are_bounded(words, tmp_path):
    (tmp_path / "one.yaml").write_text(WORKLOAD)
    name, *options = words
    done = in_process.retrylab(name, "one.yaml", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{options[-2]}: wanted at most " in done.stderr


@pytest.mark.parametrize(
    ("key", "entry", "most"),
    [
        ("faults", "{channel: email, outage: true}", "1,000"),
        ("expect", "sent_fraction >= 0%", "1,000"),
        ("preferences", "{share: 1%, channel: email, enabled: false}", "1,000"),
        ("quiet_hours", "{share: 1%, from: '1:00', to: '2:00'}", "1,000"),
    ],
)
def test_a_list_whose_entries_are_looked_at_beside_each_other_is_bounded(key, entry, most):
    with pytest.raises(ConfigurationError) as refused:
        parse(f"{WORKLOAD}{key}: [{', '.join([entry] * 1_001)}]")
    place = f"scenario.yaml:4:{len(key) + 3}: {key}"
    assert f"{place}: wanted a list of at most {most} entries, got 1,001" in refused.value.problems


# ── what is long on one line ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        f"a: [{'1,' * 400_000}]",
        f"a: {{{','.join(f'k{number}: 1' for number in range(80_000))}}}",
        "- 1\n" * 200_000,
    ],
    ids=["list", "mapping", "lines"],
)
def test_a_text_of_too_many_values_is_refused_after_as_many_as_may_be(text, monkeypatch):
    composed = 0

    class Counting(yaml_tree._Composer):
        values_max = 500

        def compose_node(self, parent, index):
            nonlocal composed
            composed += 1
            return super().compose_node(parent, index)

    monkeypatch.setattr(yaml_tree._Reading, "composer", Counting)
    with pytest.raises(Unreadable) as refused:
        read(text, Place("scenario.yaml", 1, 1))
    assert "too large: wanted at most 500 values" in str(refused.value.problems[0])
    assert composed <= 2 * 500 + 2
    assert VALUES_MAX == 50_000


# ── data files ──────────────────────────────────────────────────────────────────────────────────────────────────────

DATA = {
    "empirical": "channels: {email: {provider: {latency: {empirical: FILE}}}}",
    "trace": "faults: []\nworkload: [{channel: email, arrivals: {trace: FILE, column: value, every: 1s}}]",
}
LATENCY = "duration: 9s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n"


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(
    "content",
    [
        "root:$6$hunter2:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        "hunter2\nhunter2\n",
        "seconds\n0.1\nhunter2\n",
        "value\n1\nhunter2\n",
        "hunter2,value\nhunter2,hunter2\n",
        "hunter2_ms\n1\n",
        "value\n7.25\n-3.5\n",
        "seconds\n-7.25\n",
    ],
)
def test_no_problem_shows_what_is_in_a_file_that_a_scenario_names(content, kind, is_link, tmp_path):
    secret = tmp_path / "elsewhere" / "secret"
    secret.parent.mkdir()
    secret.write_text(content)
    (tmp_path / "link.csv").symlink_to(secret)
    named = DATA[kind].replace("FILE", "link.csv" if is_link else str(secret))
    with pytest.raises(ConfigurationError) as refused:
        parse(named if kind == "trace" else LATENCY + named, str(tmp_path / "scenario.yaml"))
    text = str(refused.value).replace(str(tmp_path), "")
    assert not any(part in text for part in ("hunter2", "7.25", "-3.5", "root", "daemon"))
    assert "link.csv" in text if is_link else "secret" in text


@pytest.mark.parametrize("lines", ["1," * 400_000, "value\n" + "1," * 400_000, "x" * 200_000])
@pytest.mark.parametrize("kind", DATA)
def test_a_data_file_of_very_many_columns_is_refused(kind, lines, tmp_path):
    (tmp_path / "wide.csv").write_text(lines)
    named = DATA[kind].replace("FILE", "wide.csv")
    with pytest.raises(ConfigurationError, match=r"columns|field larger"):
        parse(named if kind == "trace" else LATENCY + named, str(tmp_path / "scenario.yaml"))
