"""Orders, and the same two commands of each sent by themselves: what it costs to come from a domain event.

Both sides run the same scenario, with the same arrivals and the same texts. On the side of the commands an order is a
plain tuple, which nothing checks, and its commands go to the handler as a caller of one's own would send them.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from unittest.mock import patch

from load import Load

import simulation
from actors.messages import OrderPlaced
from actors.pipeline.event_bus import EventBus
from actors.pipeline.subscribers import order_email, order_sms
from simulation.running import workload
from simulation.scenario.workload import HOST_OF_EVENTS

SCENARIO = """\
name: orders
seed: {load.seed}
duration: {duration!r}s
drain: 1d
workload:
  - {{event: OrderPlaced, arrivals: {{poisson: {load.rate!r}/s}}, users: {load.users}}}
channels:
  email: {{provider: {{latency: {latency}}}}}
  sms: {{provider: {{latency: {latency}}}}}
"""


class Order(NamedTuple):
    """What the subscribers read of an order."""

    order_id: str
    user_id: str
    customer_email: str
    customer_phone: str
    total_amount: Decimal
    placed_at: datetime


def _order(key: str, user: str, at: datetime) -> Order:
    return Order(key, user, f"{user}@{HOST_OF_EVENTS}", f"phone of {user}", workload._AMOUNT, at)


def _send_commands(bus: EventBus, event: Any, *others: Any) -> None:
    if type(event) is not Order:
        _announce(bus, event, *others)
        return
    bus._tell_handler(order_email(event))  # type: ignore[arg-type]
    bus._tell_handler(order_sms(event))  # type: ignore[arg-type]


_announce = EventBus.announce


def orders(load: Load) -> Callable[[], simulation.Result]:
    """Return a run of as many orders as make the notifications of a load."""
    latency = f"{{lognormal: {{median: {load.latency_median!r}s, p99: {load.latency_p99!r}s}}}}"
    text = SCENARIO.format(load=load, duration=load.notifications / 2 / load.rate, latency=latency)
    scenario = simulation.parse(text)
    return lambda: simulation.run(scenario)


def commands(load: Load) -> Callable[[], simulation.Result]:
    """Return the same run, with the commands of the orders in place of these."""
    run = orders(load)

    def run_with_commands() -> simulation.Result:
        events: dict[str, Any] = {**workload._EVENTS, OrderPlaced.__name__: _order}
        with patch.object(workload, "_EVENTS", events), patch.object(EventBus, "announce", _send_commands):
            return run()

    return run_with_commands
