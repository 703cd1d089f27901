"""A service to be killed whose endpoint fails: ``endpoint_service.py STORE down | disabled | order | ID``.

Down, it sends to an endpoint that refuses everything until the clock of that runs, says ``failing`` and the instant
since when, in nanoseconds since 1970, and waits to be killed. Disabled, it goes on so until the endpoint is disabled
and one more notification is a dead letter for it, says ``disabled``, and what people have been told, and waits to be
killed. By order it says what the endpoint is, and enables it. With an ID the endpoint is up: it sends one of that ID,
says ``taken ID`` if it is taken, and ends.
"""

import sys

import trio
from service_parts import opened_store, say

from actors import Foreseen, NotificationChannel, Notifier, SendNotification
from actors.domain.attempts import Attempt, Provider
from actors.endpoints import EndpointState
from actors.outcomes import Outcome, Sent, Transient
from actors.service.operations.dead_letters import DeadLetters

MODE = sys.argv[2]
IS_UP = MODE not in ("down", "disabled", "order")
WEBHOOK, HOOK = NotificationChannel.WEBHOOK, "https://example.com/hook"


class Endpoint(Provider):
    """Refuses everything, or takes it."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        if IS_UP:
            say("taken", attempt.command.notification_id)
        outcome: Outcome = Sent() if IS_UP else Transient(reason="HTTP 503")
        return Foreseen(1_000_000, outcome)


async def main() -> None:
    path = sys.argv[1]
    told: list[str] = []
    webhook = {
        "retry": {"max_attempts": 1},
        "circuit_breaker": {"enabled": False},
        "endpoints": {"disable_after": "10s"},
    }
    config = {"channels": {"webhook": webhook}, "drain": 0}
    async with (
        opened_store(path, node="one", lease=5.0) as store,
        Notifier.open(config, providers=Endpoint(), store=store, notify=told.append) as notifier,
    ):
        known = store.endpoints.find(WEBHOOK, HOOK)
        if MODE == "order":
            say(known.state)
            async with trio.open_nursery() as nursery:
                operations = DeadLetters(notifier, nursery)
                assert await operations.enable_endpoint(WEBHOOK, HOOK, by="otto", why="it is back")
            assert store.endpoints.find(WEBHOOK, HOOK) is None
            return
        for number in range(1 if IS_UP else 300):
            name = MODE if IS_UP else f"{MODE}-{number}"
            command = SendNotification(notification_id=name, channel=WEBHOOK, recipient=HOOK, message="hello")
            await notifier.send(command)
            await notifier.wait_until_quiet()
            known = store.endpoints.find(WEBHOOK, HOOK)
            if MODE == "down" and known is not None and known.state is EndpointState.FAILING:
                say("failing", known.mark.since_ns)
                await trio.sleep_forever()
            letters = notifier.dead_letter_queue
            if MODE == "disabled" and letters[-1].failure_reason == "the endpoint is disabled":
                [alert] = [text for text in told if text.startswith("Endpoint ")]
                say("disabled", known.mark.since_ns, alert)
                await trio.sleep_forever()
            await trio.sleep(0.1)


trio.run(main)
