"""The linter on a quota behind a limit of each user: what the limit holds or drops does not wait for the quota."""

import textwrap

import pytest
from effort import sliced

import simulation
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

LIMITED = """
    duration: 1m
    {more}workload: [{{channel: sms, users: {users}, arrivals: {{constant: 50/s}}}}]
    channels: {{sms: {{rate_limit: {{{limit}}}, quota: {{rate: {quota}}}}}}}
    """


def found_in(**given: object) -> list[str]:
    text = textwrap.dedent(LIMITED.format(**{"more": "", "quota": "10/s", **given}))
    return [str(finding) for finding in lint_scenario(parse(text))]


@pytest.mark.parametrize(
    ("users", "limit"),
    [
        (5, "max_per_minute: 100, on_limit: drop"),
        (5, "max_per_minute: 100"),
        (5, "rate: 90/min, kind: token_bucket, burst: 10"),
        ("{count: 5, zipf: 1.5}", "max_per_minute: 100"),
    ],
)
def test_a_quota_that_limits_keep_free_has_no_finding(users, limit):
    assert [text for text in found_in(users=users, limit=limit) if ".quota" in text] == []


def test_a_quota_is_compared_with_what_limits_let_through():
    (quota,) = [text for text in found_in(users=20, limit="max_per_minute: 60") if ".quota" in text]
    assert quota.endswith("10/s is below the 20/s (behind rate_limit) that arrive: the queue grows by 600 a minute")
    assert any("50/s that arrive" in text for text in found_in(users=6_000, limit="max_per_minute: 60"))


@pytest.mark.parametrize(
    ("users", "limit", "quota"),
    sliced(
        [
            (5, "max_per_minute: 100", "10/s"),
            (20, "max_per_minute: 60", "10/s"),
            (20, "max_per_minute: 60, on_limit: drop", "10/s"),
            ("{count: 40, zipf: 1.2}", "rate: 20/min, kind: token_bucket", "2/s"),
            (30, "rate: 20/min, kind: leaky_bucket", "5/s"),
            (6_000, "max_per_minute: 60", "10/s"),
        ],
        6,
    ),
)
def test_as_many_wait_as_it_says_where_a_limit_of_users_comes_before_the_quota(users, limit, quota):
    given = {"users": users, "limit": limit, "quota": quota}
    (found,) = [text for text in found_in(more="max_pending: 150\n    ", **given) if "would wait" in text]
    told = int(found.split("up to ")[1].split(" ")[0].replace(",", ""))
    waiting = simulation.run(parse(textwrap.dedent(LIMITED.format(more="", **given)))).summary["peaks"]["waiting"]
    at_limit, at_quota = waiting["limit"], waiting["quota"]
    assert found.startswith(f"channels.sms.{'rate_limit' if at_limit > at_quota else 'quota'}: ")
    # The peaks at the two need not be at one instant.
    assert 0.9 * max(at_limit, at_quota) <= told <= 1.1 * (at_limit + at_quota)
