"""A notifier in a thread of its own: nothing accepted is lost, and no caller waits for ever."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from effort import sliced
from hosted import EMAIL_ONLY, Post, SlowStore, opened
from worlds import PLACED, email

import actors
from actors import NotificationService, Notifier, SqliteStore
from actors.errors import (
    ActorSystemError,
    ConfigurationError,
    NotifierClosed,
    StoreFailed,
    StoreInUse,
    UnknownChannel,
    WouldDeadlock,
    WrongType,
)
from actors.hosts import thread_notifier
from actors.messages import OrderPlaced
from actors.pipeline.orders import Acceptance


def open_email(post, path, **settings):
    """Open a notifier of this post, over a file."""
    return Notifier.open_in_thread(EMAIL_ONLY | settings, providers=lambda: post, store=lambda: SqliteStore.open(path))


def test_an_event_goes_all_the_way(tmp_path):
    seen, alerts = [], []
    with Notifier.open_in_thread(
        {"channels": {"email": {}, "sms": {"retry": {"max_attempts": 1}}}},
        providers={"email": NotificationService, "sms": lambda: NotificationService(failure_rate=1.0)},
        store=lambda: SqliteStore.open(tmp_path / "store.db"),
        notify=alerts.append,
    ) as notifier:

        @notifier.subscribe(OrderPlaced)
        async def confirm(event):
            await trio.sleep(0)
            seen.append(event.order_id)
            return email("of-a-subscriber")

        notifier.publish(PLACED)
        assert notifier.wait_until_quiet(20)
        assert notifier.send(email("of-a-subscriber"), timeout=20) == Acceptance.DUPLICATE
        assert {sent.notification_id for sent in notifier.sent_notifications} == {
            "email-order-placed-7",
            "of-a-subscriber",
        }
        assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["sms-order-placed-7"]
        assert notifier.operate_breaker("email", "force-open")
        assert not notifier.operate_breaker("email", "force-open", timeout=20)
        with pytest.raises(UnknownChannel):
            notifier.operate_breaker("push", "close")
        with pytest.raises(WrongType):
            notifier.send(PLACED)
        with pytest.raises(WrongType):
            notifier.subscribe("OrderPlaced")(confirm)
        assert notifier.in_flight == 0
    for late in (notifier.send, notifier.publish, notifier.run):
        with pytest.raises(NotifierClosed):
            late(email())
    assert confirm is not None
    assert seen == ["7"]
    assert len(alerts) == 1


def test_many_threads_send_at_once(tmp_path):
    post = Post()
    with open_email(post, tmp_path / "store.db") as notifier, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: notifier.send(email(str(i // 2)), timeout=60), range(400)))
        assert notifier.wait_until_quiet()  # and not the drain, which on a machine that stands still may end before
        assert Counter(answers) == {Acceptance.ACCEPTED: 200, Acceptance.DUPLICATE: 200}
    assert Counter(post.delivered) == Counter(str(i) for i in range(200))


def test_what_is_late_may_be_accepted_yet_and_is_not_lost():
    post, store = Post(), SlowStore()
    with Notifier.open_in_thread(EMAIL_ONLY, providers=lambda: post, store=lambda: opened(store)) as notifier:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s; it may be accepted yet"):
            notifier.send(email(), timeout=0.05)
        notifier.run(open_gate, store)
        assert notifier.send(email(), timeout=20) == Acceptance.DUPLICATE
    assert post.delivered == ["n"]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda notifier: notifier.publish(PLACED, timeout=0), "it may be accepted yet: sent again with the same id"),
        (lambda notifier: notifier.cancel("n", timeout=0), "it may be cancelled yet: its state tells"),
        (lambda notifier: notifier.run(trio.lowlevel.checkpoint, timeout=0), "what was asked for may happen yet"),
    ],
)
def test_an_answer_that_is_late_is_told_by_what_was_asked(ask, said):
    seen = threading.Event()

    async def hold():
        trio.lowlevel.current_trio_token().run_sync_soon(seen.wait)

    with Notifier.open_in_thread(EMAIL_ONLY, providers=Post) as notifier:
        notifier.run(hold)
        try:
            with pytest.raises(TimeoutError, match=f"^no answer within 0 s; {said}"):
                ask(notifier)
        finally:
            seen.set()


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ConfigurationError),
        (-0.5, ConfigurationError),
        (float("nan"), ConfigurationError),
        ("3", WrongType),
        (True, WrongType),
        (1j, WrongType),
    ],
)
def test_a_timeout_that_is_none_is_refused_at_once(timeout, error):
    post = Post()
    with Notifier.open_in_thread(EMAIL_ONLY, providers=lambda: post) as notifier:
        for ask in (
            lambda: notifier.send(email(), timeout=timeout),
            lambda: notifier.publish(PLACED, timeout=timeout),
            lambda: notifier.cancel("n", timeout=timeout),
            lambda: notifier.state("n", timeout=timeout),
            lambda: notifier.wait_until_quiet(timeout),
        ):
            with pytest.raises(error, match=r"^timeout: wanted .*, got "):
                ask()
        assert notifier.send(email("next"), timeout=float("inf")) == Acceptance.ACCEPTED
    assert post.delivered == ["next"]


def test_a_thread_that_is_blocked_is_not_quiet_and_is_waited_for_no_longer(monkeypatch):
    monkeypatch.setattr(thread_notifier, "ANSWERS_WITHIN", 0.01)
    go_on = threading.Event()
    with Notifier.open_in_thread(EMAIL_ONLY, providers=Post) as notifier:
        notifier.subscribe(OrderPlaced)(lambda event: go_on.wait() and None)
        with pytest.raises(TimeoutError):
            notifier.publish(PLACED, timeout=0)
        assert not notifier.wait_until_quiet(0)
        go_on.set()
        assert notifier.wait_until_quiet()


async def open_gate(store):
    store.gate.set()


@pytest.mark.parametrize("how", [LookupError, KeyboardInterrupt])
def test_a_block_that_breaks_off_leaves_in_its_store_what_is_accepted(tmp_path, how):
    def break_off():
        with open_email(post, tmp_path / "store.db", drain=3600) as notifier:
            for i in range(5):
                notifier.send(email(str(i)))
            raise how

    post = Post(is_open=False)
    with pytest.raises(how):
        break_off()
    assert post.delivered == []
    post.is_open = True
    with open_email(post, tmp_path / "store.db"):
        pass
    assert sorted(post.delivered) == list("01234")


def test_callers_are_answered_when_it_closes(tmp_path):
    """Each is accepted, and then sent, or hears that it is closed; none waits on."""
    post, accepted = Post(), []

    def send_until_closed(thread):
        for i in range(100_000):
            try:
                notifier.send(email(f"{thread}-{i}"))
            except NotifierClosed:
                return
            accepted.append(f"{thread}-{i}")

    threads = [threading.Thread(target=send_until_closed, args=(i,)) for i in range(8)]
    with open_email(post, tmp_path / "store.db", drain=0.1) as notifier:
        for thread in threads:
            thread.start()
        while len(accepted) < 100:
            time.sleep(0.01)
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    with open_email(post, tmp_path / "store.db"):
        pass
    assert set(accepted) <= set(post.delivered)


@pytest.fixture
def at_wake_up(monkeypatch):
    """Return a list of functions, of which the next call that wakes trio up from elsewhere gives way to the last."""
    due, real = [], trio.lowlevel.TrioToken.run_sync_soon

    def run_sync_soon(token, *args, **options):
        wake = functools.partial(real, token, *args, **options)
        if due:
            due.pop()(wake)
        else:
            wake()

    monkeypatch.setattr(trio.lowlevel.TrioToken, "run_sync_soon", run_sync_soon)
    return due


def test_a_caller_that_is_interrupted_leaves_no_other_one_waiting(at_wake_up):
    def interrupt(wake):
        raise KeyboardInterrupt

    with Notifier.open_in_thread(EMAIL_ONLY, providers=Post) as notifier:
        at_wake_up.append(interrupt)
        with pytest.raises(KeyboardInterrupt):
            notifier.send(email("a"))
        assert notifier.send(email("b"), timeout=20) == Acceptance.ACCEPTED
        assert notifier.send(email("a"), timeout=20) == Acceptance.DUPLICATE


def test_a_signal_handler_may_send_while_its_thread_does(at_wake_up):
    answers = []

    def be_interrupted(wake):
        answers.append(notifier.send(email("a"), timeout=20))
        wake()

    with Notifier.open_in_thread(EMAIL_ONLY, providers=Post) as notifier:
        at_wake_up.append(be_interrupted)
        assert notifier.send(email("b"), timeout=20) == Acceptance.ACCEPTED
    assert answers == [Acceptance.ACCEPTED]


def test_whoever_asks_when_trio_takes_no_task_any_more_is_answered(at_wake_up):
    """It still finishes asynchronous generators then, and calls what other threads have asked it to."""
    left, answers, asked = [], [], threading.Event()

    def be_asked(wake):
        wake()
        asked.set()

    async def generate():
        try:
            yield
        finally:
            at_wake_up.append(be_asked)
            asker.start()
            assert asked.wait(20)

    async def begin():
        left.append(generate())
        await anext(left[0])

    def ask():
        try:
            notifier.state("n", timeout=20)
        except NotifierClosed as error:
            answers.append(error)

    asker = threading.Thread(target=ask)
    with Notifier.open_in_thread(EMAIL_ONLY, providers=Post) as notifier:
        notifier.run(begin)
    asker.join(30)
    assert len(answers) == 1


def test_what_ends_the_notifier_is_told_to_callers_and_raised_from_the_block():
    store = SlowStore(StoreFailed("the disk is full"))

    def use():
        with Notifier.open_in_thread(EMAIL_ONLY, store=lambda: opened(store)) as notifier:
            notifier.run(open_gate, store)
            with pytest.raises(StoreFailed, match="the disk is full"):
                notifier.send(email())
            for _ in range(1000):
                notifier.send(email())

    with pytest.raises(StoreFailed, match="the disk is full") as raised:
        use()
    assert isinstance(raised.value.__cause__, NotifierClosed)


def test_its_own_thread_would_wait_for_itself(tmp_path):
    with open_email(Post(), tmp_path / "store.db") as notifier:
        problems = []

        @notifier.subscribe(OrderPlaced)
        def send(event):
            try:
                notifier.send(email())
            except WouldDeadlock as error:
                problems.append(str(error))

        notifier.publish(PLACED)
    assert problems == ["this is the notifier's own thread: return the commands, or await them `inside`"]


def test_a_store_that_does_not_open_says_so(tmp_path):
    with open_email(Post(), tmp_path / "store.db"):
        with pytest.raises(StoreInUse), open_email(Post(), tmp_path / "store.db"):
            pass
        with pytest.raises(ConfigurationError, match="store: wanted a function"), Notifier.open_in_thread(store="x"):
            pass
        with pytest.raises(ConfigurationError, match="email"):
            Notifier.open_in_thread({"channels": {"email": 3}}).__enter__()
    with pytest.raises(ZeroDivisionError), Notifier.open_in_thread(store=lambda: 1 / 0):
        pass


def test_two_are_apart(tmp_path):
    posts = Post(), Post()
    with open_email(posts[0], tmp_path / "0.db") as first, open_email(posts[1], tmp_path / "1.db") as second:
        first.send(email())
        second.send(email())
    assert [post.delivered for post in posts] == [["n"], ["n"]]


async def test_it_may_be_opened_where_trio_runs_in_the_thread_of_the_caller(tmp_path):
    post = Post()
    with open_email(post, tmp_path / "store.db") as notifier:
        notifier.send(email())
    assert post.delivered == ["n"]


def test_it_installs_no_handler_of_signals():
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with Notifier.open_in_thread(EMAIL_ONLY):
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.integration
def test_a_forked_child_is_refused_and_leaves_the_block_alone(tmp_path):
    post = Post()
    child = -1

    def in_child():
        with pytest.raises(ActorSystemError, match="forked"):
            notifier.send(email("child"), timeout=5)
        with open_email(Post(), tmp_path / "child.db") as own:  # one of its own is fine
            assert own.send(email()) == Acceptance.ACCEPTED

    try:
        with open_email(post, tmp_path / "store.db") as notifier:
            child = os.fork()
            if child == 0:
                in_child()
            else:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                notifier.send(email("parent"))
    finally:
        if child == 0:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    assert post.delivered == ["parent"]


@pytest.mark.integration
def test_a_forked_child_holds_no_file_of_its_parent(tmp_path):
    with open_email(Post(), tmp_path / "store.db"):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        try:
            with pytest.raises(StoreInUse), open_email(Post(), tmp_path / "store.db"):
                pass
            assert is_in_use_elsewhere(tmp_path / "store.db"), (
                "that the child lets go of it frees nothing of its parent's"
            )
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
    try:
        with open_email(Post(), tmp_path / "store.db") as again:
            again.send(email())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def is_in_use_elsewhere(path):
    """Tell whether another process finds it in use."""
    program = f"""
from actors import Notifier, SqliteStore, StoreInUse
try:
    with Notifier.open_in_thread(store=lambda: SqliteStore.open({str(path)!r})):
        pass
except StoreInUse:
    print("in use")
"""
    environment = os.environ | {"PYTHONPATH": str(Path(actors.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=60, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout == "in use\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    "end", sliced(["", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"], 6, 2)
)
def test_a_program_that_never_leaves_the_block_ends(tmp_path, end):
    program = f"""
import os, signal, time
from actors import Notifier, SendNotification, SqliteStore

context = Notifier.open_in_thread({EMAIL_ONLY}, store=lambda: SqliteStore.open("store.db"))
notifier = context.__enter__()
notifier.operate_breaker("email", "force-open")
notifier.send(SendNotification(notification_id="n", channel="email", recipient="a@example.org", message="hello"))
{end}
"""
    environment = os.environ | {"PYTHONPATH": str(Path(actors.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, timeout=60, check=False)
    assert done.returncode == {"": 0, "raise SystemExit(3)": 3}.get(end, -signal.SIGINT)
    post = Post()
    with open_email(post, tmp_path / "store.db"):
        pass
    assert post.delivered == ["n"]


def press_ctrl_c():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_ctrl_c_while_it_drains_ends_it(tmp_path):
    post = Post(is_open=False)

    def use():
        with open_email(post, tmp_path / "store.db", drain=3600) as notifier:
            notifier.send(email())
            threading.Timer(0.1, press_ctrl_c).start()

    with pytest.raises(KeyboardInterrupt):
        use()
    with open_email(post, tmp_path / "store.db"):
        post.is_open = True
    assert post.delivered == ["n"]


def test_ctrl_c_while_it_opens_ends_it():
    closed = []

    @asynccontextmanager
    async def slow_to_open():
        try:
            await trio.sleep_forever()
            yield None
        finally:
            closed.append(True)

    threading.Timer(0.1, press_ctrl_c).start()
    with pytest.raises(KeyboardInterrupt), Notifier.open_in_thread(EMAIL_ONLY, store=slow_to_open):
        pytest.fail("it was opened")
    assert closed == [True]
