"""What can be no address is refused when it comes, where the channel's providers know it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from timetables import send_at
from worlds import EMAIL, SMS, Scripted, World, email

from actors import InvalidRecipient, Notifier, SqliteStore
from actors.faults.chaos import FaultyProvider
from actors.kernel.randomness import RandomStreams
from actors.messages import DuplicateIgnored, NotificationRequested, SendNotification
from actors.outcomes import Permanent
from actors.pipeline.orders import Acceptance
from actors.pipeline.templates import Templates


class Knowing(Scripted):
    """Knows of some recipients that nothing can be sent to them."""

    def __init__(self, *bad: str, outcomes: Any = ()) -> None:
        super().__init__(outcomes)
        self.bad = bad

    def recipient_problem(self, command: SendNotification) -> str | None:
        return f"{self.bad[0]} is none" if command.recipient in self.bad else None


class Failing(Scripted):
    def recipient_problem(self, command: SendNotification) -> str | None:
        raise LookupError("my list of addresses is gone")


def accepted(timetable: Mapping[float, Any], make: Callable[[], Any], **settings: Any) -> tuple[World, list[str]]:
    """Send commands to the providers made; return the world and which notifications were accepted, in order."""
    world = send_at(timetable, opens=lambda world: world.open(make(), **settings))
    return world, [event.notification_id for event in world.events(NotificationRequested)]


def test_a_command_with_no_address_is_refused_and_nothing_of_it_is_remembered():
    sends = {0: [email("a", recipient="bob"), email("b")], 1: email("a", recipient="bob@example.org")}
    world, ids = accepted(sends, lambda: Knowing("bob"))
    assert world.notes[:3] == ["InvalidRecipient", Acceptance.ACCEPTED, Acceptance.ACCEPTED]
    assert ids == ["b", "a"]
    assert world.sent_ids() == ["b", "a"]
    assert world.letters == []


def test_one_that_was_accepted_before_its_address_was_refused_is_still_known():
    def know(world: World) -> None:
        world.provider.bad = ("bob",)  # type: ignore[union-attr]

    world, ids = accepted({0: email("a", recipient="bob"), 1: know, 2: email("a", recipient="bob")}, Knowing)
    assert ids == ["a"]
    assert len(world.events(DuplicateIgnored)) == 1


@pytest.mark.parametrize(("others", "is_refused"), [(("bob", "ann"), True), (("ann",), False)])
def test_what_one_of_several_providers_may_take_is_accepted(others, is_refused):
    def providers() -> Any:
        return {EMAIL: {"primary": Knowing("bob"), "backup": Knowing(*others)}}

    _, ids = accepted({0: email("a", recipient="bob")}, providers, email={"failover": {"backup": {}}})
    assert (ids == []) == is_refused


def test_a_check_that_raises_is_reported_and_keeps_no_one_out(caplog):
    world, _ = accepted({0: email("a")}, Failing)
    assert world.sent_ids() == ["a"]
    assert "recipient_problem raised on 'a'" in caplog.text


def test_faults_round_a_provider_leave_it_its_check():
    def faulty() -> Any:
        return FaultyProvider(Knowing("bob"), [], streams=RandomStreams(0))

    assert accepted({0: email("a", recipient="bob")}, faulty)[1] == []


def test_templates_of_ones_own_may_put_an_address_in():
    class Addresses(Templates):
        def fill_in(self, command: SendNotification) -> SendNotification:
            return msgspec.structs.replace(command, recipient="ann@example.org")

    sends = {0: [email("a", recipient="ann", metadata={"template": "x"}), email("b", recipient="ann")]}
    world, ids = accepted(sends, lambda: Knowing("ann"), templates=Addresses())
    assert ids == ["a"]
    assert world.provider.tries[0].command.recipient == "ann@example.org"  # type: ignore[union-attr]


def test_a_fallback_to_no_address_becomes_a_dead_letter_since_no_one_waits_for_an_answer():
    def providers() -> Any:
        full, no = Permanent(reason="full"), Permanent(reason="no")
        return {EMAIL: Knowing(outcomes=[full]), SMS: Knowing("x", outcomes=[no])}

    settings = {"email": {"fallback": {"channel": "sms"}}, "sms": {}}
    world, ids = accepted({0: email("a", addresses={SMS: "x"})}, providers, **settings)
    assert ids == ["a", "a/sms"]
    assert world.reasons == ["full", "no"]


async def test_the_caller_gets_an_error_that_is_a_value_error(tmp_path, autojump_clock, caplog):
    async with (
        SqliteStore.open(tmp_path / "store.db") as store,
        Notifier.open({"channels": {"email": {}}}, providers=Knowing("bob"), store=store) as notifier,
    ):
        with pytest.raises(ValueError, match="bob is none") as refused:
            await notifier.send(email("a", recipient="bob"))
        assert type(refused.value) is InvalidRecipient
        notifier.pipeline.handler.tell(email("b", recipient="bob"))
        await notifier.send(email("c"))
        await notifier.wait_until_quiet()
        assert [event.notification_id for event in notifier.sent_notifications] == ["c"]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert said == ["not accepted: bob is none"]
