"""Over SMTP, on both stores: a critical one overtakes all that wait, and a killed service goes on in the same order."""

import time
from collections import Counter

import pytest
from effort import sliced
from lives import killed
from smtp_servers import Script, mail_server

pytestmark = pytest.mark.integration

PATIENCE_S = 300
CLASSES = ["critical", "normal", "bulk"]


def subjects(script: Script) -> list[str]:
    """Return the subjects of the mails that have come."""
    return [str(mail["Subject"]) for mail in list(script.mails)]


@pytest.mark.thorough
@pytest.mark.parametrize("waiting", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", sliced(["SQLite", "PostgreSQL"], 4))
def test_a_critical_one_overtakes_all_that_wait_and_a_kill_changes_no_order(kind, waiting, tmp_path, request):
    store = str(tmp_path / "waiting.db") if kind == "SQLite" else request.getfixturevalue("dsn")
    script = Script()
    with mail_server(script) as server:
        with killed("waiting", store, server.port, waiting, "3/s") as life:
            sent = life.heard("overtakes")
            life.heard("accepted")
        before = subjects(script)
        assert before.index("critical-first") <= int(sent) + 1  # one may have been on its way
        assert len(before) < waiting // 2
        with killed("waiting", store, server.port, 0, "100/s") as life:
            life.heard("accepted")
            until = time.monotonic() + PATIENCE_S
            while len(script.mails) < len(before) + 70:
                assert time.monotonic() < until
                time.sleep(0.02)
        after = subjects(script)[len(before) :]
    assert after.index("critical-new") < 30  # however late it came
    resumed = [name for name in after if name != "critical-new"]
    ranks = [CLASSES.index(name.partition("-")[0]) for name in resumed]
    assert ranks == sorted(ranks)
    normal, bulk = ([name for name in resumed if name.startswith(each)] for each in ("normal", "bulk"))
    assert set(normal) | set(before) >= {f"normal-noisy-{number}" for number in range(20) if number % 4 < 3}
    in_turns = 2 * min(Counter(name.split("-")[1] for name in normal).values())
    quiet = Counter(name.split("-")[1] for name in normal[:in_turns])["quiet"]
    assert abs(quiet - in_turns // 2) <= 1
    assert 14 <= Counter(name.split("-")[1] for name in bulk[:32])["quiet"] <= 18
