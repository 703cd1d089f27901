"""The texts of the guide to operating: the unit, the image, the dashboard and the alerts are about what there is."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from documents import GUIDES, text_of
from each_row import over_each
from guide import Guide
from test_guides import needs_a_shell

from actors import MemoryStore, Metrics, PostgresStore, SendNotification
from actors.messages import NotificationChannel, NotificationRequested
from actors.service.serve import OLDEST_PYTHON

SUPPORT = Path(__file__).parents[1] / "support"
ALERTS = yaml.safe_load((GUIDES / "operating" / "alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((GUIDES / "operating" / "dashboard.json").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = {rule["alert"]: rule["expr"] for rule in RULES} | {
    panel["title"]: target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
}

_WORDS = {
    "sum",
    "max",
    "min",
    "by",
    "rate",
    "increase",
    "deriv",
    "min_over_time",
    "histogram_quantile",
    "and",
    "or",
    "le",
}
_WORDS |= {"up", "job", "instance"}


def exported():
    """Return the labels of each sample that is exported, by its name."""
    metrics = Metrics()
    metrics.start_from(MemoryStore(), NotificationChannel)
    samples = {}
    for family in metrics.registry.collect():
        collector = metrics.registry._names_to_collectors[family.name]
        labels = set(getattr(collector, "_labelnames", ()))
        names = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        for ending in names:
            samples[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    samples["breaker_state"] = {"channel", "provider", "host", "state"}  # collected while a pipeline runs
    return samples


def without_strings(query):
    return re.sub(r'"[^"]*"', '""', query)


@over_each(QUERIES)
def test_every_metric_and_label_of_a_query_exists(name):
    there = exported()
    query = re.sub(r"\[\d+[smh]\]", "", without_strings(QUERIES[name]))
    names = set(re.findall(r"[a-z_]{3,}", query))
    metrics = names & set(there)
    assert metrics or name == "RetrylabDown"
    labels = set().union(*(there[metric] for metric in metrics)) if metrics else set()
    assert names - metrics - labels - _WORDS == set()


def test_every_metric_that_is_exported_as_a_rate_of_the_service_is_on_the_dashboard():
    shown = " ".join(QUERIES.values())
    silent = {"notifications_duplicate_total", "limiter_refusals_total", "breaker_transitions_total"}
    silent |= {"retry_attempts_bucket", "retry_attempts_count", "retry_attempts_sum"}
    silent |= {"delivery_time_seconds_count", "delivery_time_seconds_sum"}
    assert [name for name in exported() if name not in shown and name not in silent] == []


def test_a_query_has_as_many_brackets_that_open_as_close():
    for query in QUERIES.values():
        for opening, closing in ("()", "{}", "[]"):
            assert query.count(opening) == query.count(closing), query


def test_the_guide_says_what_each_alert_means():
    assert re.findall(r"^\| `(Retrylab\w+)` \|", text_of("operating"), flags=re.MULTILINE) == [
        rule["alert"] for rule in RULES
    ]
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_panels_of_the_dashboard_do_not_overlap():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})


def unit():
    return Guide(GUIDES / "operating.md").files["retrylab.service"]


def test_the_unit_checks_the_settings_before_it_starts_and_before_it_reloads():
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(unit())
    service = dict(parser["Service"])
    start = shlex.split(service["ExecStart"])
    assert start[1:] == ["serve", "/etc/retrylab/service.yaml"]
    assert shlex.split(service["ExecStartPre"]) == [*start, "--check"]
    reloads = re.findall(r"^ExecReload=(.*)$", unit(), flags=re.MULTILINE)
    assert reloads == [service["ExecStartPre"], "/bin/kill -HUP $MAINPID"]
    assert service["TimeoutStopSec"] == "60s"  # the default of `drain` is 30 s


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not here: systemd-analyze")
def test_systemd_has_nothing_to_say_of_the_unit(tmp_path):
    path = tmp_path / "retrylab.service"
    path.write_text(unit().replace("/opt/retrylab/bin/retrylab", "/bin/true"))
    argv = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "retrylab" in line] == []


def test_the_image_ends_by_the_signal_that_drains_and_runs_as_nobody_special():
    lines = Guide(GUIDES / "operating.md").files["Dockerfile"].replace("\\\n", "").splitlines()
    given = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}
    assert json.loads(given["ENTRYPOINT"]) + json.loads(given["CMD"]) == [
        "retrylab", "serve", "/etc/retrylab/service.yaml",
    ]  # fmt: skip
    assert (given["STOPSIGNAL"], given["USER"]) == ("SIGTERM", "retrylab")
    probe = json.loads(given["HEALTHCHECK"].partition("CMD ")[2])
    compile(probe[2], "probe", "exec")
    assert "/healthz/ready" in probe[2]
    _, there = given["COPY"].split()
    _, hashed, project = (" ".join(each.split()) for each in given["RUN"].split("&&"))
    assert hashed == f"pip install --no-cache-dir --require-hashes -r {there}/.ci/requirements-service.txt"
    assert project == f"pip install --no-cache-dir --no-deps --no-build-isolation {there}"


def test_the_guide_names_the_pythons_that_the_service_is_not_warned_of():
    named = re.search(r"^## Which Python\n\nUse ([\d., ]+),", text_of("operating"), flags=re.MULTILINE)[1].split(", ")
    assert named == [f"{major}.{minor}.{patch}" for (major, minor), patch in OLDEST_PYTHON.items()]


@pytest.mark.integration
@needs_a_shell
def test_a_backup_of_sqlite_is_restored_as_the_guide_says(tmp_path):
    Guide(GUIDES / "operating.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
async def test_a_backup_of_postgresql_is_restored_as_the_guide_says(tmp_path, monkeypatch):
    sys.path.append(str(SUPPORT))
    from postgres_server import NoServer, running_server

    command = SendNotification(notification_id="a", channel="email", recipient="ann@example.com", message="hello")
    event = NotificationRequested(at_ns=0, epoch_ns=10**18, notification_id="a", channel=command.channel, user_id="ann")
    others = [msgspec.structs.replace(each, notification_id="b") for each in (event, command)]
    [dump, restore] = re.findall(r"^```sh\n(.*?)^```$", text_of("operating"), flags=re.MULTILINE | re.DOTALL)
    try:
        with running_server() as server:
            dsn = server.new_database()
            monkeypatch.setenv("DATABASE_URL", dsn)
            monkeypatch.setenv("PATH", f"{server._bin_path}{os.pathsep}{os.environ['PATH']}")
            async with PostgresStore.open(dsn, node="one") as store:
                await store.commit(event, command)()
                done = subprocess.run(["bash", "-c", dump], cwd=tmp_path, capture_output=True, text=True, check=False)
                if "version mismatch" in done.stderr:
                    pytest.skip(f"no pg_dump for this server: {done.stderr}")
                assert done.returncode == 0, done.stderr
                await store.commit(*others)()
            subprocess.run(["bash", "-ec", restore], cwd=tmp_path, capture_output=True, text=True, check=True)
            async with PostgresStore.open(dsn, node="one") as store:
                assert [each.command.notification_id for each in store.open_deliveries(0)] == ["a"]
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")
