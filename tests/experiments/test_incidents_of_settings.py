"""One's own channel settings in the published incidents: what holds, and what breaks."""

import json
import tomllib
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import in_process
import pytest
from scenario_tables import written

from actors.channel_names import channel_named
from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig, NotifierConfig
from simulation.experiments import incidents
from simulation.experiments.incidents import INCIDENTS, Incident, Verdict, print_remedies, remedy, settings_in, verdicts
from simulation.running.runner import run
from simulation.scenario import load

ROOT = Path(__file__).parents[2]
BY_NAME = {incident.name: incident for incident in INCIDENTS}
PATIENT = """\
timeout: 8s
    retry: {max_attempts: 500, initial_delay: 1s, max_delay: 1m, jitter: full}"""
SETTINGS = f"""\
listen: 127.0.0.1:0
tokens: [{{name: shop, secret: {{env: NOT_READ}}}}]
channels:
  email:
    {PATIENT}
    circuit_breaker: {{per: host, timeout: 30s}}
    quota: {{rate: 15/s, kind: token_bucket}}
  sms:
    {PATIENT}
    switch_after: 1
    failover: {{spare: {{}}}}
  push:
    {PATIENT}
  webhook:
    {PATIENT}
"""

retrylab = partial(in_process.retrylab, cwd=ROOT)


file = written("service.yaml", SETTINGS)


@cache
def of_the_defaults() -> dict[str, Verdict]:
    return {verdict.incident.name: verdict for verdict in verdicts(NotifierConfig())}


def verdict_of(incident: Incident, settings: NotifierConfig) -> Verdict:
    return Verdict(incident, run(incident.with_settings(settings)))


def test_every_incident_that_ships_is_one_of_them():
    assert sorted(BY_NAME) == sorted(path.stem for path in (ROOT / "scenarios" / "incidents").glob("*.yaml"))
    assert all(incident.path.is_file() for incident in INCIDENTS)


def test_the_package_as_it_is_installed_has_their_files(tmp_path, monkeypatch):
    """A wheel has what the build is told to include: the folder that is looked for first."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    included = build["force-include"]["scenarios/incidents"]
    assert ROOT / included == Path(incidents.__file__).with_name("published")
    (tmp_path / "published").mkdir()
    monkeypatch.setattr(incidents, "__file__", str(tmp_path / "incidents.py"))
    assert BY_NAME["vonage-2022"].path == tmp_path / "published" / "vonage-2022.yaml"


def test_the_sender_s_settings_are_one_s_own_and_all_else_is_the_incident_s(file):
    own, told = settings_in(file), load(BY_NAME["pagerduty-2017"].path)
    scenario = BY_NAME["pagerduty-2017"].with_settings(own)
    sms = scenario.channel_as_given(NotificationChannel.SMS)
    assert (sms.retry, sms.timeout) == (own.channels[NotificationChannel.SMS].retry, 8.0)
    assert sms.provider == told.channels.sms.provider
    assert sms.failover["spare"].provider == told.channels.sms.failover["backup"].provider
    assert sms.failover["spare"].quota is None
    limit = scenario.faults[-1]  # which the backup enforces now, as the sender does not know it
    assert (limit.provider, limit.throttle.rate.per_second * 60) == ("spare", pytest.approx(24))
    assert (scenario.workload, scenario.faults[:-1]) == (told.workload, told.faults)
    assert BY_NAME["pagerduty-2017"].with_settings(NotifierConfig()).faults == told.faults  # there is no other provider


def test_what_belongs_to_the_scale_stays(file):
    push = BY_NAME["github-notifications-2026"].with_settings(settings_in(file)).channels.push
    assert (push.timeout, push.max_in_flight, push.retry.max_attempts) == (30 * 60, 16, 500)


def test_a_channel_of_a_fallback_is_there_too():
    own = NotifierConfig(
        channels={
            NotificationChannel.SMS: ChannelConfig(fallback={"channel": "push"}),
            NotificationChannel.PUSH: ChannelConfig(timeout=3),
            NotificationChannel.WEBHOOK: ChannelConfig(timeout=4),
        }
    )
    scenario = BY_NAME["vonage-2022"].with_settings(own)
    assert scenario.channels_used == (NotificationChannel.SMS, NotificationChannel.PUSH)
    assert scenario.channels.push.timeout == 3


@pytest.mark.integration
@pytest.mark.thorough
def test_one_process_or_two_judge_the_same(monkeypatch):
    monkeypatch.setattr(incidents, "INCIDENTS", [BY_NAME["vonage-2022"], BY_NAME["va-debt-2023"]])
    one, two = ([each.document for each in verdicts(NotifierConfig(), workers)] for workers in (1, 2))
    assert one == two


@pytest.mark.thorough
def test_the_defaults_lose_what_was_published_as_late():
    """Three attempts within some seconds outlive no trouble of an hour, but for what waits at an open breaker."""
    found = of_the_defaults()
    assert [name for name, verdict in found.items() if verdict.holds] == [
        "github-notifications-2026",
        "gatewayapi-2016",
        "github-retries-2026",
    ]
    assert {name: verdict.decisive["text"] for name, verdict in found.items() if not verdict.holds} == {
        "github-webhooks-2024": "sent_fraction == 1",
        "improvmx-2025": "workload.others.delivered_within(1m) >= 99%",
        "onfido-2025": "sent_fraction == 1",
        "opsgenie-2022": "sent_fraction == 1",
        "pagerduty-2017": "sent_fraction == 1",
        "va-debt-2023": "sent_fraction == 1",
        "vonage-2022": "sent_time_s.max <= 20s",
    }


@pytest.mark.slow
def test_patient_settings_lose_nothing_in_any_of_them(file):
    done = retrylab("incidents", "--workers", 1, file, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = {each["incident"]: each for each in json.loads(done.stdout)}
    assert list(found) == list(BY_NAME)
    assert [name for name, each in found.items() if not each["holds"]] == [
        "github-webhooks-2024",  # the herd after the repair
        "onfido-2025",
        "opsgenie-2022",  # refused by the provider's limit, and late by their backoff
    ]
    for name, each in found.items():
        assert each["expectations"][0]["value"] == 1, name
        assert {"happened", "decisive", "digest"} < each.keys()
        assert each["holds"] == all(one["holds"] for one in each["expectations"])


def test_the_table_says_what_decides(monkeypatch, file):
    monkeypatch.setattr(incidents, "INCIDENTS", (BY_NAME["vonage-2022"], BY_NAME["va-debt-2023"]))
    done = retrylab("incidents", "--workers", 1, file)
    assert done.returncode == 0
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "service.yaml 2 of 2 incidents hold",
        "incident what decides is as it happened",
        "vonage-2022 holds sent_time_s.max <= 20s 11.4 s 20 to 23 s late for three days, none lost",
        "va-debt-2023 holds sent_time_s.max <= 6m 4.99 min 400 to 500/s where 15/s are agreed",
    ]


def test_only_incidents_of_which_the_file_has_the_channels_are_judged(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("channels: {sms: {}}\n")
    monkeypatch.setattr(incidents, "INCIDENTS", (BY_NAME["va-debt-2023"], BY_NAME["vonage-2022"]))
    done = retrylab("incidents", "--workers", 1, path)
    assert done.stdout.splitlines()[0] == "a.yaml  0 of 1 incidents hold"
    assert "va-debt-2023: not judged, for the file has no email" in done.stdout.splitlines()
    path.write_text("channels: {push: {}}\n")
    done = retrylab("incidents", "--workers", 1, path)
    assert (done.returncode, done.stderr) == (2, "channels: wanted those of an incident, of email, sms, got push\n")


def test_a_channel_of_ones_own_stands_for_one_of_its_kind(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("channels: {codes: {kind: sms, timeout: 3s}, api: {kind: call, timeout: 4s}}\n")
    own = settings_in(path)
    assert BY_NAME["vonage-2022"].with_settings(own).channels.sms.timeout == 3
    assert BY_NAME["github-retries-2026"].with_settings(own).channels_used == ("tokens",)
    assert BY_NAME["github-retries-2026"].with_settings(own).channel_as_given(channel_named("tokens")).timeout == 4
    monkeypatch.setattr(incidents, "INCIDENTS", (BY_NAME["va-debt-2023"], BY_NAME["vonage-2022"]))
    path.write_text("channels: {codes: {kind: sms}}\n")
    done = retrylab("incidents", "--workers", 1, "--remedies", path)
    assert "va-debt-2023: not judged, for the file has no email" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].strip() == "codes: {switch_after: 1, failover: {backup: {}}}"


@pytest.mark.thorough
def test_what_would_have_held_is_found(monkeypatch):
    monkeypatch.setattr(incidents, "INCIDENTS", (BY_NAME["vonage-2022"],))
    done = retrylab("incidents", "--workers", 1)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("--remedies looks for")
    done = retrylab("incidents", "--workers", 1, "--remedies")
    assert done.returncode == 1
    assert [line.strip() for line in done.stdout.splitlines()[3:]] == [
        "",
        "vonage-2022 would hold with",
        "sms: {switch_after: 1, failover: {backup: {}}}",
    ]
    done = retrylab("incidents", "--workers", 1, "--remedies", "--json")
    assert json.loads(done.stdout)[0]["remedy"] == {"sms": {"switch_after": 1, "failover": {"backup": {}}}}


def test_no_more_is_changed_than_has_to_be(file, capsys):
    """Its retries are patient already, and an own breaker stays but for what is changed of it."""
    own = settings_in(file)
    found = remedy(own, verdict_of(BY_NAME["github-webhooks-2024"], own))
    assert found.lines == ["webhook: {circuit_breaker: {resume_rate: 2/s, resume_rate_max: 5/s}}"]
    assert found.changes.keys() == {NotificationChannel.WEBHOOK}
    print_remedies({"github-webhooks-2024": found})
    (told,) = [line.strip() for line in capsys.readouterr().out.splitlines() if "its rates" in line]
    assert told == (
        "its rates are of the 0.61/s that arrive here on average, scaled down from what it was: multiply them by as "
        "many times as your load is larger"
    )


def test_what_holds_under_none_of_the_changes_has_no_remedy(monkeypatch):
    monkeypatch.setattr(incidents, "_CHANGES", incidents._CHANGES[:2])
    incident = replace(BY_NAME["vonage-2022"], wanted=("sent_time_s.max <= 0s",))
    assert remedy(NotifierConfig(), verdict_of(incident, NotifierConfig())).lines == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("duration: 1m\n", ": wanted a file with settings of `channels`, got one without"),
        ("- a\n", ": wanted a file with settings of `channels`, got one without"),
        ("listen: 1\nchannels: {email: {retry: {max_attempt: 3}}}\n",
         ":2:28: channels.email.retry.max_attempt: unknown key; did you mean max_attempts?"),
        ("channels: {email: {quota: {account: a}}}\n",
         ":1:37: channels.email.quota.account: wanted the name of an account, of which there are: none, got 'a'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path, text, problem):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        settings_in(path)
    assert error.value.problems == [f"{path}{problem}"]
    done = retrylab("incidents", "--workers", 1, path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{path}{problem}\n")


def test_fallbacks_in_a_circle_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("channels: {email: {fallback: {channel: sms}}, sms: {fallback: {channel: email}}}\n")
    with pytest.raises(ConfigurationError, match=r"own\.yaml: "):
        settings_in(path)
