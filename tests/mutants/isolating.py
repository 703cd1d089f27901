"""A ground of the hunt: cases of the swarm over a store that outlives their processes, which die a few times.

What had not ended when a process died is sent with care (:mod:`actors.pipeline.isolation`): so here it is held that an
attempt of it is marked, that a suspect is alone for as long as others wait for it, that they do so for its hold at
most, and that one is given up that has been counted too often. The reference model says nothing of that, so these cases
are not compared with it.

No message comes twice or late here, as none does wherever a store outlives its process: a copy of what the breaker has
let through reaches the provider a second time, and nobody counts that one.
"""

from collections.abc import Callable
from random import Random

from comparable import comparable
from reopening import Marks, runs_over, was_tried

from actors.domain.attempts import Attempt, Forgo
from actors.domain.caution import Caution
from actors.instants import ns
from actors.kernel.effects import Foreseen
from actors.messages import (
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    SendNotification,
)
from actors.settings.distributions import Distribution
from actors.settings.faults import FaultConfig
from actors.storage.lossy import LossyStore
from simulation.engine.message_faults import is_message_fault
from simulation.invariants import KNOWN, AttemptMade, MessageSent, observes
from simulation.scenario import Scenario
from simulation.verification.drawing.numbers import log_uniform, rounded
from simulation.verification.exploring.trial import Trial, attempt
from simulation.verification.laws.observations import let_through_in

HOLD_S, PAUSE_S, DEATHS_MAX = 2.0, 10.0, 3
"""For how long others wait for a suspect at first, how long one waits that has been counted, and how often it may be:
as the specification has it."""

MARKS_TAKE_S = 0.03
"""In every third case a mark is durable so much later."""

_LATE = ("in-time", "wanted")
"""Laws that what has its turn may break while it is being marked."""

_LEFT_OUT = ("reference-model", "resume-pace")
"""Laws that know nothing of isolation: what has waited for a suspect goes at once behind it, whatever the pace."""


def isolated(case: Scenario, seed: int) -> Trial:
    """Run a case whose processes die, over a store that outlives them; return the outcome."""
    case = _dying(comparable(case), Random(seed))
    takes_ns = 0 if seed % 3 else ns(MARKS_TAKE_S)
    store = _Store(commit_delay_ns=0, remember_ids_ns=ns(case.remember_ids), marks_take_ns=takes_ns)
    named = (*_LEFT_OUT, *(_LATE if takes_ns else ()))
    left_out = {law for name, law in KNOWN.items() if name in named}  # a hunt may go without some of them
    laws = [law for law in KNOWN.values() if law not in left_out]
    with runs_over(store):
        return attempt(case, invariants=[*laws, store.care_is_taken, store.others_go_on])


def _dying(case: Scenario, random: Random) -> Scenario:
    """Return a case whose process dies a few times while attempts are under way, and in which no actor does alone; in
    half of them each time when what has been counted is tried again, and takes long."""
    faults = [
        fault
        for fault in case.faults
        if fault.crash is None and fault.clock_step is None and not is_message_fault(fault)
    ]
    is_aimed = random.random() < 0.5
    at = rounded(random.uniform(0.0, case.duration))
    for number in range(random.randint(2, 9)):
        crash = {"channel": "email", "at": round(at, 9), "crash": "process", "restart_after": random.choice([0.0, 1.0])}
        faults.append(FaultConfig.model_validate(crash))
        pause = PAUSE_S * max(0, number - 1) if is_aimed else random.choice([0.0, PAUSE_S])
        at += pause + log_uniform(random, 0.1, 3.0) + crash["restart_after"]
    changes = {}
    for channel in case.channels_used:
        config, mean = case.channel_as_given(channel), 300.0 if is_aimed else log_uniform(random, 0.1, 20.0)
        latency = Distribution.model_validate({"exponential": {"mean": mean}})
        provider = config.provider.model_copy(update={"latency": latency})
        timeout = 600.0 if is_aimed else max(config.timeout, random.choice([1.0, 30.0]))
        own = {"provider": provider, "timeout": timeout, **({"max_in_flight": 1} if is_aimed else {})}
        changes[channel.value] = config.model_copy(update=own)
    workload = (random.choice(case.workload),) if is_aimed else case.workload  # else others have their turns meanwhile
    return case.model_copy(
        update={
            "faults": tuple(faults),
            "channels": case.channels.model_copy(update=changes),
            "workload": workload,
            "commit_latency": 0.0,
        }
    )


class _Store(LossyStore):
    """Keeps marks, as a store on disk does; and looks whether care is taken."""

    outlives_process = True

    def __init__(self, *, commit_delay_ns: int, remember_ids_ns: int, marks_take_ns: int = 0) -> None:
        super().__init__(commit_delay_ns=commit_delay_ns, remember_ids_ns=remember_ids_ns)
        self._marks_take_ns = marks_take_ns
        self._written = Foreseen(marks_take_ns, None) if marks_take_ns else None
        self._marks = Marks()
        self._happened: list[NotificationEvent] = []
        """What has happened in this process."""
        self._born_ns = 0
        self._careful: dict[str, Caution] = {}
        """What this process has to be careful with, until something has happened to it."""
        self._made: dict[str, AttemptMade] = {}
        """The latest attempt of each notification, which says when it ends as soon as that is known."""
        self._alone: tuple[str, int] | None = None
        """The suspect that is alone, and since when; -1: it has not begun."""
        self._lets_go = False
        """Whether it is said to be alone no longer."""
        self._waiting: dict[int, tuple[Attempt, int]] = {}
        """What breakers have let through, and when, and has not begun; by identity."""
        self._held_ns = 0
        """Until when a suspect was alone, or waited to be."""
        self._wrong: str | None = None

    # ── what the pipeline asks for ──────────────────────────────────────────────────────────────────────────────

    def commit(self, event: NotificationEvent, command: SendNotification) -> None:  # type: ignore[override]
        notification_id = event.notification_id
        self._look(event.at_ns)
        if not isinstance(event, NotificationRequested):
            self._happened.append(event)
            caution = self._careful.get(notification_id)
            if was_tried(event):
                self._careful.pop(notification_id, None)
                self._made.pop(notification_id, None)
                if self._alone is not None and self._alone[0] == notification_id:
                    self._alone = None
            if caution is not None and caution.deaths >= DEATHS_MAX:
                is_given_up = isinstance(event, NotificationMovedToDeadLetter)
                self._check(is_given_up, f"{notification_id} has ended {caution.deaths} processes, and is not given up")
        super().commit(event, command)
        self._settle(event.at_ns)  # it is durable at once

    def mark(self, notification_id: str, *, alone: bool) -> Foreseen | None:
        caution = self._careful.get(notification_id)
        self._check(caution is not None, f"{notification_id} is marked, of which nothing is known")
        assert caution is not None
        self._check(alone == (caution.suspicions > 0), f"{notification_id}, {caution}, is marked with alone: {alone}")
        self._marks.mark(notification_id, alone=alone)
        if alone:
            self._alone, self._lets_go = (notification_id, -1), False
        return self._written

    def mark_as_not_alone(self, notification_id: str) -> Foreseen | None:
        caution = self._careful.get(notification_id)
        if caution is None:
            return None
        self._marks.mark(notification_id, alone=False)
        if self._alone is not None and self._alone[0] == notification_id:
            self._lets_go = True
        return self._written

    def crash(self, now_ns: int, is_recorded: Callable[[NotificationEvent], bool] = lambda event: False) -> int:
        lost = super().crash(now_ns, is_recorded)
        for event in self._happened:
            self._marks.take_away(event)
        self._marks.open(list(self.open_ids()), has_died=True)
        self.cautions = dict(self._marks.known)
        self._careful, self._born_ns = dict(self.cautions), now_ns + 1
        self._happened, self._made, self._alone, self._waiting = [], {}, None, {}
        return lost

    # ── what has to hold ────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, holds: bool, text: str) -> None:
        if not holds and self._wrong is None:
            self._wrong = text

    def _hold_ns(self, suspect: str) -> int:
        return ns(HOLD_S * 4.0 ** (self._careful[suspect].suspicions - 1))

    def _look(self, now_ns: int) -> None:
        """Look whether a suspect is alone for no longer than its hold, and whether none waits once no suspect is alone,
        or waits to be."""
        if self._alone is not None and self._alone[1] >= 0:
            suspect, since_ns = self._alone
            made, over_ns = self._made[suspect], since_ns + self._hold_ns(suspect)
            has_ended = made.is_copy or made.ends_at_ns <= over_ns  # of several copies any may have ended it
            self._check(self._lets_go or has_ended or now_ns <= over_ns, f"others wait too long for {suspect}")
            if self._lets_go and now_ns > over_ns + self._marks_take_ns:
                self._alone, self._held_ns = None, over_ns + self._marks_take_ns
        if self._alone is not None or any(_is_suspect(each) for each, _ in self._waiting.values()):
            self._held_ns = now_ns
        for each, since_ns in self._waiting.values():
            goes_ns = max(since_ns, self._held_ns) + self._marks_take_ns
            self._check(now_ns <= goes_ns, f"{each.command.notification_id} waits, and no suspect is or will be alone")

    @observes(MessageSent)
    def others_go_on(self, sent: MessageSent) -> str | None:
        """Return what is wrong with those that wait."""
        self._look(sent.at_ns)
        if (admitted := let_through_in(sent)) is not None:
            self._waiting[id(admitted.attempt)] = admitted.attempt, sent.at_ns
        elif isinstance(sent.message, Forgo):
            self._waiting.pop(id(sent.message.admitted.attempt), None)
        return self._wrong

    @observes(AttemptMade)
    def care_is_taken(self, made: AttemptMade) -> str | None:
        """Return what is wrong with an attempt, or has been with what came before it."""
        notification_id, now_ns = made.notification_id, made.at_ns
        caution = self._careful.get(notification_id)
        self._look(now_ns)
        self._waiting.pop(id(made.attempt), None)
        if self._alone is not None:
            suspect, since_ns = self._alone
            if notification_id == suspect and since_ns < 0:
                self._alone = suspect, now_ns
                others = [each for each, other in self._made.items() if other.ends_at_ns > now_ns and each != suspect]
                self._check(not others, f"{suspect} is to be alone, and {others} are under way")
            elif notification_id != suspect:
                over_ns = since_ns + self._hold_ns(suspect) + self._marks_take_ns
                is_over = suspect not in self._made or now_ns >= min(self._made[suspect].ends_at_ns, over_ns)
                self._check(is_over, f"{notification_id} is sent beside {suspect}, which is to be alone")
        self._made[notification_id] = made
        if caution is not None:
            is_marked = self._marks.written.get(notification_id, (False, False))[0]
            self._check(is_marked, f"{notification_id} is sent without a mark, of which {caution} is known")
            pause_ns = ns(PAUSE_S * caution.deaths)
            self._check(now_ns >= self._born_ns + pause_ns, f"{notification_id} is sent too early, after {caution}")
            self._check(caution.deaths < DEATHS_MAX, f"{notification_id} is sent once more, after {caution}")
        return self._wrong


def _is_suspect(attempt: Attempt) -> bool:
    return attempt.caution is not None and attempt.caution.suspicions > 0
