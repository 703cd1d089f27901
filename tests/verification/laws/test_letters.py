"""What has to come: histories in which it does not, or at another time, and some near them in which it does."""

from histories import EMAIL, at, breach_of, check_breach, crashed, dead, redriven, requested

from actors.messages import DeadLetterDiscarded
from actors.settings.channel import ChannelConfig, DeadLettersConfig
from simulation.invariants import Context

# ── fallbacks ───────────────────────────────────────────────────────────────────────────────────────────────────


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────────────────


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────────


# ── retention ───────────────────────────────────────────────────────────────────────────────────────────────────


def discarded(seconds, id="n", reason="retention"):
    return DeadLetterDiscarded(**at(seconds), notification_id=id, channel=EMAIL, reason=reason)


def keeping(**bounds):
    return Context({EMAIL: ChannelConfig()}, dead_letters=DeadLettersConfig.model_validate(bounds))


def test_a_letter_is_discarded_when_its_retention_ends():
    kept = [requested(0), dead(1)]
    assert breach_of("retention", [*kept, discarded(61)], keeping(keep=60), end=100) is None
    check_breach("retention", [*kept, discarded(60)], "after 59 s (dead_letters.keep = 1m)", keeping(keep=60))
    check_breach("retention", [*kept, requested(62, "b")], "was to be discarded at 61 s", keeping(keep=60))
    check_breach("retention", kept, "n is a dead letter still", keeping(keep=60), end=62)
    assert breach_of("retention", [*kept, redriven(30), dead(40, "n")], keeping(keep=60), end=99) is None
    down = [*kept, crashed(60, "DeadLetterQueue"), requested(65, "b")]
    assert breach_of("retention", [*down, discarded(70)], keeping(keep=60), end=100) is None
    check_breach("retention", [*down, requested(71, "c")], "was to be discarded at 61 s", keeping(keep=60))


def test_the_oldest_letter_goes_when_there_are_too_many():
    three = [event for id in "abc" for event in (requested(0, id), dead(1, id))]
    assert breach_of("retention", [*three, discarded(1, "a", "full")], keeping(at_most=2), end=9) is None
    check_breach("retention", [*three, discarded(1, "b", "full")], "and a is older", keeping(at_most=2))
    check_breach("retention", [*three, discarded(1, "a", "full")], "and there are 3", keeping(at_most=3))
    check_breach(
        "retention", [*three, requested(2, "d")], "there are 3 dead letters, and too many since 1 s", keeping(at_most=2)
    )


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────
