"""The benchmark of a world runs, and its sides make the same attempts."""

import httpx2
import pytest
import world


@pytest.mark.thorough
def test_each_side_makes_the_attempts_of_all_orders():
    assert {side(httpx2, 8) for side in world.SIDES.values()} == {8}
