"""Profiles, environment files and Config(retries=…) of botocore, with botocore itself as the judge of the waits."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

import botocore.session
import pytest
from botocore.config import Config
from botocore.endpoint import Endpoint
from botocore.exceptions import EndpointConnectionError
from botocore.retries.standard import ExponentialBackoff

from simulation.importing.policy import Mark, Policy
from tests.support.imported import marks, read, reason, starts

HEAD = "import boto3\nfrom botocore.config import Config\n"


def by_botocore(service: str, retries: dict[str, Any], share: float) -> list[float]:
    """Return when a call is sent that never reaches its service; each draw is this share of its range."""
    sleeps: list[float] = []
    with (
        mock.patch.object(ExponentialBackoff.__init__, "__defaults__", (20, lambda: share, None, None)),
        mock.patch("botocore.retryhandler.random.random", return_value=share or 1e-9),
        mock.patch("botocore.endpoint.time.sleep", sleeps.append),
        mock.patch.object(Endpoint, "_send", side_effect=EndpointConnectionError(endpoint_url="x")),
    ):
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
        client = botocore.session.Session().create_client(service, **keys, config=Config(retries=retries))
        with pytest.raises(EndpointConnectionError):
            client.list_tables() if service == "dynamodb" else client.list_topics()
    return list(itertools.accumulate(sleeps, initial=0.0))


@pytest.mark.parametrize(
    ("service", "retries"),
    [
        ("sns", {"max_attempts": 4}),
        ("sns", {"mode": "standard", "total_max_attempts": 3}),
        ("sns", {"mode": "legacy"}),
        ("dynamodb", {"mode": "standard"}),
        ("dynamodb", {"mode": "legacy", "max_attempts": 5}),
    ],
)
def test_starts_are_those_of_botocore(service: str, retries: dict[str, Any]) -> None:
    text = f"{HEAD}config = Config(retries={retries!r})\nboto3.client({service!r}, config=config)\n"
    (policy,) = read("aws", text, names=["a.py"]).values()
    earliest, latest = by_botocore(service, retries, 0.0), by_botocore(service, retries, 1.0)
    expected = list(zip(earliest, latest, strict=True))
    assert [tuple(each) for each in starts(policy)] == [pytest.approx(each, abs=1e-6) for each in expected]


def configured(retries: str, before: str = "", **arguments: Any) -> Policy:
    text = f"{HEAD}{before}config = Config(retries={retries})\n"
    (policy,) = read("aws", text, names=["a.py"], **arguments).values()
    return policy


@pytest.mark.parametrize(
    ("version", "retries", "expected"),
    [
        ("1.44.8", "{}", [0, 0.05, 0.15]),
        ("1.35.99", "{}", [0, 1, 3, 7, 15]),
        ("1.35.99", "{'mode': 'standard', 'max_attempts': 6}", [0, 1, 3, 7, 15, 31, 51]),
        ("1.44.8", "dict(total_max_attempts=TRIES + 1)", [0, 0.05]),
    ],
)
def test_attempts_by_version(version: str, retries: str, expected: list[float]) -> None:
    policy = configured(retries, "TRIES = 1\n", versions={"botocore": version})
    assert [late for _, late in starts(policy)] == [pytest.approx(each) for each in expected]


def test_retries_of_a_config_exclude_the_first_attempt_and_total_comes_before_them() -> None:
    policy = configured("{'max_attempts': 9, 'total_max_attempts': 2}")
    assert len(starts(policy)) == 2
    assert marks(policy)["max_attempts"] == (3, Mark.DOES_NOTHING)
    assert len(starts(configured("{'max_attempts': 0}"))) == 1


def test_what_is_decided_elsewhere_is_asked_for() -> None:
    asked = configured("{'max_attempts': int(os.environ['TRIES']), 'mode': 'legacy'}", "import os\n")
    assert asked.channel is None
    assert [question.line for question in asked.questions] == [4]
    stands = configured("{'max_attempts': int(os.environ.get('TRIES', '2'))}", "import os\n")
    assert marks(stands)["max_attempts"][1] is Mark.APPROXIMATE
    assert len(starts(stands)) == 3
    name = asked.questions[0].name
    given = configured("{'max_attempts': int(os.environ['TRIES']), 'mode': 'legacy'}", "import os\n", given={name: "2"})
    assert [late for _, late in starts(given)] == [0, 1, 3]
    assert [each.name for each in configured("shop.retries").questions] == ["shop.retries"]
    answered = configured("shop.retries", given={"shop.retries": "{'max_attempts': 1}"})
    assert (len(starts(answered)), marks(answered)["max_attempts"]) == (2, (3, Mark.EXACT))


@pytest.mark.parametrize(
    "retries", ["{'mode': 'fast'}", "{'max_attempts': -1}", "{'attempts': 3}", "{'total_max_attempts': 0}"]
)
def test_what_botocore_refuses_is_refused(retries: str) -> None:
    policy = configured(retries)
    assert policy.channel is None
    assert any(each.mark is Mark.CANNOT_BE_SAID and each.line == 3 for each in policy.findings)


FILE = """\
# a comment
[default]
max_attempts = 5
[profile ci]
retry_mode = legacy
s3 =
  max_concurrent_requests = 20
[prod]
max_attempts = 9
[profile broken]
max_attempts = 4  # four
"""


def test_profiles_stand_alone_and_need_their_prefix() -> None:
    found = read("aws", FILE, names=["home/.aws/config"])
    assert {name: policy.channel and len(starts(policy)) for name, policy in found.items()} == {
        "default": 5,
        "ci": 5,
        "broken": None,
    }
    assert [late for _, late in starts(found["ci"])] == [0, 1, 3, 7, 15]
    assert "wanted [profile prod]" in "; ".join(each.reason for each in found["default"].findings)
    assert "alone on its line" in reason(found["broken"], "max_attempts")
    assert len(starts(read("aws", "[prod]\nmax_attempts = 9\n", names=["credentials"])["prod"])) == 9
    none = read("aws", "[default]\nmax_attempts = 0\n", names=["config"])["default"]
    assert reason(none, "max_attempts") == "1 attempt with the first"
    misspelt = "retry-mode = legacy\nmax_retries = 3\nMaxAttempts = 4\nmetadata_service_num_attempts = 2\n"
    found = read("aws", f"[default]\n{misspelt}max_attempts = 2\n", names=["config"])
    assert {key for key, (_, mark) in marks(found["default"]).items() if mark is Mark.DOES_NOTHING} == {
        "retry-mode",
        "max_retries",
        "maxattempts",
    }
    says = "botocore has no setting retry-mode; did you mean retry_mode?"
    assert (reason(found["default"], "retry-mode"), len(starts(found["default"]))) == (says, 2)


def test_a_mode_that_botocore_does_not_know_tries_nothing_again() -> None:
    found = read("aws", "[profile quick]\nmax_attempts = 4\nretry_mode = Standard\n", names=["config"])["quick"]
    assert len(starts(found)) == 1
    assert {key: mark for key, (_, mark) in marks(found).items()} == {
        "max_attempts": Mark.DOES_NOTHING,
        "retry_mode": Mark.EXACT,
    }


ENVIRONMENT = 'export AWS_MAX_ATTEMPTS="2"\nAWS_RETRY_MODE=legacy # as before\n'


def test_the_environment_comes_before_the_file_and_a_config_before_both() -> None:
    alone = read("aws", ENVIRONMENT, names=[".env"])["environment"]
    assert [late for _, late in starts(alone)] == [0, 1]
    config = f"{HEAD}config = Config(retries={{'max_attempts': 3}})\n"
    found = read("aws", FILE, ENVIRONMENT, config, names=["config", ".env", "a.py"])
    assert [late for _, late in starts(found["default"])] == [0, 1]
    assert marks(found["default"])["max_attempts"][1] is Mark.DOES_NOTHING
    assert [late for _, late in starts(found["a.config"])] == [0, 1, 3, 7]
