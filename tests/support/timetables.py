"""A pipeline that is sent commands at their instants, and what else may happen to it then."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from worlds import START, Scripted, Try, World, email, on_both_clocks

from actors.messages import SendNotification
from actors.outcomes import Outcome
from actors.pipeline.circuit_breaker import OperateBreaker
from actors.pipeline.dead_letter_queue import RedriveDeadLetter


def send_at(
    timetable: Mapping[float, Any] | Iterable[tuple[float, Any]],
    answers: Iterable[Outcome] | Callable[[Try], Any] = (),
    latency: float | Callable[[Try], float] = 0.0,
    *,
    opens: Callable[[World], Any] | None = None,
    run: Callable[..., World] = on_both_clocks,
    until: float = 86_400.0,
    seed: int = 0,
    start: datetime = START,
    **settings: Any,
) -> World:
    """Run a pipeline that is sent commands at their instants, and return its world.

    Args:
        timetable: instants in seconds, each with a command, with commands, or with a function of the world to call.
        answers: those of the `Scripted` provider of all channels.
        latency: that of this provider, in seconds.
        opens: opens the pipeline, if it has other providers.
        run: runs it, on one clock or both.
        until: the end of the run, in seconds.
        seed: the seed of the run.
        start: the start of the run.
        settings: the other arguments of `World.open`.
    """

    def scenario(world: World) -> None:
        if opens is None:
            world.open(Scripted(answers, latency), **settings)
        else:
            opens(world)
        for at, what in timetable.items() if isinstance(timetable, Mapping) else timetable:
            if callable(what):
                world.at(at, what, world)
            else:
                world.send(*([what] if isinstance(what, SendNotification) else what), at=at)

    return run(scenario, until=until, seed=seed, start=start)


def numbered(count: int, name: str = "n", **fields: Any) -> list[SendNotification]:
    """Return commands whose ids are a name and a number from 0 on."""
    return [email(f"{name}{number}", **fields) for number in range(count)]


def redrive(notification_id: str, **order: Any) -> Callable[[World], None]:
    """Return a step of a timetable that orders a redrive."""
    message = RedriveDeadLetter(notification_id=notification_id, **order)
    return lambda world: world.ask(world.pipeline.dead_letter_queue, message)


def operate(order: Any, **fields: Any) -> Callable[[World], None]:
    """Return a step of a timetable that is an operator's order to the breaker of the first channel."""
    message = OperateBreaker(order=order, **fields)
    return lambda world: world.ask(next(iter(world.pipeline.wiring.stages.values())).circuit_breaker, message)


def crash(*actors: str) -> Callable[[World], None]:
    """Return a step of a timetable that crashes actors of the pipeline; the stages are those of the first channel."""

    def step(world: World) -> None:
        pipeline, stages = world.pipeline, next(iter(world.pipeline.wiring.stages.values()))
        refs = {
            "handler": pipeline.handler,
            "limiter": stages.rate_limiter,
            "breaker": stages.circuit_breaker,
            "channel": stages.channels[0],
            "queue": pipeline.dead_letter_queue,
            "alert": pipeline.alert,
        }
        for name in actors:
            world.system.crash(refs[name], RuntimeError("injected crash"))

    return step
