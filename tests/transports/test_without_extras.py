"""What needs an extra, imported without it: the error says which one to install."""

import subprocess
import sys

import pytest
from effort import sliced

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("module", "missing", "wanted"),
    sliced(
        [
            ("actors.transports.webhook", "httpcore2", "live"),
            ("actors.transports.network_guard", "httpcore2", "live"),
            ("actors.transports.sms", "httpx2", "live"),
            ("actors.transports.sms", "phonenumbers", "live"),
            ("actors.transports.push", "cryptography", "live"),
            ("actors.transports.webpush", "http_ece", "live"),
            ("actors.transports.webpush", "py_vapid", "live"),
            ("actors.storage.postgres.store", "psycopg", "postgres"),
            ("actors.service.observability.metrics", "prometheus_client", "service"),
            ("simulation.testing.strategies", "hypothesis", None),
        ],
        16,
    ),
)
def test_an_import_without_the_extra_says_which_one_to_install(module, missing, wanted):
    # None among the modules is one that cannot be imported.
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"try: import {module}\n"
        "except ModuleNotFoundError as error: print(error.name, error, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, *message = done.stdout.splitlines()
    assert name.split(".")[0] == missing
    how = (
        "wanted hypothesis: pip install hypothesis"
        if wanted is None
        else f"wanted the extra {wanted}: pip install 'retrylab[{wanted}]'"
    )
    assert message == [f"{how}, got no {name}"]
