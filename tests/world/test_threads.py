"""Worker threads in a world take turns with the clock, and code that blocks uses its sockets, names and TLS."""

import concurrent.futures
import contextlib
import os
import queue
import select
import smtplib
import socket
import ssl
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio import from_thread, to_thread

import simulation
from actors import EmailProvider, Notifier, SendNotification, SqliteStore
from simulation.world.escape import Escape
from simulation.world.threads import RunEnded

WORLD = """
name: threads
duration: 10m
drain: 1m
channels:
  api: {kind: webhook, provider: {latency: 100ms}}
  email: {provider: {latency: 300ms}}
faults:
  - {channel: email, at: 30s, for: 60s, outage: true}
world:
  api.example.com: api
  mail.example.com: {channel: email}
  other.example.com: {channel: email, tls: untrusted}
workload:
  - {channel: api, arrivals: {poisson: 1/h}, calls: "test_threads:nothing"}
"""


async def nothing(_arrival: Any) -> None:
    pass


def run(main: Callable[..., Any], **options: Any) -> Any:
    file = Path(tempfile.mkdtemp()) / "world.yaml"
    file.write_text(WORLD)
    return simulation.run_service(main, file, code=True, **options)


async def elapsed(work: Callable[[], object]) -> float:
    before = trio.current_time()
    await to_thread.run_sync(work)
    return trio.current_time() - before


def sums_up() -> None:
    sum(range(300_000))


async def computes_beside_a_deadline() -> None:
    order = []

    async def hour() -> None:
        await trio.sleep(3600)
        order.append("the hour is over")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hour)
        with trio.fail_after(0.001):
            await to_thread.run_sync(sums_up)
            async with await trio.open_file(__file__) as file:
                assert await file.read()
        nursery.cancel_scope.cancel()
    assert order == []


async def waits() -> None:
    """Everything of `threading` by which a thread waits, with the virtual time that it takes."""
    lock, event, condition, news = threading.Lock(), threading.Event(), threading.Condition(), queue.Queue[int]()

    def under_a_lock() -> None:
        with lock:
            time.sleep(1)

    async with trio.open_nursery() as nursery:
        before = trio.current_time()
        for _ in range(4):
            nursery.start_soon(to_thread.run_sync, under_a_lock)
    assert trio.current_time() - before == 4

    def times_out() -> None:
        assert not event.wait(3)
        with condition:
            assert not condition.wait_for(lambda: False, 2)
        with pytest.raises(queue.Empty):
            news.get(timeout=1)
        with lock:
            assert not lock.acquire(timeout=0.5)

    assert await elapsed(times_out) == 6.5

    def works() -> None:
        while number := news.get():
            time.sleep(number)
        event.set()

    def hands_out() -> None:
        workers = [threading.Thread(target=works) for _ in range(2)]
        for worker in workers:
            worker.start()
        for number in (3, 1, 2, 0, 0):
            news.put(number)
        workers[0].join(timeout=1)
        assert workers[0].is_alive()
        for worker in workers:
            worker.join()
        assert not workers[0].is_alive()

    assert await elapsed(hands_out) == 3
    assert event.is_set()

    def in_a_pool() -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert list(pool.map(time.sleep, [1, 2, 3])) == [None] * 3

    assert await elapsed(in_a_pool) == 4

    def asks_the_loop() -> None:
        from_thread.run(trio.sleep, 2)
        assert from_thread.run_sync(trio.current_time) == time.monotonic()

    assert await elapsed(asks_the_loop) == 2

    with trio.move_on_after(1) as scope:
        await to_thread.run_sync(time.sleep, 5, abandon_on_cancel=True)
    assert scope.cancelled_caught


async def fetches() -> None:
    def with_httpx() -> None:
        with httpx.Client() as client:
            connections = set()
            for number in range(3):
                response = client.get(f"https://api.example.com/{number}")
                connections.add(id(response.extensions["network_stream"]))
            assert len(connections) == 1, "kept alive"

    assert await elapsed(with_httpx) == pytest.approx(0.3)

    def with_urllib() -> None:
        assert urllib.request.urlopen("http://api.example.com/").status == 200
        assert urllib.request.urlopen("https://api.example.com/", context=ssl.create_default_context()).status == 200
        assert socket.getfqdn() == socket.gethostname() == "service.example"

    assert await elapsed(with_urllib) == pytest.approx(0.2)

    def by_hand() -> None:
        with socket.create_connection((socket.gethostbyname("api.example.com"), 80), timeout=5) as sock:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            assert poll.poll(0) == []
            sock.settimeout(0)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            sock.settimeout(0.05)
            sock.sendall(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            with pytest.raises(TimeoutError):
                sock.recv(1)
            assert select.select([sock], [], [], 3)[0] == [sock]
            assert sock.recv(4, socket.MSG_PEEK) == sock.recv(4) == b"HTTP"

    assert await elapsed(by_hand) == pytest.approx(0.1)


def send(number: int) -> None:
    with smtplib.SMTP("mail.example.com", 587, timeout=20) as smtp:
        smtp.starttls(context=ssl.create_default_context())
        smtp.login("ann", "secret")
        smtp.sendmail("shop@example.com", f"user{number}@example.org", "Subject: hi\r\n\r\n.hello\r\n")


async def mails() -> None:
    for number in range(4):
        with contextlib.suppress(smtplib.SMTPDataError):
            await to_thread.run_sync(send, number)
        await trio.sleep(20)
    with pytest.raises(ssl.SSLCertVerificationError):
        await to_thread.run_sync(
            lambda: smtplib.SMTP_SSL("other.example.com", 465, context=ssl.create_default_context())
        )


async def notifies() -> None:
    folder = tempfile.mkdtemp()
    email = EmailProvider({"host": "mail.example.com", "username": "a", "password": "b", "sender": "shop@example.com"})
    settings = {"channels": {"email": {"retry": {"max_attempts": 8}}}}
    async with (
        SqliteStore.open(os.path.join(folder, "store.sqlite")) as store,
        email,
        Notifier.open(settings, providers={"email": email}, store=store) as notifier,
    ):
        for number in range(20):
            to = f"user{number}@example.org"
            await notifier.send(
                SendNotification(notification_id=str(number), channel="email", recipient=to, message="hi", subject="s")
            )
            await trio.sleep(3)
        await notifier.wait_until_quiet()
        assert len(notifier.sent_notifications) == 20


async def never_ends() -> None:
    def loops() -> None:
        try:
            while True:
                time.sleep(100)
        except RunEnded:
            ended.append(True)
            raise

    ended: list[bool] = []
    try:
        await to_thread.run_sync(loops)
    finally:
        assert ended == [True]


async def takes_locks_in_another_order(count: int) -> None:
    locks = [threading.Lock() if number % 2 else threading.RLock() for number in range(count)]

    def move(first: Any, then: Any) -> None:
        with first:
            time.sleep(0.1)
            with then:
                pass

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(to_thread.run_sync, move, locks[number], locks[(number + 1) % count])
        nursery.start_soon(to_thread.run_sync, queue.Queue[str]().get)  # which waits, and for no other thread's lock


async def clings() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


@pytest.mark.parametrize("main", [computes_beside_a_deadline, waits, fetches])
def test_threads_take_virtual_time_alone(main: Callable[..., Any]) -> None:
    assert run(main).waiting == []


def test_mails_by_smtplib_meet_the_outage_of_their_channel() -> None:
    rows = run(mails).rows

    assert [(row.method, row.path, row.answer) for row in rows] == [
        ("MAIL", "/user0@example.org", "250"),
        ("MAIL", "/user1@example.org", "250"),
        ("MAIL", "/user2@example.org", "421"),
        ("MAIL", "/user3@example.org", "421"),
    ]
    assert [row.at_s for row in rows] == pytest.approx([0, 20.3, 40.6, 60.9])


def test_our_own_email_transport_and_store_run_unchanged() -> None:
    result = run(notifies)

    answers = Counter(row.answer for row in result.rows)
    assert answers.keys() == {"250", "421"}
    assert answers["250"] == 20
    assert result.summary["sent"] == 0, "they belong to no arrival"


def test_a_thread_that_never_ends_is_ended_after_the_run() -> None:
    run(never_ends)


def test_a_service_that_does_not_end_is_named() -> None:
    with pytest.raises(Escape, match=r"test_threads.py:\d+: in clings the service still runs 120 s"):
        run(clings)


@pytest.mark.parametrize("count", [2, 3])
def test_threads_that_wait_for_each_others_locks_are_named(count: int) -> None:
    result = run(partial(takes_locks_in_another_order, count))

    (finding,) = result.findings
    assert finding.count("test_threads.py:") == count
    assert finding.endswith("for the lock of the first: a deadlock")
    assert result.summary["simulated_s"] < 660 + 120, "its threads are ended"
