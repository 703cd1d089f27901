"""Mistakes about who goes first, and about whom there is no room for."""

from __future__ import annotations

from mutant import mutant

POLICY = "actors/policies/order.py"
LANE = "actors/pipeline/lane.py"
TURNS = "actors/pipeline/turns.py"
KEYED_LINES = "actors/pipeline/keyed_lines.py"
ADMISSION = "actors/policies/admission.py"
ON_THEIR_WAY = "actors/pipeline/on_their_way.py"

MUTANTS = (
    mutant(
        "no-classes-where-keys-take-turns",
        POLICY,
        "Fairness is put in the place of classes, and not within them.",
        ("return (RANKS[command.priority], self.key_of(command))", "return (0, self.key_of(command))"),
        expected="class-order",
    ),
    mutant(
        "the-latest-first-within-a-class",
        "actors/pipeline/waiting_line.py",
        "The line is taken for a stack.",
        ("        attempt = self._attempts[self._head]\n", "        *_, (_, attempt) = self.items()\n"),
        (
            "        index = self._head\n",
            "        *_, (place, _) = self.items()\n        index = self._places.index(place)\n",
        ),
        expected="class-order",
    ),
    mutant(
        "newcomers-pass-those-that-wait",
        TURNS,
        "Room that there is by now goes to whoever asks for it first.",
        ("        return bool(self) and not order.is_before_all(rank, self._turns)\n", "        return False\n"),
        expected="class-order",
    ),
    mutant(
        "credit-never-spent",
        POLICY,
        "A class keeps its turn while it has any that wait.",
        ("max(0.0, self._credits[rank] - 1.0)", "max(0.0, self._credits[rank])"),
        expected="class-shares",
    ),
    mutant(
        "all-weights-the-same",
        POLICY,
        "The classes take turns, whatever their weights.",
        ("                credit[rank] += quanta[rank]\n", "                credit[rank] += min(quanta)\n"),
        expected="class-shares",
    ),
    mutant(
        "credit-kept-for-idle-classes",
        POLICY,
        "A class that had nothing to send gets its turns later, all at once.",
        ("            if self.classes[rank]:\n                credit", "            if True:\n                credit"),
        ("        if not keys:\n            self._credits[flow[0]] = 0.0\n", ""),
        ("                credit[rank] = 0.0\n", "                pass\n"),
        expected="class-shares",
    ),
    mutant(
        "a-key-keeps-its-turn",
        POLICY,
        "Whoever has had a turn is still the first of its class.",
        ("            keys.move_to_end(flow[1])\n", "            keys.move_to_end(flow[1], last=False)\n"),
        expected="fair-turns",
    ),
    mutant(
        "half-of-the-slots-for-one",
        LANE,
        "A share is a half.",
        ("max(1, slots // 4)", "max(1, slots // 2)"),
        expected="fair-turns",
    ),
    mutant(
        "more-than-a-quarter-beside-others",
        LANE,
        "While there are slots to spare, no one has to leave any.",
        (" or others_wait(key)", ""),
        expected="fair-turns",
    ),
    mutant(
        "slots-of-a-key-never-given-back",
        LANE,
        "What a key holds is counted when it goes, and not when it ends.",
        ("        held[key] -= 1\n", "        held[key] -= 0\n"),
        expected="fair-turns",
    ),
    mutant(
        "users-limits-in-weighted-order",
        KEYED_LINES,
        "The order of the channel is for the line before its providers.",
        (
            "Order(config.order, config.fair_by)",
            'Order(config.order.model_copy(update={"kind": "weighted", "aging": None}), config.fair_by)',
        ),
        expected="limit-order",
    ),
    mutant(
        "a-tenant-with-one-more",
        ON_THEIR_WAY,
        "A bound of three is full with the fourth.",
        ("self.count(tenant) >= self._max", "self.count(tenant) > self._max"),
        expected="tenant-bounds",
    ),
    mutant(
        "bulk-refused-too-early",
        ADMISSION,
        "Bulk gets two thirds of the room.",
        ("Priority.BULK: 5", "Priority.BULK: 3"),
        expected="refusals",
    ),
    mutant(
        "room-for-bulk-as-for-all",
        ADMISSION,
        "The room is asked for, and not the class.",
        ("pending < self._bounds.get(priority, math.inf)", "pending < self._bounds.get(Priority.NORMAL, math.inf)"),
        expected="refusals",
    ),
)
