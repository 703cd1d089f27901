"""What studio says of a breaker is what then becomes of the next ten notifications, whatever the breaker is set to."""

import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest

from actors.messages import (
    BreakerTransitioned,
    NotificationDeferred,
    NotificationFailed,
    NotificationRequested,
    NotificationSent,
)
from simulation.studio import series
from simulation.studio.worker import Worker

STATIC = Path(series.__file__).parent / "static"
NODE = shutil.which("node")

BEGINS = {
    "closed": ("", "closed"),
    "not enabled": ("enabled: false", "off"),
    "disabled": ("initial_state: disabled", "off"),
    "metrics-only": ("initial_state: metrics-only", "watches only"),
    "forced-open": ("initial_state: forced-open", "forced open"),
}
BACKUP = "failover: {backup: {circuit_breaker: {enabled: false}, provider: {latency: {constant: 10ms}}}}"
COMBINATIONS = list(product(("wait", "fail"), BEGINS, (False, True)))

# The outage ends while the breaker is open, and an answer takes three seconds: so long it is half-open then.
TEXT = """\
duration: 40s
workload: [{{channel: email, arrivals: {{constant: 10/s}}}}]
channels:
  email:
    circuit_breaker: {{failure_threshold: 5, timeout: 12s, when_open: {when_open}, {begins}}}
    retry: {{max_attempts: 3, initial_delay: 30s, jitter: none}}
    provider: {{latency: {{constant: 3s}}}}
    {backup}
faults: [{{channel: email, provider: primary, at: 5s, for: 10s, outage: true}}]
"""


def ran(when_open, begins, backup):
    lines = []
    worker = Worker(lines.append, lambda: False)
    text = TEXT.format(when_open=when_open, begins=BEGINS[begins][0], backup=BACKUP if backup else "")
    worker.do({"do": "run", "text": text, "filename": "x.yaml"})
    assert "done" in {line["type"] for line in lines}, lines
    return lines, worker._last[1].history


def instants(history):
    """An instant before the outage, and one soon after each change of the breaker that lasts for more than a second."""
    changes = [event.at_ns / 1e9 for event in history if isinstance(event, BreakerTransitioned)]
    ends = [*changes, 40.0][1:]
    return [2.05, *(at + 0.25 for at, end in zip(changes, ends, strict=True) if end - at > 1.6 and at < 38)]


def fates(history, at):
    """What becomes of the ten notifications that arrive within a second, by what happens to each next."""
    ids = [
        event.notification_id
        for event in history
        if isinstance(event, NotificationRequested) and at * 1e9 <= event.at_ns < (at + 1) * 1e9
    ]
    assert len(ids) == 10
    found = {}
    for event in history:
        if getattr(event, "notification_id", None) not in ids or event.notification_id in found:
            continue
        if isinstance(event, NotificationDeferred):
            found[event.notification_id] = str(event.cause)
        elif isinstance(event, (NotificationSent, NotificationFailed)):
            refused = isinstance(event, NotificationFailed) and event.refused
            found[event.notification_id] = "refused" if refused else event.provider or "primary"
    return sorted(found.values())


FATES = {"wait": "circuit_breaker", "fail at once": "refused", "go to backup": "backup"}


@pytest.mark.integration
@pytest.mark.skipif(NODE is None, reason="needs Node.js of at least 20 (Debian: nodejs)")
def test_each_sentence_of_a_breaker_is_what_becomes_of_ten_notifications():
    runs = [ran(*each) for each in COMBINATIONS]
    asked = [
        {"run": number, "place": place, "at": at}
        for number, (_, history) in enumerate(runs)
        for at in instants(history)
        for place in ("email", "")
    ]
    done = subprocess.run(
        [NODE, str(Path(__file__).parent / "sentences.mjs")],
        input=json.dumps({"runs": [lines for lines, _ in runs], "asked": asked}),
        env={**os.environ, "STATIC": str(STATIC)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen = set()
    for one, said in zip(asked, json.loads(done.stdout), strict=True):
        when_open, begins, backup = COMBINATIONS[one["run"]]
        case, found = (when_open, begins, backup, one["at"], said), fates(runs[one["run"]][1], one["at"])
        kept = re.search(
            r"The breaker of email is [\w-]+(?: open)?, since .*?: (probes go out, other )?attempts ([\w ]+)\.",
            said["story"],
        )
        in_box = re.search(r"; (?:probes go out, other )?attempts ([\w ]+)$", said["words"])
        if kept is None:
            line = re.search(r" (drain|wait in line)s? behind the breaker", said["story"])
            assert said["words"] == (f"{line[1]} behind it" if line else "wait"), case
            assert set(found) <= {"primary", *(["circuit_breaker"] if line else [])}, case  # they join the line
            assert in_box is None, case
            assert said["state"] in ("closed", "disabled", "metrics-only"), case
        else:
            probes, becomes = kept.groups()
            assert set(found) <= {FATES[becomes], *(["primary"] if probes else [])}, case
            assert found.count("primary") <= 1, case
            assert (becomes if in_box else "wait") == (in_box[1] if in_box else becomes), case
        seen.add((begins, said["state"], when_open, backup))
    for when_open, backup in product(("wait", "fail"), (False, True)):
        states = {(begins, state) for begins, state, *how in seen if how == [when_open, backup]}
        assert states == {
            *(("closed", state) for state in ("closed", "open", "half-open")),
            *(("not enabled", "disabled"), ("disabled", "disabled")),
            *(("metrics-only", "metrics-only"), ("forced-open", "forced-open")),
        }, (when_open, backup)
