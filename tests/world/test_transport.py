"""A client of httpx or httpx2 meets the scenario's provider and faults, in place of a network."""

from collections import Counter

import httpx
import httpx2
import pytest
import tenacity
import trio

import simulation
from actors.errors import ConfigurationError

OUTAGE = """
duration: 10m
workload: [{channel: payments, arrivals: {constant: 1/s}}]
channels:
  payments:
    kind: call
    provider: {latency: 80ms}
    retry: {max_attempts: 1}
    circuit_breaker: {enabled: false}
faults:
  - {channel: payments, at: 60s, for: 60s, outage: true}
"""
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2])


def transport(text=OUTAGE, **options):
    return simulation.ScenarioTransport(simulation.parse(text), "payments", **options)


async def ask(library, over, path="/charges", timeout=5.0):
    async with library.AsyncClient(transport=over) as client:
        return await client.post(f"https://api.example.com{path}", json={"order": 1}, timeout=timeout)


@LIBRARIES
async def test_a_decorator_makes_as_many_attempts_as_its_closed_form_says(library, autojump_clock):
    @tenacity.retry(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(2), sleep=trio.sleep, reraise=True)
    async def charge(over):
        (await ask(library, over)).raise_for_status()

    over, began = transport(), trio.current_time()
    assert (await ask(library, over)).json() == {"ok": True}
    assert trio.current_time() - began == pytest.approx(0.08)
    await trio.sleep_until(began + 70)
    with pytest.raises(library.HTTPStatusError):
        await charge(over)
    assert trio.current_time() - began == pytest.approx(70 + 4 * 0.08 + 3 * 2)
    assert Counter(seen.answer for seen in over.seen) == {"200": 1, "503": 4}
    assert [seen.at_s for seen in over.seen[1:]] == pytest.approx([70 + k * 2.08 for k in range(4)])


@LIBRARIES
@pytest.mark.parametrize(
    ("outage", "error", "text"),
    [
        ("refused", "ConnectError", "Connection refused"),
        ("unreachable", "ConnectError", "No route to host"),
        ("reset", "ReadError", "Connection reset by peer"),
        ("closed", "RemoteProtocolError", "Server disconnected without sending a response"),
        ("cut", "RemoteProtocolError", "without sending complete message body"),
        ("silence", "ReadTimeout", "^$"),
    ],
)
async def test_an_outage_shows_as_the_error_of_the_library(library, outage, error, text, autojump_clock):
    over = transport(outage=outage)
    await ask(library, over)
    await trio.sleep(60)
    with pytest.raises(getattr(library, error), match=text):
        await ask(library, over)
    assert over.seen[-1].answer == ("timed out" if outage == "silence" else outage)


async def test_an_outage_may_be_a_wrong_page_or_any_status(autojump_clock):
    for outage, status in (("wrong", 200), (418, 418)):
        over = transport(outage=outage)
        await ask(httpx2, over)
        await trio.sleep(60)
        answer = await ask(httpx2, over)
        assert answer.status_code == status
        if outage == "wrong":
            with pytest.raises(ValueError, match="Expecting value"):
                answer.json()


async def test_a_client_stops_waiting_at_its_own_timeout(autojump_clock):
    slow, began = transport(OUTAGE.replace("80ms", "8s")), trio.current_time()
    with pytest.raises(httpx2.ReadTimeout):
        await ask(httpx2, slow)
    assert trio.current_time() - began == pytest.approx(5)
    await ask(httpx2, slow, timeout=None)
    assert trio.current_time() - began == pytest.approx(13)


async def test_a_throttle_says_when_to_come_back(autojump_clock):
    throttle = "{rate: 1/10s, retry_after: 6.2s}"
    over = transport(OUTAGE.replace("latency: 80ms", f"latency: 80ms, throttle: {throttle}"))
    assert (await ask(httpx2, over)).status_code == 200
    refused = await ask(httpx2, over)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")  # whole seconds, and none too few


async def test_an_answer_of_ones_own_gets_the_request(autojump_clock):
    def answer(request):
        return {"path": request.path, "got": request.body.decode(), "type": dict(request.headers)["content-type"]}

    got = (await ask(httpx2, transport(answer=answer), "/a?b=c")).json()
    assert got == {"path": "/a?b=c", "got": '{"order":1}', "type": "application/json"}


@pytest.mark.parametrize(
    "provider",
    [
        "{latency: {exponential: {mean: 300ms}}, failure_rate: 30%}",
        "{latency: 900ms, capacity: 1, discipline: processor_sharing, failure_rate: 10%}",
        "{latency: 100ms, upstream: {latency: 50ms, failure_rate: 40%, retry: {max_attempts: 2, jitter: none}}}",
        "{latency: 700ms, capacity: 1, queue: {limit: 2, when_full: refuse}, throttle: {rate: 40/1m}}",
    ],
)
async def test_each_request_ends_as_the_attempt_of_a_simulation_does(provider, autojump_clock):
    scenario = simulation.parse(OUTAGE.replace("{latency: 80ms}", provider).replace("10m", "3m"))
    attempts = simulation.run(scenario).attempts
    over = simulation.ScenarioTransport(scenario)
    ends = {}

    async def one(number, began):
        answer = await ask(httpx2, over, timeout=None)
        ends[number] = (answer.is_success, round(trio.current_time() - began, 6))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number, at_s in enumerate(attempts.sort_values("start_s").start_s):
            await trio.sleep_until(began + at_s)
            nursery.start_soon(one, number, began)
    wanted = attempts.sort_values("start_s")
    assert [ends[number] for number in range(len(wanted))] == [
        (outcome == "sent", round(end_s, 6)) for outcome, end_s in zip(wanted.outcome, wanted.end_s, strict=True)
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"outage": "gone"}, "outage: wanted a status of HTTP from 400 to 599, or one of refused, .*, got 'gone'"),
        ({"failure": 200}, "failure: wanted a status of HTTP from 400 to 599, .*, got 200"),
        ({"provider": "backup"}, "provider: wanted one of primary, got 'backup'"),
    ],
)
def test_words_that_mean_nothing_are_refused(options, text):
    with pytest.raises(ConfigurationError, match=text):
        transport(**options)


def test_a_channel_that_the_scenario_does_not_use_is_refused():
    with pytest.raises(ConfigurationError, match=r"channel: wanted one that the scenario uses \(payments\), got 'sms'"):
        simulation.ScenarioTransport(simulation.parse(OUTAGE), "sms")
