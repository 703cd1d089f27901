"""Settings that are read again while the service runs: what takes effect, and that nothing is lost or sent twice."""

import json
import logging
from collections import Counter

import pytest
import trio
import trio.testing
from effort import thorough
from served import SHOP, email, service, write

from actors.outcomes import Sent, Transient

BOTH_STORES = pytest.mark.parametrize("store", ["memory", thorough({"sqlite": "store.db"})])


def channels(**settings):
    return {"email": settings}


@BOTH_STORES
async def test_what_is_at_a_provider_comes_back_first_and_what_waits_is_sent_once(tmp_path, provider, store):
    let_go, arrived = trio.Event(), trio.Event()

    begun = []

    async def deliver(attempt):
        begun.append(attempt.command.notification_id)
        if attempt.command.notification_id == "n-1":
            arrived.set()
            await let_go.wait()
        return Sent()

    provider.deliver = deliver
    async with service(tmp_path, store=store) as served, trio.open_nursery() as nursery:
        before = served.server.notifier
        await served.post("/notifications", email(1))
        await arrived.wait()
        nursery.start_soon(lambda: served.change(store=store, channels=channels(timeout="20s")))
        with trio.fail_after(30):
            while not served.server._incarnation.gate._closed:
                await trio.sleep(0.001)
        accepted = await served.post("/notifications", email(2))  # no one is sent away meanwhile
        assert accepted.status_code == 202
        assert served.server.notifier is before
        assert provider.taken == []
        let_go.set()
        with trio.fail_after(30):
            while served.server.notifier is before:
                await trio.sleep(0.001)
        await served.server.notifier.wait_until_quiet()
        assert begun == provider.taken == ["n-1", "n-2"]
        assert await served.metric('notifications_sent_total{channel="email",priority="normal"}') == 2
        assert await served.metric('notifications_in_flight{channel="email"}') == 0


@BOTH_STORES
async def test_under_load_everything_that_was_accepted_is_sent_once(tmp_path, provider, store):
    begun = Counter()

    async def deliver(attempt):
        begun[attempt.command.notification_id, attempt.number] += 1
        await trio.sleep(0.002)
        number = int(attempt.command.notification_id.removeprefix("n-"))
        return Transient(reason="busy") if number % 5 == 0 and attempt.number == 1 else Sent()

    provider.deliver = deliver
    retry = {"initial_delay": "20ms"}
    breaker = {"enabled": False, "resume_rate": "1000/s"}  # five may be busy in a row
    codes = []

    async with service(tmp_path, store=store, channels=channels(retry=retry, circuit_breaker=breaker)) as served:

        async def load(first):
            for number in range(first, first + 100):
                codes.append((await served.post("/notifications", email(number))).status_code)

        async with trio.open_nursery() as nursery:
            for client in range(4):
                nursery.start_soon(load, 1000 * client)
            for change in range(5):
                await trio.sleep(0.02)
                changed = channels(retry=retry | {"max_attempts": 4 + change}, circuit_breaker=breaker)
                assert await served.change(store=store, channels=changed)
        await served.server.notifier.wait_until_quiet()
        assert await served.metric('notifications_accepted_total{channel="email",priority="normal"}') == 400
        assert await served.metric('notifications_sent_total{channel="email",priority="normal"}') == 400
    assert codes == [202] * 400
    assert len(provider.taken) == len(set(provider.taken)) == 400
    assert set(begun.values()) == {1}


async def test_a_retry_keeps_its_time_and_its_number_and_a_changed_setting_holds_for_it(tmp_path, provider):
    async def deliver(attempt):
        return Transient(reason="busy")

    provider.deliver = deliver
    async with service(tmp_path, channels=channels(retry={"initial_delay": "500ms", "max_attempts": 3})) as served:

        def due():
            [delivery] = served.server._store.open_deliveries(0)
            return delivery.due_ns, delivery.attempts

        await served.post("/notifications", email(1))
        while due()[0] is None:
            await trio.sleep(0.001)
        before = due()
        assert await served.change(channels=channels(retry={"initial_delay": "500ms", "max_attempts": 2}))
        assert due() == before
        await served.server.notifier.wait_until_quiet()
        assert await served.metric('notifications_in_dlq{channel="email"}') == 1
    assert provider.attempts == [("n-1", 1), ("n-1", 2)]


async def test_an_attempt_that_takes_too_long_is_not_waited_for_until_others_run_into_their_time_limit(
    tmp_path, provider, autojump_clock, caplog
):
    async def deliver(attempt):
        begun.append(attempt.command.notification_id)
        if begun == ["n-1"]:
            await trio.sleep(50)
        return Sent()

    begun = []
    provider.deliver = deliver
    channel_settings = {"email": {"timeout": "60s", "failover": {"backup": {"timeout": "10s"}}}}
    transports = {"email": {"simulated": True, "failover": {"backup": {"simulated": True}}}}
    async with (
        service(tmp_path, channels=channel_settings, transports=transports) as served,
        trio.open_nursery() as nursery,
    ):
        await served.post("/notifications", email(1))
        await trio.sleep(1)
        nursery.start_soon(
            lambda: served.change(
                channels=channel_settings | {"sms": {}}, transports=transports | {"sms": {"simulated": True}}
            )
        )
        await trio.sleep(1)
        await served.server.notifier.operate_breaker("email", "force-open", "primary")
        await served.post("/notifications", email(2))  # to the backup
        await trio.sleep(30)
        await served.server.notifier.operate_breaker("email", "close", "primary")
        await served.server.notifier.wait_until_quiet()
        assert await served.metric('notifications_failed_total{channel="email",kind="Ambiguous"}') is None
    assert "attempts are cut off at their providers, and will be made again with the same key" in caplog.messages
    assert sorted(provider.taken) == ["n-1", "n-2"]
    assert sorted(begun) == ["n-1", "n-1", "n-2"]


async def test_tokens_proxies_logs_and_drain_take_effect_without_another_pipeline(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        before = served.server.notifier
        new = [{"name": "shop", "role": "ingest", "secret": "new-0123456789abcdef"}]
        assert await served.change(tokens=new, drain="1s", logs={"level": "warning"}, trusted_proxies=["10.0.0.0/8"])
        assert served.server.notifier is before
        assert (await served.post("/notifications", email(1), SHOP)).status_code == 401
        assert (await served.post("/notifications", email(1), "new-0123456789abcdef")).status_code == 202
        assert logging.getLogger().level == logging.WARNING
        assert served.server.config.drain == 1
        assert served.server.app.service.access._proxies.address_of("10.0.0.1", "8.8.8.8") == "8.8.8.8"


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": {"email": {"timeout": "soon"}}, "drain": "never"},
        {
            "transports": {"email": {"smtp": {"host": "a", "sender": "a@b.c", "ca_file": "nowhere"}}},
            "channels": {"sms": {}},
        },
    ],
)
async def test_settings_with_anything_wrong_change_nothing_and_all_of_it_is_logged(
    tmp_path, autojump_clock, caplog, changes
):
    async with service(tmp_path) as served:
        before = served.server.notifier
        assert not await served.change(**changes)
        assert len([text for text in caplog.messages if text.startswith("settings are not used: ")]) >= len(changes) - 1
        assert served.server.notifier is before
        assert (await served.post("/notifications", email(1))).status_code == 202
        health = (await served.get("/healthz", None)).json()
        assert health["settings"]["problems_of_the_last_reading"] > 0
        assert await served.metric('settings_reloads_total{result="refused"}') == 1
        assert await served.metric('settings_reloads_total{result="used"}') == 0
        assert await served.change()
        assert await served.metric('settings_reloads_total{result="used"}') == 1
        health = (await served.get("/healthz", None)).json()
        assert health["settings"]["problems_of_the_last_reading"] == 0


async def test_a_transport_that_cannot_be_opened_leaves_the_old_ones(tmp_path, autojump_clock, caplog):
    async with service(tmp_path) as served:
        before = served.server.notifier
        smtp = {"host": "mail.example.com", "sender": "shop@example.com", "ca_file": "/nowhere"}
        assert not await served.change(transports={"email": {"smtp": smtp}})
        assert served.server.notifier is before
        assert any("transports.email: ca_file: wanted a file of certificates" in text for text in caplog.messages)


async def test_what_needs_a_restart_is_said(tmp_path, autojump_clock, caplog):
    async with service(tmp_path) as served:
        before = served.server.notifier
        assert await served.change(store={"sqlite": "other.db"}, listen="127.0.0.1:1")
        assert served.server.notifier is before
        assert served.server.config.store == "memory"
        assert await served.change(store={"postgres": "postgresql://ann:hunter2@db/x"})
    restarts = [record for record in caplog.records if "when the service is restarted" in record.getMessage()]
    assert [(record.getMessage().partition(":")[0], record.fields) for record in restarts] == [
        ("listen", {"used": "127.0.0.1:8080", "in_the_file": "127.0.0.1:1"}),
        ("store", {"used": "memory", "in_the_file": f"sqlite: {tmp_path / 'other.db'}"}),
        ("store", {"used": "memory", "in_the_file": "postgres: **********"}),
    ]


@pytest.mark.parametrize("per", ["channel", "host"])
async def test_an_operators_order_to_a_breaker_holds_from_the_first_moment(tmp_path, provider, autojump_clock, per):
    breaker = {"circuit_breaker": {"per": per}}
    async with service(tmp_path, channels=channels(**breaker)) as served:
        await served.server.notifier.operate_breaker("email", "force-open")
        await served.post("/notifications", email(1))
        for timeout in ("5s", "6s"):
            assert await served.change(channels=channels(timeout=timeout, **breaker))
            await trio.sleep(100)
            assert provider.taken == []
            assert served.server.notifier.in_flight == 1
        await served.post("/notifications", email(2))
        await trio.sleep(100)
        await served.server.notifier.operate_breaker("email", "close")
        assert await served.change(channels=channels(timeout="7s", **breaker))
        await served.server.notifier.wait_until_quiet()
    assert sorted(provider.taken) == ["n-1", "n-2"]


async def test_each_providers_order_holds_and_no_other_is_of_it(tmp_path, autojump_clock):
    transports = {"email": {"simulated": True, "failover": {"backup": {"simulated": True}}}}
    breakers = {"failover": {"backup": {}}, "circuit_breaker": {"initial_state": "disabled"}}

    async def states():
        found = (await served.get("/healthz", None)).json()["breakers"]
        return {breaker["provider"]: breaker["state"] for breaker in found}

    async with service(tmp_path, transports=transports, channels=channels(**breakers)) as served:
        assert await states() == {"primary": "disabled", "backup": "disabled"}
        await served.server.notifier.operate_breaker("email", "close", "primary")
        await served.server.notifier.operate_breaker("email", "force-open", "backup")
        assert await served.change(transports=transports, channels=channels(timeout="5s", **breakers))
        assert await states() == {"primary": "closed", "backup": "forced-open"}
        await served.server.notifier.operate_breaker("email", "disable")
        assert await served.change(transports=transports, channels=channels(timeout="6s", **breakers))
        assert await states() == {"primary": "disabled", "backup": "disabled"}
        only = {"email": {"simulated": True}}
        await served.server.notifier.operate_breaker("email", "force-open", "backup")
        assert await served.change(transports=only, channels=channels(timeout="7s"))
        assert await states() == {"primary": "closed"}


async def test_faults_are_injected_on_a_game_day_and_that_is_loud(tmp_path, provider, autojump_clock, caplog):
    fault = {"channel": "email", "at": "10s", "for": "1m", "outage": True}
    async with service(tmp_path, channels=channels(retry={"max_attempts": 1})) as served:
        assert await served.metric("faults_injected") == 0
        await trio.sleep(1000)
        assert await served.change(channels=channels(retry={"max_attempts": 1}), faults=[fault])
        assert "FAULTS ARE INJECTED: outage on email" in caplog.messages
        assert await served.metric("faults_injected") == 1
        assert (await served.get("/healthz", None)).json()["faults"] == [
            {"channels": ["email"], "provider": None, "injects": ["outage"]}
        ]
        for number, wait in enumerate((20, 60, 5)):
            await served.post("/notifications", email(number))
            await trio.sleep(wait)
        assert await served.change(channels=channels(retry={"max_attempts": 1}))
        assert await served.metric("faults_injected") == 0
        await served.post("/notifications", email(4))
        await served.server.notifier.wait_until_quiet()
        assert await served.metric('notifications_in_dlq{channel="email"}') == 1
    assert provider.taken == ["n-0", "n-2", "n-4"]


async def test_slow_clients_do_not_hold_up_settings_that_are_read_again_and_are_answered_by_what_comes_then(
    tmp_path, provider, monkeypatch
):
    monkeypatch.setattr("actors.service.serve.REQUESTS_PATIENCE", 1e6)
    body = json.dumps(email(1)).encode()
    head = f"POST /notifications HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SHOP}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    async with service(tmp_path, listen="127.0.0.1:0") as served:
        (url,) = await served.server.listen()
        slow = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        await slow.send_all(head.encode() + body[:5])
        await trio.testing.wait_all_tasks_blocked()
        before = served.server.notifier
        with trio.fail_after(60):
            assert await served.change(channels={"email": {"retry": {"max_attempts": 7}}}, listen="127.0.0.1:0")
        assert served.server.notifier is not before
        await slow.send_all(body[5:])
        assert (await slow.receive_some()).startswith(b"HTTP/1.1 202 ")
        await slow.aclose()
        await served.server.notifier.wait_until_quiet()


async def test_a_service_that_shuts_down_reads_no_settings(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        await served.server.shut_down()
        write(served.path, drain="1s")
        assert not await served.server.reload()


async def test_a_breaker_that_other_settings_have_closed_says_so_and_since_when(tmp_path, provider, autojump_clock):
    async def deliver(attempt):
        return Transient(reason="busy")

    provider.deliver = deliver
    own = {"circuit_breaker": {"failure_threshold": 1}, "retry": {"max_attempts": 1}}
    async with service(tmp_path, channels=channels(**own)) as served:
        await served.post("/notifications", email(1))
        await served.server.notifier.wait_until_quiet()
        watch = served.server.breakers
        assert [event.to_state for event in watch.history()] == ["open"]
        assert await served.change(channels=channels(timeout="5s", **own))
        latest = watch.history()[0]
        assert (latest.from_state, latest.to_state, latest.cause) == ("open", "closed", "reload")
        assert latest.at > watch.history()[1].at
        breaker, *_ = watch.now(served.server.notifier.pipeline)
        assert (breaker.state, breaker.since) == ("closed", latest.at)
        assert await served.metric('breaker_transitions_total{breaker="email",to="closed"}') == 1
        assert await served.change(channels=channels(timeout="6s", **own))
        assert len(watch.history()) == 2  # it was closed before
