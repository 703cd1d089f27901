"""Each attempt: it sets out and ends in time, and fares as its provider's settings say."""

from __future__ import annotations

from functools import partial

from actors.formatting import seconds_text
from actors.instants import ns, wait_ns
from actors.messages import NotificationFailed, NotificationSent, Priority, UpstreamRequested
from actors.outcomes import Outcome
from actors.settings.channel import PRIMARY
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.observations import AttemptMade, Key
from simulation.verification.model.instants import NEVER_NS
from simulation.verification.model.providers import Fate, Quota, SimulatedProvider
from simulation.verification.model.upstreams import Agenda, Request, Upstream, unheard
from simulation.verification.model.world import World


class InTime(Invariant):
    """Nothing sets out before what it is scheduled for, no retry before its time, and none of them after the
    notification has expired; no attempt outlasts its timeout, and what waits for its retry has no outcome meanwhile.

    Until all is settled after a crash, an answer in a mailbox comes late; and where the wall clock steps, the store is
    read by the calendar, so that a notification from before a crash expires earlier or later by that.
    """

    name = "in-time"
    needs_order = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._timeouts_ns = {key: ns(config.timeout) for key, config in context.providers.items()}

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        lifecycle = self.context.lifecycles.get(made.notification_id)
        if lifecycle is None:
            return None
        if made.at_ns < lifecycle.fresh_since_ns and not self.context.steps_the_clock:
            return f"{made.notification_id} is sent before {seconds_text(lifecycle.fresh_since_ns)}, its not_before"
        if lifecycle.latest_failure is not None and made.attempt.number == lifecycle.used_up + 1:
            due_ns = lifecycle.latest_failure.next_retry_at_ns
            if due_ns is not None and made.at_ns < due_ns and not self.context.is_by_the_calendar(lifecycle):
                return f"{made.notification_id} is tried again before {seconds_text(due_ns)}, when it was to be"
        expires_after = made.attempt.command.expires_after
        if expires_after is None or made.is_copy or self.context.is_by_the_calendar(lifecycle):
            return None
        expires_ns = lifecycle.fresh_since_ns + wait_ns(expires_after)
        if made.at_ns <= expires_ns:
            return None
        return f"{made.notification_id} is sent after {seconds_text(expires_ns)}, when it has expired"

    @observes(NotificationSent, NotificationFailed)
    def on_outcome(self, event: NotificationSent | NotificationFailed) -> Objection:
        lifecycle = self.context.lifecycles.get(event.notification_id)
        if lifecycle is None:
            return None
        if lifecycle.latest_failure is not None and not self.context.steps_the_clock:
            due_ns = lifecycle.latest_failure.next_retry_at_ns
            if due_ns is not None and event.at_ns < due_ns:
                return f"{event.notification_id} has an outcome while it waits for its retry at {seconds_text(due_ns)}"
        timeout_ns = self._timeouts_ns.get((event.channel, event.provider or PRIMARY))
        took_ns = event.at_ns - event.started_ns
        if timeout_ns is not None and took_ns > timeout_ns and self.context.lifecycles.is_settled(event.at_ns):
            text = f"an attempt of {event.notification_id} takes {seconds_text(took_ns)}, beyond its timeout"
            return Finding(text, event.notification_id, ("timeout",))
        return None


class Fenced(Invariant):
    """A node that does not reach the store starts no attempt when nine tenths of `takeover_after` have passed, since
    others may take over what it has."""

    name = "fenced"

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.has_partitions and super().applies(context)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        partition = None if made.node is None else self.context.partition_at(made.node, made.at_ns)
        if partition is None:
            return None
        until_ns = partition[0] + self.context.takeover_after_ns * 9 // 10
        if made.at_ns <= until_ns:
            return None
        since = seconds_text(partition[0])
        return (
            f"{made.notification_id} is sent by node {made.node}, which has not reached the store since {since} "
            f"and may have sent until {seconds_text(until_ns)}"
        )


class Fates(Invariant):
    """Each attempt fares at its simulated provider as that one's settings and the faults say, with the same draws.

    Of a provider with a discipline of its own it is known how an attempt ends, and not when. What one asks behind its
    API is known request by request, in the usual order of turns. Where providers follow failure rules nothing is.
    """

    name = "fates"
    settings = ("provider",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.world is not None
        self._providers, self._upstreams = _providers_of(context.world)
        self._promised: list[tuple[AttemptMade, Fate]] = []
        self._wrong: Objection = None
        """About an answer that was not what comes of the requests behind a provider."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        return context.world is not None and context.world.simulates_providers and not context.has_rules

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        provider = self._providers[made.channel, made.provider]
        command = made.attempt.command
        is_critical = command.priority is Priority.CRITICAL
        fate = provider.judge(command.recipient, made.node, made.at_ns, user=command.user_id, is_critical=is_critical)
        if made.is_promised:
            if fate.takes_ns is not None:
                return _objection(made, fate, "it has promised an answer")
            if fate.is_known:
                self._promised.append((made, fate))
            elif (made.channel, made.provider) in self._upstreams:
                return self._ask(self._upstreams[made.channel, made.provider], made, fate)
            return None
        if made.outcome is None or made.foreseen_ns is None:
            return _objection(made, fate, "there is no answer to be seen")
        is_answered = made.foreseen_ns < NEVER_NS
        if (made.outcome if is_answered else None) != fate.outcome:
            return _objection(
                made, fate, f"it is answered with {made.outcome}" if is_answered else "it is not answered"
            )
        if fate.takes_ns not in (None, made.foreseen_ns):
            return _objection(made, fate, f"it takes {seconds_text(made.foreseen_ns)}")
        if made.delivered != fate.delivers:
            return _objection(made, fate, "it is delivered" if made.delivered else "it is not delivered")
        return None

    def _ask(self, upstream: Upstream, made: AttemptMade, fate: Fate) -> Objection:
        objection = self._go_on(upstream.agenda, made.at_ns)
        called = made.provider if len(self.context.channels[made.channel].by_provider()) > 1 else None
        first = Request(made.notification_id, made.channel, called, made.node, made.attempt.number)
        asks_ns, answer = NEVER_NS, unheard
        if fate.asks_ns is not None:  # else it is not known either for which of several copies it is asked
            asks_ns = made.at_ns + fate.asks_ns
            answer = partial(self._answered, made, upstream.agenda, fate.outcome is None)
        upstream.ask(first, made.attempt.command.recipient, asks_ns, answer)
        return objection

    @observes(UpstreamRequested)
    def on_request(self, event: UpstreamRequested) -> Objection:
        upstream = self._upstreams.get((event.channel, event.provider or PRIMARY))
        if upstream is None:
            return None
        objection = self._go_on(upstream.agenda, event.at_ns)
        of_what = event.notification_id, event.channel, event.provider, event.node, event.attempt
        request = Request(*of_what, event.layer, event.number)
        if objection is None and not upstream.agenda.see(request, event.at_ns):
            return f"{request} is made now, and it is not its time"
        return objection

    def _go_on(self, agenda: Agenda, now_ns: int) -> Objection:
        missed = agenda.go_on_until(now_ns)
        if missed is not None:
            return Finding(f"{missed} is due at {seconds_text(agenda.now_ns)}, and it is not made", missed[0])
        return self._wrong

    def _answered(self, made: AttemptMade, agenda: Agenda, is_lost: bool, outcome: Outcome) -> None:
        heard = None if is_lost else outcome
        agenda.at(agenda.now_ns + 1, partial(self._compare, made, heard, agenda.now_ns))  # when that instant is over

    def _compare(self, made: AttemptMade, heard: Outcome | None, now_ns: int) -> None:
        is_in_time = heard is not None and now_ns < made.ends_at_ns  # at that instant it is open whose time is up first
        if (made.outcome, made.ends_at_ns) != (heard, now_ns) if made.answered else is_in_time:
            fate = Fate(heard, now_ns - made.at_ns, False, "so what is behind it has answered")
            said = f"it is answered with {made.outcome if made.answered else 'nothing'}"
            self._wrong = Finding(_objection(made, fate, said), made.notification_id)

    def at_end(self, now_ns: int) -> Objection:
        for made, fate in self._promised:
            if made.answered and made.outcome != fate.outcome:
                return _objection(made, fate, f"it is answered with {made.outcome}")
        for upstream in self._upstreams.values():
            self._wrong = self._go_on(upstream.agenda, now_ns)
        return self._wrong


def _objection(made: AttemptMade, fate: Fate, what: str) -> str:
    takes = "" if fate.takes_ns in (None, NEVER_NS) else f" after {seconds_text(fate.takes_ns or 0)}"
    wanted = "no answer" if fate.outcome is None else f"{fate.outcome}{takes}"
    return (
        f"of attempt {made.attempt.number} of {made.notification_id} at {made.provider} {what}, and wanted is "
        f"{wanted}{', and it is delivered' if fate.delivers else ''}: {fate.why}"
    )


def _providers_of(world: World) -> tuple[dict[Key, SimulatedProvider], dict[Key, Upstream]]:
    """Return the providers, and those behind them where turns are taken as usual."""
    accounts = {name: Quota(own.throttle) for name, own in world.accounts.items() if own.throttle is not None}
    providers, upstreams = {}, {}
    for channel, of_channel in world.channels.items():
        for name, lane in of_channel.by_provider().items():
            config, key = lane.provider, (channel, name)
            faults = [each for each in world.faults if channel in each.channel and each.provider in (None, name)]
            own = [fault for fault in faults if not fault.upstream]
            stream = f"{channel}.provider" if name == PRIMARY else f"{channel}.{name}.provider"
            providers[key] = SimulatedProvider(config, own, world.seed, stream, accounts.get(config.account or ""))
            if config.upstream is not None and world.schedule is None:
                upstreams[key] = Upstream(config.upstream, faults, world.seed, stream)
    return providers, upstreams
