"""Mistakes about what is remembered, recorded, counted, and sent to others."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
JOURNAL = "actors/pipeline/journal.py"
MEMORY = "actors/storage/memory.py"
FIGURES = "simulation/results/tallies.py"

MUTANTS = (
    mutant(
        "check-then-act",
        "actors/pipeline/intake.py",
        "An id is known when it has ended, so that two that arrive together are both new.",
        (
            "        return delivery.known_as\n",
            "        return None\n",
        ),
        expected="legal-steps",
    ),
    mutant(
        "ids-remembered-for-ever",
        "actors/domain/remembered_ids.py",
        "Ids are not taken out again.",
        ("        while ended_ns and ended_ns[0] <= oldest_ns:\n", "        while False:\n"),
        expected="ids",
    ),
    mutant(
        "ids-forgotten-at-once",
        MEMORY,
        "The id of a dead letter is not remembered, since it has not been sent.",
        (
            "            self.remembered.keep(entry.command)\n        elif kind is NotificationRedriven:\n",
            "        elif kind is NotificationRedriven:\n",
        ),
        expected="legal-steps",
    ),
    mutant(
        "sent-before-it-is-committed",
        JOURNAL,
        "The store takes its time, so the next step is made meanwhile; a crash in between forgets what was sent.",
        (
            "            self._handler.perform(effect, commit)\n",
            "            self._handler.perform(effect, commit)\n            if go_on is not None:\n"
            "                go_on(delivery)\n                commit.go_on = None\n",
        ),
        expected="nothing-after-the-end",
    ),
    mutant(
        "announced-before-it-is-recorded",
        JOURNAL,
        "Subscribers are notified as soon as it is known.",
        (
            "        self._record(event)\n        if kind in self._subscribed:\n            self._announce(event)\n",
            "        if kind in self._subscribed:\n            self._announce(event)\n        self._record(event)\n",
        ),
        expected="recorded-first",
    ),
    mutant(
        "raising-alert-requeues",
        HANDLER,
        "The admin is paged on the way to the queue, and if that fails all of it is done again.",
        (
            "            self._to_dead_letter_queue(letter)\n",
            "            try:\n"
            "                self._wiring.alert.actor._notify(reason)\n"
            "            except Exception:\n"
            "                self._deliveries[delivery.command.notification_id] = delivery\n"
            "                self._prepare(delivery)\n"
            "                return\n"
            "            self._to_dead_letter_queue(letter)\n",
        ),
        expected="nothing-after-the-end",
    ),
    mutant(
        "raising-subscriber-fails-the-actor",
        "actors/pipeline/event_bus.py",
        "Subscribers are trusted not to raise.",
        (
            "            for command in commands_of(self._function(call.event)):\n"
            "                self._submit(command, call)\n"
            "        except BaseException as error:\n",
            "            for command in commands_of(self._function(call.event)):\n"
            "                self._submit(command, call)\n"
            "        except ZeroDivisionError as error:\n",
        ),
        expected="no-errors",
    ),
    mutant(
        "counted-as-sent-when-dead-lettered",
        FIGURES,
        "Whatever has ended was sent.",
        (
            "        sent = self._count(NotificationSent)\n",
            "        sent = self._count(NotificationSent, NotificationMovedToDeadLetter)\n",
        ),
        expected="summary",
    ),
    mutant(
        "gauge-does-not-fall-on-redrive",
        "simulation/results/ledger.py",
        "The size of the queue is counted up, and down by what is discarded.",
        (
            "LEAVES_THE_QUEUE = (NotificationRedriven, DeadLetterDiscarded)",
            "LEAVES_THE_QUEUE = (DeadLetterDiscarded,)",
        ),
        expected="summary",
    ),
    mutant(
        "dead-letter-with-its-last-failure-only",
        "actors/domain/delivery.py",
        "The history of a dead letter is what it died of.",
        (
            "        history=() if failures is None else tuple(failures),\n",
            "        history=() if failures is None else tuple(failures[-1:]),\n",
        ),
        expected="dead-letters",
    ),
    mutant(
        "queue-empty-after-a-restart",
        "actors/pipeline/dead_letter_queue.py",
        "Dead letters come as messages, so a queue that starts again waits for them.",
        ("redrivers_of(self._wiring, self.letters)", "redrivers_of(self._wiring, ())"),
        expected="reference-model",
    ),
    mutant(
        "stale-answers-count",
        HANDLER,
        "Any answer about a notification is about its latest attempt.",
        (
            "        if delivery is None or delivery.current is not attempt:\n"
            "            return  # an answer to an attempt that is no longer under way\n",
            "        if delivery is None:\n            return\n",
        ),
        expected="answers",
    ),
    mutant(
        "ended-and-still-held",
        JOURNAL,
        "A notification that has ended is not taken out of the books of the handler.",
        ("            self._deliveries.pop(event.notification_id, None)\n", "            pass\n"),
        expected="conservation",
    ),
    mutant(
        "nothing-sent-anew-when-a-stage-restarts",
        HANDLER,
        "The stage will know what it was doing.",
        ("            if restarted.ref in stages.actors:\n", "            if False:\n"),
        expected="liveness",
    ),
)
