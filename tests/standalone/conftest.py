"""What the tests of policies alone share."""

import pytest
from policy_hosts import HOSTS, made_host


@pytest.fixture(params=HOSTS)
def host(request, monkeypatch):
    return made_host(request.param, monkeypatch)
