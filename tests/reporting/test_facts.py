"""What the lines below the table of a run say, and that there are none where there is nothing to say."""

import numpy as np
import pytest

import simulation
from simulation.reporting.console import print_result
from simulation.reporting.facts import facts
from simulation.reporting.html.tables import tables
from simulation.reporting.plots.source import requests_where
from simulation.results.formatting import duration_text
from simulation.scenario import parse

TWO = """
duration: 10m
workload:
  - {name: codes, channel: sms, critical: true, arrivals: {constant: 1/s}}
  - {name: news, channel: sms, arrivals: {constant: 2/s}}
channels:
  sms: {retry: {max_attempts: 2, initial_delay: 1s}, circuit_breaker: {enabled: false}, provider: {latency: 100ms}}
"""
OUTAGE = "faults: [{channel: sms, at: 2m, for: 2m, outage: true}]\n"


def facts_of(text):
    return facts(simulation.run(parse(text)))


def test_where_all_is_well_nothing_is_said():
    assert facts_of(TWO) == []


def test_who_was_not_reached_is_said_by_entry_the_most_first_and_why():
    assert facts_of(TWO + OUTAGE)[:3] == [
        "357 of 1,800 requests never delivered: news 238 of 1,200, codes (critical) 119 of 600",
        "failed attempts: 717 provider outage",
        "dead letters: 357 provider outage",
    ]


def test_whom_it_did_not_hit_is_not_named():
    text = TWO.replace("critical: true", "expires_after: 10s").replace("constant: 1/s", "constant: 5/s")
    text = text.replace("constant: 2/s", "burst: {size: 6000, every: 1h}")
    text = text.replace("sms: {retry", "sms: {quota: {rate: 10/s, kind: leaky_bucket}, retry")
    lines = facts_of(text)
    assert lines[0] == "2,950 of 9,000 requests never delivered: codes 2,950 of 3,000"
    assert lines[1] == "dead letters: 2,950 expired"
    assert lines[2].startswith("5,401 of 9,000 requests took over a minute, at most 10 min: news 5,401 of 6,000")


def test_it_is_said_how_many_requests_were_copies():
    text = TWO.replace("retry: {max", "hedging: {delay: 80ms}, retry: {max")
    assert facts_of(text) == ["sms: 1,800 of 3,600 requests to the provider were hedged copies"]
    assert facts_of(text.replace("80ms", "1s")) == []


def test_of_more_than_three_entries_and_reasons_the_rest_is_counted():
    entries = "".join(f"  - {{name: e{n}, channel: sms, arrivals: {{constant: 1/s}}}}\n" for n in range(5))
    text = f"duration: 2m\nworkload:\n{entries}channels: {{sms: {{circuit_breaker: {{enabled: false}}}}}}\n"
    lines = facts_of(f"{text}faults: [{{channel: sms, outage: true}}]\n")
    assert lines[0] == "all 600 requests never delivered: e0 all 120, e1 all 120, e2 all 120, others 240"


def test_a_fourth_reason_is_named_and_more_are_other_reasons():
    script = "{outcome: transient, reason: a}, {outcome: transient, reason: b}, {outcome: transient, reason: c}"
    text = TWO.replace("latency: 100ms", f"script: [{script}, {{outcome: permanent, reason: d}}]")
    assert "failed attempts: 1 a, 1 b, 1 c, 1 d" in facts_of(text)
    text = text.replace("reason: d}", "reason: d}, {outcome: permanent, reason: e}")
    assert "failed attempts: 1 a, 1 b, 1 c, 2 for other reasons" in facts_of(text)


def test_refused_arrivals_are_among_those_that_are_not_delivered():
    crash = "faults: [{channel: sms, at: 2m, crash: process, restart_after: 10s}]\n"
    lines = facts_of(TWO + crash)
    assert lines[0].startswith("30 of 1,800 requests never delivered: news 20 of 1,200, codes (critical) 10 of 600")
    assert lines[1] == "of these were refused: 30 while the process was down"
    lines = facts_of(TWO + crash + "commit_latency: 1s\n")
    assert lines[1] == "of these were refused: 33 as the process was down or died"
    nodes = TWO + "nodes: {count: 2, takeover_after: 5s}\nfaults: [{at: 2m, for: 1m, node: 1, partition: store}%s]\n"
    assert facts_of(nodes % "")[1] == "of these were refused: 7 at nodes that did not reach their store"
    too = facts_of(nodes % ", {channel: sms, at: 4m, crash: process}")
    assert too[1] == "of these were refused: 7 at nodes that were down or did not reach their store"


def test_what_is_under_way_at_the_end_is_not_called_never():
    [line, *_] = facts_of(TWO + "drain: 0s\nfaults: [{channel: sms, at: 9m, hang: true}]\n")
    assert " requests not delivered by the end of the run: " in line


def test_late_is_over_a_minute_and_where_none_is_over_ten_seconds():
    for for_, words in (("3m", "took over a minute, at most "), ("20s", "took over 10 s, at most ")):
        text = (
            TWO.replace("{enabled: false}", "{timeout: 10s}")
            + f"faults: [{{channel: sms, at: 2m, for: {for_}, outage: true}}]\n"
        )
        assert any(words in line for line in facts_of(text))


FALLEN_BACK = """
duration: 10m
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels:
  sms: {retry: {max_attempts: 2, initial_delay: 1s}, circuit_breaker: {enabled: false}, fallback: {channel: push}}
faults: [{channel: sms, at: 2m, for: 2m, outage: true}]
"""


def test_who_was_reached_twice_and_what_went_another_way_is_said():
    lines = facts_of(FALLEN_BACK + "operations: [{at: 6m, redrive: all, served: include}]\n")
    assert "119 of 600 requests were carried out by a provider twice or more, answered in time or not" in lines
    assert "sms handed 119 requests on to push" in lines


def test_what_further_providers_sent_is_said():
    failover = TWO.replace("{enabled: false}", "{}").replace("sms: {retry", "sms: {failover: {backup: {}}, retry")
    [line] = [line for line in facts_of(failover + OUTAGE.replace("at:", "provider: primary, at:")) if "backup" in line]
    assert line.startswith("sms: of 1,798 sent ")
    assert line.endswith(" by backup")


HOSTS = """
duration: 10m
workload: [{channel: email, hosts: 4, arrivals: {constant: 4/s}}]
channels:
  email: {circuit_breaker: {per: host, timeout: 30s}, retry: {max_attempts: 9}, provider: {latency: 100ms}}
"""


def test_the_worst_host_is_named_beside_all_others_and_not_where_all_are_as_bad():
    fault = "faults: [{channel: email, at: 2m, for: 3m, outage: true, host: host-0.example}]\n"
    [line] = [line for line in facts_of(HOSTS + fault) if line.startswith("host-")]
    assert line.startswith("host-0.example: ")
    assert line.endswith(" of 600 requests not delivered within a minute; at all other hosts 0 of 1,800")
    everywhere = facts_of(HOSTS + fault.replace(", host: host-0.example", ""))
    assert not [line for line in everywhere if line.startswith("host-")]


def test_of_many_faults_the_three_longest_backlogs_are_named_and_none_of_what_has_not_been():
    slots = TWO.replace("10m", "30m").replace("sms: {retry", "sms: {max_in_flight: 1, timeout: 1h, retry")
    each = ", ".join(f"{{channel: sms, at: {5 * n}m, for: 50s, latency: 1s}}" for n in range(1, 6))
    lines = facts_of(f"{slots}faults: [{each}, {{channel: sms, at: 5h, for: 1m, outage: true}}]\n")
    assert sum(line.startswith("backlog of «sms: other latency» at ") for line in lines) == 3
    assert any(line == "backlogs of 2 other faults cleared sooner" for line in lines)
    assert not any("5 h" in line or "outage" in line for line in lines)


def test_a_herd_after_an_outage_is_told_and_a_paced_return_is_not():
    waits = TWO.replace("{enabled: false}", "{timeout: 10s, resume_rate: 6/s, resume_rate_max: 6/s}") + OUTAGE
    assert not [line for line in facts_of(waits) if "busiest second" in line]
    [line] = [line for line in facts_of(waits.replace("6/s", "1000/s")) if "busiest second" in line]
    assert line.endswith("times the mean over 10 min of arrivals")


def test_entries_have_rows_of_their_own_where_they_share_a_channel_only(capsys):
    text = TWO.replace("channels:", "  - {name: mails, channel: email, arrivals: {constant: 1/s}}\nchannels:")
    print_result(simulation.run(parse(text)), None)
    first = [line.split(" ")[0] or line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert first[:6] == ["channel", "email", "sms", "codes", "news", "all"]


@pytest.mark.parametrize("record", ["full", "aggregates"])
def test_aggregates_say_the_same_but_for_why_attempts_fail(record):
    lines = facts_of(f"{TWO}{OUTAGE}record: {record}\n")
    assert [line for line in lines if not line.startswith("failed")] == [
        line for line in facts_of(TWO + OUTAGE) if not line.startswith("failed")
    ]


def test_the_table_of_long_names_fits_a_hundred_characters(capsys):
    text = TWO.replace("codes", "password-resets").replace("news", "weekly-letters").replace("{enabled: false}", "{}")
    text += "faults: [{channel: sms, at: 2m, for: 2m, outage: true}]\npreferences: "
    text += "[{share: 10%, channel: sms, enabled: false}]\n"
    print_result(simulation.run(parse(text)), None)
    out = capsys.readouterr().out.splitlines()
    assert "unwanted" in out[1]
    assert max(len(line.rstrip()) for line in out[1:5]) <= 100


REDRIVEN = """
duration: 10m
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels:
  sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}, provider: {latency: 100ms}}
faults:
  - {channel: sms, at: 2m, for: 1m, outage: true}
  - {channel: sms, at: 330s, for: 10s, outage: true}
  - {channel: sms, at: 6m, for: 500ms, outage: true}
operations: [{at: 5m, redrive: all}, {at: 6m, redrive: all}]
"""


def test_it_is_said_what_came_of_a_redrive_which_is_no_retry():
    result = simulation.run(parse(REDRIVEN))
    assert result.summary["retry_amplification"] == 1
    sent = set(result.notifications.loc[result.notifications["outcome"] == "sent", "id"])
    ids = set(result.dlq.loc[result.dlq["left"] == "redriven", "id"])
    [line] = [line for line in facts(result) if line.startswith("redriven")]
    assert line == (
        f"redriven from 5:00 to 6:00: {len(ids)} dead letters, of them {len(ids & sent)} delivered, "
        f"{len(ids - sent)} dead again; the first attempt after it is no retry"
    )
    assert not ids <= sent
    title = simulation.plots.amplification(result).get_title("left")
    assert title == "Retry amplification ×1 over the whole run"


def test_the_failed_attempts_are_said_however_few_they_are():
    result = simulation.run(parse(TWO.replace("latency: 100ms", "latency: 100ms, failure_rate: 0.3%")))
    failed = result.summary["attempts"] - result.summary["sent"]
    assert 0 < failed < 0.02 * result.summary["attempts"]
    assert f"failed attempts: {failed} injected failure" in facts(result)


def test_what_was_suppressed_as_its_address_is_gone_is_said():
    result = simulation.run(
        parse(
            "duration: 5m\nworkload: [{channel: email, arrivals: {poisson: 5/s}, users: 40}]\n"
            "channels: {email: {}}\nfaults: [{channel: email, dead_destination_rate: 2%}]\n"
        )
    )
    suppressed = result.summary["suppressed"]
    assert suppressed > 0
    assert result.summary["delivery_time_s"]["never"] == suppressed + result.summary["dead_lettered"]
    said = f"of these were suppressed: {suppressed:,} to addresses of which a provider had said that they are gone"
    assert facts(result)[1] == said


def test_the_backlog_of_a_fault_is_that_of_its_channels():
    text = (
        "duration: 10m\nworkload:\n- {channel: sms, arrivals: {constant: 1/s}}\n"
        "- {channel: push, arrivals: {constant: 1/s}}\n"
        "channels:\n  sms: {circuit_breaker: {enabled: false}}\n"
        "  push: {circuit_breaker: {enabled: false}, provider: {latency: 90s}, timeout: 2m}\n"
        "faults: [{channel: sms, at: 30s, for: 30s, latency: 45s}, {at: 5m, crash: process, restart_after: 30s}]\n"
    )
    faults = simulation.run(parse(text.replace("sms: {c", "sms: {timeout: 1m, c"))).summary["faults"]
    assert faults["0"]["backlog_cleared_s"] == pytest.approx(44, abs=2)  # beside it those of push go on growing
    assert faults["1"]["backlog_cleared_s"] is not None


def test_a_request_to_an_address_that_is_gone_is_never_delivered_in_pictures_too_and_one_not_wanted_is_none():
    text = """
duration: 1m
workload:
  - {name: one, channel: email, arrivals: {constant: 5/s}, users: 200}
  - {name: two, channel: email, arrivals: {constant: 5/s}, users: 200}
channels: {email: {provider: {latency: {exponential: {mean: 100ms}}}}}
faults: [{channel: email, dead_destination_rate: 10%}]
preferences: [{share: 20%, channel: email, enabled: false}]
"""
    result = simulation.run(parse(text))
    summary = result.summary
    assert summary["unwanted"] > 0
    assert summary["suppressed"] > summary["unwanted"]
    for where, figures in [({}, summary), *(({"entry": name}, each) for name, each in summary["workload"].items())]:
        requests = requests_where(result, where)
        assert len(requests) == figures["offered"]
        assert np.isinf(requests["time_s"]).sum() == figures["delivery_time_s"]["never"]


def test_entries_stand_below_their_channel_and_open_times_of_several_nodes_are_said_to_be_theirs(capsys):
    text = """
duration: 2m
nodes: 2
workload:
  - {name: codes, channel: sms, arrivals: {constant: 1/s}}
  - {name: news, channel: sms, arrivals: {constant: 4/s}}
  - {channel: email, arrivals: {constant: 1/s}}
channels: {sms: {circuit_breaker: {timeout: 10s}}}
faults: [{channel: sms, at: 20s, for: 60s, outage: true}]
"""
    result = simulation.run(parse(text))
    print_result(result, None)
    said = capsys.readouterr().out
    rows = [line.split("  ")[0] or line.split()[0] for line in said.splitlines()[1:7]]
    assert rows == ["channel", "email", "sms", "codes", "news", "all"]
    breaker = result.summary["breaker"]["sms"]
    assert breaker["open_s"] > 61
    assert f"{breaker['opened']} times, {duration_text(breaker['open_s'])} at 2 nodes" in said
    (sheet,) = (sheet for sheet in tables(result) if sheet.key == "breakers")
    shares = {row.cells[0]: row.cells[3] for row in sheet.rows if row.cells[2]}
    assert shares.pop("sms") is None
    assert all(0 < share < 1 for share in shares.values())
    assert sheet.notes == ["email, sms: one for each node, which are counted together."]
