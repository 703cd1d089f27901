"""The table of the faults that may be drawn: each has a row, and each row makes faults that a scenario may have."""

from random import Random

from each_row import over_each

from actors.settings.faults import FAULT_KEYS, FLEET_FAULT_KEYS, FaultConfig
from simulation.verification.drawing.fault_kinds import KINDS, drawn_strength


def test_every_fault_of_one_process_has_a_row():
    assert {key for kind in KINDS for key in drawn_strength(kind, Random(1))} >= set(FAULT_KEYS) - FLEET_FAULT_KEYS


@over_each(KINDS)
def test_what_is_drawn_is_a_fault(kind):
    found = {repr(drawn_strength(kind, Random(seed))) for seed in range(50)}
    assert len(found) > 1 or kind in ("outage", "hang")
    for seed in range(50):
        FaultConfig.model_validate({"channel": "sms", **drawn_strength(kind, Random(seed))})
