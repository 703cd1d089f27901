"""A fleet live: nodes in processes of their own on one PostgreSQL, before a receiver that goes wrong as scenarios say.

What arrives is what arrives in a simulation with the same seed, and the nodes get it in turn. They are killed when
their processes crash in the scenario, and started again as long afterwards; and they do not reach the database when the
scenario says so. A client whose node is killed, or others take over from, before it has said that it accepts sends the
same again, to another one.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg
import trio
import yaml
from database_link import DatabaseLink
from http_servers import HANG, Reply, Request, Said, http_server
from misbehaving import Schedule

import simulation
from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationRequested
from actors.outcomes import Sent
from actors.settings.faults import FaultConfig
from actors.storage.postgres.lease import SHARE
from simulation import Scenario

NODE = Path(__file__).with_name("fleet_node.py")
PATIENCE_S = 120
"""How long anything may take that is waited for."""


@dataclass
class Receiver:
    """The receiver of all webhooks: what it is asked, and what it takes."""

    schedule: Schedule
    requests: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    """How often it has taken each notification."""

    def __call__(self, request: Request) -> Said:
        self.requests += 1
        fate = self.schedule.judge()
        if fate.outcome is None:
            return HANG
        if not isinstance(fate.outcome, Sent):
            return Reply(503, after=fate.delay_ns / NS_PER_S)
        self.taken[request.target.removeprefix("/")] += 1
        return Reply(204, after=fate.delay_ns / NS_PER_S)

    @property
    def duplicates(self) -> int:
        """How often it has taken what it had taken before."""
        return self.taken.total() - len(self.taken)


class NodeProcess:
    """One process of a node, which has imported what it needs before it is wanted."""

    def __init__(self, *arguments: str) -> None:
        self._argv = [sys.executable, str(NODE), *arguments]
        self._process: trio.Process
        self._has_news = trio.Condition()
        self._is_read = trio.Event()
        self._sending = trio.Lock()
        self.sent: list[str] = []
        """What it was sent."""
        self.said: list[tuple[str, str, float]] = []
        """A word, what it is about, and when."""
        self.is_open = False
        """Whether it gets what arrives."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run it until it ends, and take in what it says; it has started when it could begin."""
        self._process = await trio.lowlevel.open_process(self._argv, stdin=-1, stdout=-1)
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                word, _, what = line.decode().partition(" ")
                self.said.append((word, what, trio.current_time()))
                if word == "imported":
                    task_status.started()
            async with self._has_news:
                self._has_news.notify_all()
        self._is_read.set()

    def about(self, word: str) -> list[str]:
        return [what for said, what, _ in self.said if said == word]

    async def open(self) -> None:
        await self.send("begin")
        async with self._has_news:
            while not self.about("open"):
                await self._has_news.wait()
        self.is_open = True

    async def send(self, line: str) -> None:
        """Write a line to its standard input; one that is being killed need not get it."""
        assert self._process.stdin is not None
        try:
            async with self._sending:  # what another node had goes here beside what arrives
                await self._process.stdin.send_all(f"{line}\n".encode())
        except trio.BrokenResourceError:
            assert not self.is_open

    async def kill(self) -> None:
        self.is_open = False
        self._process.kill()
        assert await self._process.wait() == -9
        await self._is_read.wait()

    async def has_failed(self) -> None:
        """Wait until it ends by itself, as nothing that it does is durable any more."""
        assert await self._process.wait() == 1
        await self._is_read.wait()

    def not_accepted(self) -> list[str]:
        """Return what it was sent and has not said that it accepts."""
        accepted = set(self.about("accepted"))
        return [each for each in self.sent if each not in accepted]

    async def end(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        await self._process.wait()


class LiveFleet:
    """The nodes of a scenario, what arrives at them, and what was counted."""

    def __init__(self, scenario: Path, seed: int, database: str) -> None:
        self._scenario = simulation.load(scenario, seed=seed)
        self._database = database
        channels = yaml.safe_load(scenario.read_text())["channels"]
        self._settings = json.dumps({"channels": channels, "drain": 0})
        self._receiver = Receiver(Schedule(self._scenario, NotificationChannel.WEBHOOK))
        self._processes: list[NodeProcess] = []
        self._turns = 0
        self._began = 0.0
        self._killed_at: list[float] = []
        self._server = Path(urlsplit(database).query.removeprefix("host="))

    async def run(self) -> dict[str, float]:
        """Run it until nothing is in flight; return the figures."""
        with TemporaryDirectory() as directory:
            return await self._run(Path(directory))

    async def _run(self, directory: Path) -> dict[str, float]:
        fleet = self._scenario.fleet
        async with http_server(self._receiver) as server, trio.open_nursery() as running:

            async def imported(number: int) -> NodeProcess:
                database = self._database if number not in links else links[number].url(self._database)
                process = NodeProcess(database, f"node-{number}", str(fleet.takeover_after), self._settings, server.url)
                self._processes.append(process)
                await running.start(process.run)
                return process

            links: dict[int, DatabaseLink] = {}
            partitions = [fault for fault in self._scenario.faults if fault.partition is not None]
            for number in map(_node_of, partitions):
                links[number] = DatabaseLink(directory / str(number), self._server)
                await running.start(links[number].run)
            crashes = [fault for fault in self._scenario.faults if fault.crash is not None]
            first = {number: await imported(number) for number in range(1, fleet.count + 1)}
            again = [(fault, await imported(_node_of(fault))) for fault in [*crashes, *partitions]]
            for process in first.values():
                await process.open()
            arriving = arrivals(self._scenario)
            self._receiver.schedule.start()
            self._began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for fault, successor in again:
                    number = _node_of(fault)
                    if fault.partition is None:
                        nursery.start_soon(self._crash, fault, first[number], successor)
                    else:
                        nursery.start_soon(self._cut, fault, links[number], first[number], successor)
                for at, notification_id in arriving:
                    await trio.sleep_until(self._began + at)
                    await self._route(notification_id)
            with trio.fail_after(PATIENCE_S):
                while await self._count("open"):
                    await trio.sleep(0.2)
            figures = await self._figures()
            for process in self._processes:
                await process.end()
            running.cancel_scope.cancel()
        return figures

    async def _route(self, notification_id: str) -> None:
        there = [process for process in self._processes if process.is_open]
        process = there[self._turns % len(there)]
        self._turns += 1
        process.sent.append(notification_id)
        await process.send(notification_id)

    async def _crash(self, fault: FaultConfig, process: NodeProcess, successor: NodeProcess) -> None:
        await trio.sleep_until(self._began + fault.at)
        self._killed_at.append(trio.current_time())
        await process.kill()
        for notification_id in process.not_accepted():
            await self._route(notification_id)
        assert fault.restart_after is not None
        if fault.at + fault.restart_after < self._scenario.duration:
            await trio.sleep_until(self._began + fault.at + fault.restart_after)
            await successor.open()

    async def _cut(self, fault: FaultConfig, link: DatabaseLink, process: NodeProcess, successor: NodeProcess) -> None:
        """Keep a node from the database; it gets nothing new while it says that it has no lease."""
        at, lease_s = self._began + fault.at, self._scenario.fleet.takeover_after
        assert fault.for_ is not None
        await trio.sleep_until(at)
        link.cut()
        if fault.for_ > lease_s:
            self._killed_at.append(trio.current_time())
            await trio.sleep_until(at + SHARE * lease_s)
            process.is_open = False
            await trio.sleep_until(at + lease_s)
            for notification_id in process.not_accepted():
                await self._route(notification_id)
        await trio.sleep_until(at + fault.for_)
        link.mend()
        if fault.for_ > lease_s:
            await process.has_failed()
            await successor.open()

    async def _count(self, state: str) -> int:
        def count() -> int:
            with psycopg.connect(self._database) as sql:
                row = sql.execute("SELECT count(*) FROM retrylab.notifications WHERE state = %s", (state,)).fetchone()
            assert row is not None
            return int(row[0])

        return await trio.to_thread.run_sync(count)

    async def _figures(self) -> dict[str, float]:
        said = sorted((at, word, what) for each in self._processes for word, what, at in each.said)
        took = [(at, int(what)) for at, word, what in said if word == "took"]
        accepted = len({what for _, word, what in said if word == "accepted"})
        told = {"told": sum(word == "told" for _, word, _ in said)} if self._scenario.shares_breakers else {}
        return told | {
            "sent": await self._count("ended") / accepted,
            "requests": self._receiver.requests / accepted,
            "duplicates": self._receiver.duplicates,
            "openings": sum(word == "opened" for _, word, _ in said),
            "taken over": sum(count for _, count in took),
            "takeover, s": max((at - max(each for each in self._killed_at if each < at) for at, _ in took), default=0),
            "last end, s": max(at for at, word, _ in said if word == "ended") - self._began,
        }


def arrivals(scenario: Scenario) -> list[tuple[float, str]]:
    """Return what arrives in a simulation: when, in seconds, and its id."""
    history = simulation.run(scenario).history
    return [
        (event.at_ns / NS_PER_S, event.notification_id) for event in history if isinstance(event, NotificationRequested)
    ]


def _node_of(fault: FaultConfig) -> int:
    assert fault.node is not None
    (number,) = fault.node
    return number
