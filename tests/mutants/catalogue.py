"""All mutants, by what they are planted in."""

from __future__ import annotations

import mutants_found_later
import mutants_of_a_fifth_stranger
import mutants_of_a_fourth_stranger
import mutants_of_a_second_stranger
import mutants_of_a_seventh_stranger
import mutants_of_a_sixth_stranger
import mutants_of_a_stranger
import mutants_of_a_third_stranger
import mutants_of_breakers
import mutants_of_drawn_settings
import mutants_of_later_batches
import mutants_of_limits
import mutants_of_obligations
import mutants_of_order
import mutants_of_retries
import mutants_of_the_books
import mutants_of_times
from mutant import Mutant
from mutants_of_a_stranger import Stranger, by_area

MUTANTS: tuple[Mutant, ...] = (
    *mutants_of_retries.MUTANTS,
    *mutants_of_breakers.MUTANTS,
    *mutants_of_limits.MUTANTS,
    *mutants_of_order.MUTANTS,
    *mutants_of_times.MUTANTS,
    *mutants_of_the_books.MUTANTS,
    *mutants_found_later.MUTANTS,
    *mutants_of_later_batches.MUTANTS,
    *mutants_of_drawn_settings.MUTANTS,
    *mutants_of_obligations.MUTANTS,
)

STRANGERS: tuple[dict[str, tuple[Stranger, ...]], ...] = tuple(
    by_area(mistakes)
    for mistakes in (
        mutants_of_a_stranger,
        mutants_of_a_second_stranger,
        mutants_of_a_third_stranger,
        mutants_of_a_fourth_stranger,
        mutants_of_a_fifth_stranger,
        mutants_of_a_sixth_stranger,
        mutants_of_a_seventh_stranger,
    )
)
"""The mistakes of those who have not seen what is to find them: of each stranger by area, and no part of the others."""
