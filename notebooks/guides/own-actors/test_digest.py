import pytest

import simulation


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_each_of_613_parcels_is_in_one_mail(runtime):
    mails = {}

    def see(attempt, now_ns, load):  # a failure rule that lets everything pass
        mails[attempt.command.notification_id] = attempt.command.message.split()

    result = simulation.run(
        "digest.yaml", code=True, runtime=runtime, rules={"email": [see]}, invariants="all"
    )
    parcels = [parcel for mail in mails.values() for parcel in mail]
    assert len(parcels) == len(set(parcels)) == 613 - result.summary["refused"]["down"]
