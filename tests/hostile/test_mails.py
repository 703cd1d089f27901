"""The mails by name that once kept the loop for seconds, or for a minute: within the bounds of all input."""

import pytest
from bounds import Bounds, Kind, hold
from effort import sliced
from kind_mails import ATTACKS, feed

QUICK = Bounds(steps=300_000, cpu_s=1.0, memory=10**7)
SHORT = (
    "400-levels",
    "970-levels",
    "250000-parameters",
    "empty-groups-of-fields",
    "100000-rfc-2231-parts",
    "semicolons",
)


@pytest.mark.parametrize(
    "name", sliced([pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in ATTACKS], 4, 1)
)
def test_a_mail_of_a_megabyte_is_read_in_a_short_piece(name: str):
    mail = ATTACKS[name]()
    for size in (2**16, len(mail)):  # what is within the bound takes little, and what is beyond it nothing
        hold(Kind("mails", lambda _, size=size: mail[:size], feed), 1, bounds=QUICK)
