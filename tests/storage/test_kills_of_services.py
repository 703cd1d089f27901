"""What outlives a process that is killed: clocks of endpoints, what is scheduled and cancelled, and redriving."""

import time

import pytest
from effort import thorough
from lives import Life, killed
from service_parts import opened_store

from actors.domain.notification_state import state_of

pytestmark = pytest.mark.integration

BOTH = ["sqlite", "postgres"]
ONE = [pytest.param("sqlite", marks=pytest.mark.slow), "postgres"]
LETTERS = {f"n-{number}" for number in range(6)}


@pytest.fixture
def path(request, tmp_path) -> str:
    return request.getfixturevalue("dsn") if request.param == "postgres" else str(tmp_path / "store.db")


def run(service: str, path: str, mode: str) -> list[str]:
    """Run a service to its end; return the lines that it says."""
    life = Life(service, path, mode)
    life.end()
    return life.lines


def taken_until_dead(path: str, mode: str) -> list[str]:
    """Run the service that redrives until it says so, and kill it; return what it has taken."""
    with killed("redriving", path, mode) as life:
        life.heard("dead")
        return life.said("taken")


async def check_redriven_once(path: str) -> None:
    async with opened_store(path, node="one", lease=5.0) as store:
        assert {(await state_of(store, each, time.time_ns())).state for each in LETTERS} == {"sent"}
        trail = [entry for entry in await store.audit_trail() if entry.action == "retry"]
    assert sorted(entry.notification_id for entry in trail) == sorted(LETTERS)
    assert {(entry.by, entry.why) for entry in trail} == {(None, "the circuit breaker has closed")}


@pytest.mark.thorough
@pytest.mark.parametrize("path", ONE, indirect=True)
async def test_an_endpoint_is_disabled_over_kills_until_an_order_or_one_success(path):
    with killed("endpoint", path, "down") as life:
        since_ns = life.heard("failing")
    with killed("endpoint", path, "disabled") as life:
        still_since_ns, _, alert = life.heard("disabled").partition(" ")
    assert still_since_ns == since_ns  # the clock has gone on over the kill
    assert alert.startswith("Endpoint https://example.com/hook of channel webhook is disabled: all attempts have")
    assert run("endpoint", path, "first") == []  # it is disabled still, so that one is a dead letter
    assert run("endpoint", path, "order") == ["disabled"]
    assert run("endpoint", path, "second") == ["taken second"]
    async with opened_store(path, node="one", lease=5.0) as store:
        assert list(store.endpoints) == []
        trail = [entry for entry in await store.audit_trail() if "endpoint" in entry.action]
        reasons = [letter.failure_reason for letter in store.dead_letters()]
    assert [(entry.action, entry.by, entry.about, entry.why) for entry in reversed(trail)] == [
        ("disable endpoint", None, "webhook https://example.com/hook", "HTTP 503"),
        ("enable endpoint", "otto", "webhook https://example.com/hook", "it is back"),
    ]
    assert set(reasons) == {"HTTP 503", "the endpoint is disabled"}


@pytest.mark.parametrize("path", ONE, indirect=True)
async def test_a_scheduled_one_survives_a_kill_and_goes_at_its_instant_and_a_cancelled_one_never(path):
    with killed("scheduled", path, "4") as life:
        instant = life.heard("ready")
    [line] = run("scheduled", path, "0")
    word, name, at = line.split()
    assert (word, name) == ("taken", "soon")
    assert float(at) >= float(instant)
    wanted = {"soon": "sent", "later": "in flight", "cancelled": "cancelled", "in-line": "cancelled"}
    async with opened_store(path, node="one", lease=5.0) as store:
        states = {each: await state_of(store, each, time.time_ns()) for each in wanted}
        open_ids = [delivery.command.notification_id for delivery in store.open_deliveries(0)]
    assert {each: state.state for each, state in states.items()} == wanted
    assert states["later"].resumes_at is not None
    assert open_ids == ["later"]


@pytest.mark.parametrize("path", [*map(thorough, BOTH)], indirect=True)
async def test_letters_of_an_outage_are_redriven_by_the_processes_after_it(path):
    assert taken_until_dead(path, "down") == []
    first = taken_until_dead(path, "up-slowly")
    rest = [line.split()[1] for line in run("redriving", path, "up")]
    assert {*first, *rest} == LETTERS
    await check_redriven_once(path)


@pytest.mark.thorough
async def test_another_node_goes_on_where_one_has_died_in_the_midst_of_redriving(dsn):
    """What is redriven one after the other is at no node while it waits for its turn: nothing is taken over."""
    other = Life("redriving", dsn, "beside", "two")
    assert other.heard("ready") == "two"
    first = [each for each in taken_until_dead(dsn, "again") if each in LETTERS]
    assert len(first) == 2
    other.end()
    rest = other.said("taken")
    assert sorted(first + rest) == sorted(LETTERS)  # each once
    await check_redriven_once(dsn)
