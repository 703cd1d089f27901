"""A notifier that is called at random: all that it answers agrees with the recording, and the run with the model."""

import logging

import msgspec
import pytest
from drawn_calls import drawn_program
from effort import sliced
from random_callers import carry_out, difference, main

from actors.kernel.actor import handles
from actors.pipeline.event_bus import PendingAnswers
from actors.pipeline.handler import Handler
from actors.pipeline.orders import Redrive
from actors.service.operations import queries


@pytest.fixture(autouse=True)
def _log_nothing():
    """Log nothing: of each dead letter there would be a line."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", sliced([0, 8, 16, 24], 8))
def test_a_program_gets_answers_that_agree_with_the_recording(first):
    assert sum(carry_out(drawn_program(seed)) for seed in range(first, first + 8)) > 50


def test_a_program_whose_store_is_a_file_goes_on_when_that_is_opened_again():
    assert sum(carry_out(drawn_program(seed, is_on_disk=True)) for seed in range(3)) > 100


def test_an_id_that_comes_again_as_its_letter_is_redriven_leaves_that_its_room():
    assert difference(drawn_program(218)) is None


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2000, 200))
def test_many_programs(first):
    assert main(["--seeds", f"{first}:{first + 200}"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 400, 100))
def test_many_programs_on_disk(first):
    assert main(["--seeds", f"{first}:{first + 100}", "--on-disk"]) == 0


# ── a mistake ───────────────────────────────────────────────────────────────────────────────────────────────────


def first_difference(seeds=40):
    return next(filter(None, (difference(drawn_program(seed)) for seed in range(seeds))), "")


def test_a_page_that_leaves_one_out_is_found(monkeypatch):
    right = queries.slices

    def slices(*arguments, **named):
        first, *others = [*right(*arguments, **named)] or [[]]
        return [first[1:], *others]

    monkeypatch.setattr(queries, "slices", slices)
    assert "pages of" in first_difference()


def test_a_redrive_that_loses_its_reason_is_found(monkeypatch):
    right = Handler.on_redrive

    def on_redrive(self, redrive):
        right(self, msgspec.structs.replace(redrive, why=None))

    monkeypatch.setattr(Handler, "on_redrive", handles(Redrive)(on_redrive))
    assert "why should be asked for, not None" in first_difference()


def test_a_caller_that_waits_for_ever_is_found(monkeypatch):
    monkeypatch.setattr(PendingAnswers, "end", lambda self: None)
    assert first_difference() == "a caller waits for ever"
