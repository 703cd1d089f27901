"""What a worker of studio tells of a run is what the run's own summary and history say."""

import math
import re
from pathlib import Path

import pytest
from effort import sliced
from shipped import SCENARIOS

import simulation
from simulation.reporting.plots.delivery_over_time import course_of, requests_in
from simulation.reporting.plots.source import parts
from simulation.studio import series
from simulation.studio.behind import behind
from simulation.studio.checking import check
from simulation.studio.comparing import compare, row
from simulation.studio.panels import shown_at
from simulation.studio.ranking import LABELS, rank
from simulation.studio.splicing import edited
from simulation.studio.worker import Worker

FOLDER = SCENARIOS[0].parent
STATIC = Path(series.__file__).parent / "static"


def text_of(name, duration):
    """The text of a shipped scenario, with a shorter duration and no expectations on what is no longer in it."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return edited(text, ("duration",), duration).partition("\nexpect:")[0] + "\n"


def told(text, filename="x.yaml", do="run", is_cancelled=lambda: False, worker=None, **more):
    found = []
    worker = worker or Worker(found.append, is_cancelled)
    worker._send = found.append
    worker.do({"do": do, "text": text, "filename": filename, **more})
    return found


def together(lines):
    """The rows of all frames put together, as a page does it, with quantiles of delivery times; and the width of a
    bucket."""
    rows, width, length = {}, None, 0
    for frame in [line for line in lines if line["type"] == "frame"]:
        if frame["width_s"] != width:
            rows, width, length = {}, frame["width_s"], 0
        for channel, of in frame["rows"].items():
            for name, values in of.items():
                rows.setdefault(channel, {}).setdefault(name, {}).update(enumerate(values, frame["from"]))
        for place, times in frame["times"].items():
            for step, *found in times["found"]:
                for name, value in zip(("p50", "p99"), found, strict=True):
                    steps = range(step * times["step"], (step + 1) * times["step"])
                    rows.setdefault(place, {}).setdefault(name, {}).update(dict.fromkeys(steps, value))
        length = max(length, frame["to"])
    return {
        place: {
            **{name: of.get(name, {}) for name in ("p50", "p99")},
            **{
                name: [of.get(name, {}).get(at, 0) for at in range(length)]
                for name in ((*series.COUNTS, *series.LEVELS) if place.strip("@0123456789") else ())
            },
        }
        for place, of in rows.items()
    }, width


RUNS = [
    ("provider-outage", "3m", series.MOST),
    ("provider-outage", "3m", 50),
    ("failover-on-outage", "4m", series.MOST),
    ("burst-over-the-limit", "6m", 70),
    ("poison-messages", "3m", series.MOST),
    ("push-then-sms", "4m", 100),
]


@pytest.mark.parametrize(("name", "duration", "most"), sliced(RUNS, 3))
def test_frames_come_to_what_the_summary_says(monkeypatch, name, duration, most):
    monkeypatch.setattr(series, "MOST", most)
    monkeypatch.setattr("simulation.studio.worker.FRAME_S", 0)  # a frame for every chunk
    worker = Worker(list, lambda: False)
    lines = told(text_of(name, duration), FOLDER / f"{name}.yaml", worker=worker)
    assert [line["type"] for line in lines if line["type"] != "frame"] == ["begin", "done", "breaches"]
    summary = worker._last[1].summary
    rows, width = together(lines)
    for channel, of in summary["channels"].items():
        own = rows[channel]
        assert len(own["sent"]) == int(summary["simulated_s"] / width) + 1
        counted = {key: sum(own[key]) for key in ("arrived", "sent", "dead", "suppressed", "failed", "requests")}
        assert counted == {
            "arrived": of["accepted"],
            "sent": of["sent"],
            "dead": of["dead_lettered"],
            "suppressed": of["suppressed"],
            "failed": of["attempts"] - of["sent"],  # nothing is refused where attempts wait for the breaker
            "requests": of["requests"],
        }
        assert own["dead_letters"][-1] == of["dlq"]["final"]
        assert min(min(own[level]) for level in series.LEVELS) == 0
        assert sum(own[wait][-1] for wait in (*series.WAITS, "under_way")) == of["in_flight"]
    last = next(line for line in reversed(lines) if line["type"] == "frame")
    steps = {place: times["step"] for place, times in last["times"].items()}
    assert_delivery_times(rows, steps, width, worker._last[1])


def assert_delivery_times(rows, steps, width, result):
    """Quantiles of what arrived in a step are those of the requests in it, by the tables of the run."""
    assert len(result.requests) == result.summary["offered"]
    for place, channel in (("", None), *((each, each) for each in result.summary["channels"])):
        step_ns = round(width * 1e9) * steps[place]
        [part] = parts(result, "notifications", "channel", "waited_since_s", channel=channel)
        found = course_of(requests_in(part), result.summary["simulated_s"])
        expected = {}
        for accepted_s, took_s in zip(found.accepted_s, found.times_s, strict=True):
            expected.setdefault(int(round(accepted_s * 1e9) // step_ns), []).append(took_s)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            shown = {at // steps[place]: value for at, value in rows[place][name].items() if value is not None}
            assert shown.keys() == expected.keys()
            for at, times in expected.items():
                value = sorted(times)[math.ceil(len(times) * share) - 1]
                assert shown[at] == (series.NEVER if value == math.inf else pytest.approx(value, abs=1e-4))


def test_a_channel_that_delivers_nothing_has_times_that_are_never():
    """Though others deliver within a second: what is not delivered yet is not known, and at the end it is never."""
    text = edited(text_of("provider-outage", "3m"), ("drain",), "1s")
    text = text.replace("for: 3m", "for: 10m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulation.studio.worker.FRAME_S", 0)  # a frame for every chunk
        lines = told(text)
    rows, width = together(lines[:-3])  # but for the last frame
    assert [rows["email"]["p99"][int(at / width)] for at in (130, 150)] == [None, None]
    rows, width = together(lines)
    in_flight = re.search(r"delivered; ([\d,]+) still in flight; .*never", lines[-2]["figures"])
    assert int(in_flight[1].replace(",", "")) > sum(rows["email"]["dead"]) + 1000
    for at in (130, 150, 170):
        assert rows["email"]["p50"][int(at / width)] == series.NEVER
        assert rows[""]["p99"][int(at / width)] == series.NEVER
        assert 0 < rows["sms"]["p50"][int(at / width)] < 2
    assert rows["email"]["p99"][int(60 / width)] > 0


def test_attempts_that_are_refused_are_none_that_a_provider_failed():
    text = """\
duration: 1m
workload: [{channel: email, arrivals: {constant: 10/s}}]
channels: {email: {circuit_breaker: {when_open: fail, timeout: 20s}, retry: {max_attempts: 2}}}
faults: [{channel: email, at: 10s, outage: true}]
"""
    worker = Worker(list, lambda: False)
    lines = told(text, worker=worker)
    assert lines[0]["faults"][0]["spans"] == ((10, 60 + 3600),)  # it does not end with the arrivals
    rows, _ = together(lines)
    result = worker._last[1]
    attempts = result.attempts.query("outcome != 'sent'")
    assert (sum(rows["email"]["failed"]), sum(rows["email"]["refused"])) == tuple(
        (attempts["refused"] == refused).sum() for refused in (False, True)
    )
    for kind, label in (("failed", None), ("refused", "The provider's latest failure")):
        found = behind(result, 0, 100, kind, "")
        assert found["number"] == attempts[attempts["refused"] == (kind == "refused")]["id"].nunique()
        steps = [step for one in found["shown"] for step in one["steps"].head if step.answer is not None]
        refused = ["refused on our side" in step.details[0] for step in steps]
        assert [step.answer_is == "The provider's latest failure" for step in steps] == refused
        assert label is None or any(refused)
    page = told(text, worker=worker, do="notifications", from_s=0, to_s=100, kind="refused", place="")[0]["html"]
    assert "The provider&#39;s latest failure:" in page
    assert 'state care">warning</span>channels.email.circuit_breaker.when_open: fail' in lines[-1]["list"]


@pytest.mark.parametrize("kept", [150_000, 1])
def test_requests_are_those_of_the_summary_with_copies_and_interrupted_ones(monkeypatch, kept):
    """By when they started, so that the busiest second is the summary's; also of a run that keeps no rows."""
    monkeypatch.setattr("simulation.studio.worker.KEPT_MAX", kept)
    text = """\
duration: 10s
nodes: 2
workload: [{channel: email, arrivals: {constant: 40/s}}]
channels:
  email:
    circuit_breaker: {when_open: fail, failure_threshold: 5, timeout: 1s}
    hedging: {delay: 100ms}
    provider: {latency: {exponential: {mean: 200ms}}}
faults: [{at: 3s, crash: process, restart_after: 1s}, {channel: email, at: 6s, for: 2s, outage: true}]
"""
    worker = Worker(list, lambda: False)
    lines = told(text, worker=worker)
    rows, width = together(lines)
    result = worker._last[1]
    summary = result.summary
    assert min(summary["hedges"], summary["interrupted"], summary["attempts"] - summary["sent"]) > 0
    assert summary["requests"] != summary["attempts"] + summary["hedges"] + summary["interrupted"]  # some are refused
    of_nodes = rows["email@1"]["requests"] + rows["email@2"]["requests"]
    assert sum(rows["email"]["requests"]) == sum(of_nodes) == summary["requests"]
    second = round(1 / width)
    seconds = [rows["email"]["requests"][at : at + second] for at in range(0, len(rows["email"]["requests"]), second)]
    assert max(map(sum, seconds)) == summary["peaks"]["requests_per_s"]
    page = behind(result, 2.5, 3, "requests", "email@2")
    assert page["kept"] == (kept > 1)
    if page["kept"]:
        lost = [each.notification_id for each in result._recorder.interrupted if each.attempt.node == 2]
        assert set(lost) & {one["id"] for one in page["shown"]}


def test_one_attempt_is_one():
    lines = told("duration: 5s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n")
    assert lines[-2]["figures"].endswith("; 1 attempt for each notification that was tried.")


def test_studio_changes_nothing_of_a_run():
    text = text_of("provider-outage", "1m")
    worker = Worker(list, lambda: False)
    told(text, worker=worker)
    assert worker._last[1].summary["digest"] == simulation.run(simulation.parse(text)).summary["digest"]


def test_what_breakers_do_is_said_without_words_from_inside():
    lines = told(text_of("provider-outage", "3m"))
    texts = [each["text"] for line in lines if line["type"] == "frame" for each in line["transitions"]]
    assert {"Breaker email: closed to open", "Breaker email: open to half-open"} <= set(texts)
    assert not any("(" in text for text in texts)


@pytest.mark.parametrize("name", sliced(["deploy-during-outage", "limit-on-twelve-nodes"], 2))
def test_the_curves_of_nodes_add_up_to_those_of_their_channel(name):
    """Also where a node that goes hands over what waits at it, at the very end of a bucket too."""
    text, worker = text_of(name, "6m"), Worker(list, lambda: False)
    lines = told(text, FOLDER / f"{name}.yaml", worker=worker)
    rows, width = together(lines)
    channels, nodes = lines[0]["channels"], range(1, 13)
    handed_over = 0
    for channel in channels:
        of_nodes = [rows[f"{channel}@{node}"] for node in nodes]
        for kind in (*series.COUNTS, *series.LEVELS):
            assert rows[channel][kind] == [sum(each) for each in zip(*(row[kind] for row in of_nodes), strict=True)]
            assert min(map(min, (row[kind] for row in of_nodes))) >= 0, kind
        handed_over += sum(sum(row["sent"]) > sum(row["arrived"]) for row in of_nodes)
    assert (handed_over > 0) == (name == "deploy-during-outage")
    for at in (70, 200, 300):
        bucket = int(at / width)
        window = {"from_s": bucket * width, "to_s": (bucket + 1) * width}
        for kind in ("sent", *series.WAITS, "under_way"):
            for place, of in (("@3", channels), (f"{channels[0]}@5", channels[:1])):
                node = place.partition("@")[2]
                found = behind(worker._last[1], kind=kind, place=place, **window)
                assert found["number"] == sum(rows[f"{each}@{node}"][kind][bucket] for each in of), (at, kind, place)


def test_the_nodes_of_a_large_fleet_are_counted_together():
    text = f"nodes: {series.NODES_MAX + 1}\n{text_of('provider-outage', '20s')}"
    worker = Worker(list, lambda: False)
    rows, _ = together(told(text, worker=worker))
    assert set(rows) == {"email", "sms", "push", ""}
    assert sum(rows["email"]["sent"]) == worker._last[1].summary["channels"]["email"]["sent"]
    assert check(text, "x.yaml")["nodes"] == 1


@pytest.mark.thorough
def test_who_is_behind_a_curve_is_as_many_as_it_shows():
    text, found = text_of("provider-outage", "3m"), []
    worker = Worker(found.append, lambda: False)
    rows, width = together(told(text, worker=worker))
    shown = 0
    for at in range(110, 170, 14):
        bucket = int(at / width)
        window = {"from_s": bucket * width, "to_s": (bucket + 1) * width}
        for kind in (*series.COUNTS, *series.WAITS, "under_way"):
            line = behind(worker._last[1], kind=kind, place="email", **window)
            if kind in ("failed", "requests"):  # one notification may be tried twice meanwhile
                assert line["number"] <= rows["email"][kind][bucket]
            else:
                assert line["number"] == rows["email"][kind][bucket], (at, kind)
            shown += len(line["shown"])
            for one in line["shown"]:
                assert one["channel"] == "email"
                times = [step.at_ns for step in (*one["steps"].head, *one["steps"].tail)]
                assert times == sorted(times)
    assert shown > 30


def test_a_run_that_is_not_kept_is_done_again():
    text = text_of("provider-outage", "1m")
    asked = {"do": "notifications", "from_s": 0, "to_s": 60, "kind": "failed", "place": "push"}
    again, found = told(text, **asked)
    assert again == {"type": "again"}
    assert "injected failure" in found["html"]


def test_a_cancelled_run_ends_at_once():
    asked = iter([False] * 3 + [True] * 1000)
    lines = told(text_of("steady-state", "24h"), is_cancelled=lambda: next(asked))
    assert [line["type"] for line in lines][-1] == "cancelled"
    assert len(lines) < 5


def test_what_is_wrong_with_a_text_is_said():
    [line] = told("duration: soon\nworkload: []\n", str(Path("a") / "b.yaml"))
    assert line["type"] == "problems"
    assert [(each["line"], each["column"]) for each in line["problems"]] == [(1, 11), (2, 11)]


def test_a_run_too_large_to_keep_says_so(monkeypatch):
    monkeypatch.setattr("simulation.studio.worker.KEPT_MAX", 100)
    text, found = text_of("provider-outage", "30s"), []
    worker = Worker(found.append, lambda: False)
    lines = told(text, worker=worker)
    assert lines[-1]["type"] == "done"
    window = {"from_s": 0, "to_s": 30, "kind": "sent", "place": ""}
    [line] = told(text, worker=worker, do="notifications", **window)
    assert "too large to keep its notifications" in line["html"]


def test_an_expectation_that_breaks_says_where():
    text = text_of("provider-outage", "2m") + "expect:\n  - sent_fraction >= 0.1\n  - dlq.peak <= 3\n"
    lines = told(text)
    assert lines[-2]["holds"] == [True, False]
    assert [re.findall("breaks|holds", line["list"]) for line in lines[-2:]] == [["breaks", "holds"]] * 2
    [breach] = lines[-1]["breaches"]
    assert f'data-at="{breach["spans"][0][0]}"' in lines[-1]["list"]
    assert breach["number"] == 1
    rows, width = together(lines)
    lengths = zip(*(rows[channel]["dead_letters"] for channel in ("email", "push", "sms")), strict=True)
    letters = [sum(each) for each in lengths]
    first = next(at for at, many in enumerate(letters) if many > 3)
    assert first * width <= breach["spans"][0][0] < (first + 1) * width


def test_the_button_of_an_expectation_leads_to_where_most_broke_it():
    lines = told(text_of("provider-outage", "4m") + "expect:\n  - delivery_time_s.p99 <= 60\n")
    [at] = re.findall(r'data-at="([\d.]+)"', lines[-1]["list"])
    assert 120 < float(at) < 240
    assert [start for start, _ in lines[-1]["breaches"][0]["spans"] if start < 100] == []


def test_an_expectation_has_one_panel():
    wanted = {
        "channels.email.delivery_time_s.p99 <= 5s": ("times", "email", 5),
        "dlq.peak <= 3": ("letters", "", 3),
        "dlq.peak >= 3": ("letters", "", None),
        "breaker.email.open_s <= 5s": ("breakers", "email", None),
        "retry_amplification <= 2": ("rates", "", None),
        "faults.0.backlog_cleared_s <= 2m": ("waiting", "", None),
        "sent_fraction >= 0.9": ("rates", "", None),
    }
    scenario = simulation.parse(text_of("provider-outage", "1m") + f"expect: {list(wanted)}\n")
    assert [tuple(shown_at(each).values()) for each in scenario.expect] == list(wanted.values())


@pytest.mark.thorough
def test_a_comparison_is_that_of_the_command():
    text = text_of("provider-outage", "1m")
    other = edited(text, ("channels", "push", "retry", "max_attempts"), "1")
    tables = list(compare([text, other], "x.yaml", 3, lambda: False))
    assert [(table["done"], table["of"]) for table in tables] == [(2, 3), (3, 3)]
    rows = {row["metric"]: row for row in tables[-1]["table"]}
    compared = simulation.compare(
        simulation.parse(text), {"channels.push.retry.max_attempts": [3, 1]}, replicates=3, metrics=["dead_lettered"]
    ).table.iloc[1]
    assert rows["dead_lettered"]["differs"] == bool(compared["excludes_0"]) is True
    assert rows["dead_lettered"]["difference"] == f"+{compared['difference']:.4g}"
    assert rows["breaker.sms.open_s"]["difference"] == "0 s"
    assert rows["breaker.sms.opened"]["difference"] == "0"
    assert "On 2 of 2 common seeds" in told(other, do="compare", pinned=text, replicates=2)[-1]["html"]
    assert told(other, do="compare", pinned=text, replicates=1)[0]["type"] == "problems"


@pytest.mark.parametrize(
    ("after", "differs", "is_small"), [(28_545, True, True), (29_000, True, False), (28_544, False, True)]
)
def test_one_attempt_more_of_many_is_a_small_difference(after, differs, is_small):
    scenario = simulation.parse(text_of("provider-outage", "1m"))
    found = row(scenario, "attempts", [28_544] * 3, [after] * 3)
    assert (found["differs"], found["is_small"]) == (differs, is_small)


def test_nothing_is_sent_that_no_page_reads():
    text = text_of("provider-outage", "30s") + "expect:\n  - dlq.peak <= 0\n"
    worker = Worker(list, lambda: False)
    lines = told(text, worker=worker)
    lines += told(text, worker=worker, do="notifications", from_s=0, to_s=60, kind="failed", place="")
    lines += told(text, worker=worker, do="compare", pinned=text, replicates=2)
    keys = set()
    lines[0]["about"] = list(lines[0]["about"].values())

    def take(document):
        for each in document.values() if isinstance(document, dict) else document:
            if isinstance(each, (dict, list, tuple)):
                take(each)
        keys.update(document if isinstance(document, dict) else ())

    for line in lines:
        take({name: value for name, value in line.items() if name not in ("rows", "times", "breakers")})
    take(check(text, "x.yaml"))
    scripts = " ".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))
    assert {key for key in keys if not re.search(rf"\b{key}\b", scripts)} == set()


def test_the_first_picture_comes_before_a_chunk_is_complete():
    """Of all that arrive in the first instant, too: a bucket that is not over is better than nothing."""
    burst = "duration: 10m\nworkload:\n  - {channel: email, arrivals: {burst: {size: 5000, every: 10m}}}\n"
    for text in (text_of("provider-outage", "10m"), burst):
        events, found = [], []
        worker = Worker(found.append, lambda events=events: len(events) > 8)
        fold = series.Series.fold

        def count(self, chunk, fold=fold, events=events):
            fold(self, chunk)
            events.append(len(chunk))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(series.Series, "fold", count)
            worker._send = lambda line, found=found, events=events: found.append((line, sum(events)))
            worker.do({"do": "run", "text": text, "filename": "x.yaml"})
        line, after = next((line, after) for line, after in found if line["type"] == "frame" and line["to"])
        assert after <= 256
        assert sum(sum(rows["arrived"]) for channel, rows in line["rows"].items() if channel) > 0


@pytest.mark.thorough
def test_the_setting_that_matters_most_comes_first():
    text = """\
duration: 20s
workload:
  - {channel: email, arrivals: {constant: 10/s}}
channels:
  email:
    retry: {max_attempts: 1}
    circuit_breaker: {enabled: false}
    provider: {failure_rate: 10%}
"""
    *_, last = rank(text, "x.yaml", "dead_lettered", lambda: False)
    assert last["done"] == last["of"] == len(last["rows"])
    shares = [each["share"] for each in last["rows"]]
    assert shares == sorted(shares, reverse=True)
    assert [each["differs"] for each in last["rows"][:1]] == [True]
    assert last["rows"][0]["label"] in ("Retry: attempts", "Provider: usual failures", "Arrivals, constant")
    idle = next(each for each in last["rows"] if each["label"] == "Timeout of an attempt")
    assert (idle["share"], idle["differs"], idle["before"]) == (0, False, idle["after"])
    page = told(text, do="rank", metric="dead_lettered")[-1]["html"]
    assert "what that does to dead letters: " in page
    assert "off → on" in page
    [line] = told(text, do="rank", metric="no.such.metric")
    assert "there is no no.such.metric" in line["problems"][0]["text"]


def test_between_never_and_a_time_there_is_no_difference_in_seconds():
    scenario = simulation.parse(text_of("provider-outage", "1m"))
    never = float("inf")
    for before, after in (([never] * 2, [242.4] * 2), ([242.4] * 2, [never] * 2)):
        found = row(scenario, "delivery_time_s.p99", before, after)
        assert (found["difference"], found["interval"], found["differs"], found["agrees"]) == ("–", "", False, True)
        assert {found["before"], found["after"]} == {"never", "4.04 min"}
    found = row(scenario, "delivery_time_s.p99", [never, 2.0], [1.0, 3.0])
    assert not found["agrees"]


def test_pages_call_what_they_rank_by_as_rankings_do():
    page = (STATIC / "edit.html").read_text(encoding="utf-8")
    offered = re.findall(r'<option value="([^"]+)">', page.partition('id="rank-by"')[2].partition("</select>")[0])
    assert offered == list(LABELS)
    for metric, label in LABELS.items():
        assert f'<option value="{metric}">{label}</option>' in page


def test_each_fault_has_a_group_with_its_times():
    text = (FOLDER / "provider-outage.yaml").read_text(encoding="utf-8") + "\n"
    text = text.replace("faults:\n", "faults:\n  - {channel: sms, at: 1m, crash: process, restart_after: 5s}\n")
    found = [each for each in check(text, "x.yaml")["knobs"] if each["path"].startswith("faults.")]
    assert [each["path"].removeprefix("faults.") for each in found] == [
        *("0.at", "1.at", "1.for", "2.at", "2.for", "2.failure_rate")
    ]
    at = next(each for each in found if each["path"] == "faults.1.at")
    assert (at["value"], at["stops"][0], at["stops"][-1], at["stops"][at["at"]]) == ("2m", "0s", "10m", "2m")


# ── what takes long ─────────────────────────────────────────────────────────────────────────────────────────────────

HOURS = "duration: 30000s\nworkload: [{channel: email, arrivals: {poisson: 20000/s}}]\n"
QUICK = HOURS.replace("30000s", "1s").replace("20000", "2")
ASKED = [
    {"do": "run"},
    {"do": "report"},
    {"do": "notifications", "from_s": 0.0, "to_s": 1.0, "kind": "sent", "place": ""},
    {"do": "compare", "pinned": QUICK, "replicates": 2},
    {"do": "rank", "metric": "attempts"},
    {"do": "search", "metric": "attempts", "channel": "email"},
]


@pytest.mark.parametrize("asked", sliced(ASKED, 3), ids=[each["do"] for each in ASKED])
def test_what_would_take_hours_is_said_and_not_done_before_it_is_asked_for_again(asked):
    (line,) = told(HOURS, **asked)
    assert line["type"] == "large"
    assert re.match(r"It would take long: [0-9.]+ (m|b)illion arrivals, about [0-9.]+ (hour|day)s and ", line["text"])
    begun = told(HOURS, **asked, anyway=True, is_cancelled=lambda: True)
    assert "large" not in {line["type"] for line in begun}
    assert "cancelled" in {line["type"] for line in begun}
    if asked["do"] in ("run", "notifications", "compare"):
        assert told(QUICK, **asked)[-1]["type"] not in ("large", "failed", "problems")


def test_an_instant_that_no_run_has_is_no_fault():
    asked = {"do": "notifications", "kind": "sent", "place": ""}
    for from_s, to_s in ((1e300, 1e308), (-1e300, 0.0), (5.0, 1.0)):
        assert told(QUICK, from_s=from_s, to_s=to_s, **asked)[-1]["type"] == "notifications"


@pytest.mark.parametrize("duration", ["1ns", "50ms", "1s"])
def test_a_run_shorter_than_any_stop_of_a_slider_can_be_checked(duration):
    fault = "faults: [{channel: email, at: 0s, for: 1ns, failure_rate: 1e-9%, latency_factor: 1e-9}]\n"
    assert check(QUICK.replace("1s", duration) + fault, "x.yaml")["problems"] == []
