"""Each row of the table in each transport's docstring has a test, which has each code of the row with its outcome."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import test_email_transport
import test_http_exchange
import test_push_transport
import test_sms_transport
import test_webhook_transport
import test_webpush_transport
from beside import tables
from documented import Row, rows_in_table

from actors.transports import email, google_token, http_exchange, push, sms, webhook, webpush

TABLES = tables(__file__)
"""The tests of the rows that have none in the usual test, by module and row."""

MODULES = [
    (email, test_email_transport, "test_what_a_reply_means"),
    (sms, test_sms_transport, "test_what_an_answer_means"),
    (push, test_push_transport, "test_what_an_answer_means"),
    (google_token, test_push_transport, "test_no_access_token"),
    (webpush, test_webpush_transport, "test_what_an_answer_means"),
    (webhook, test_webhook_transport, "test_what_an_answer_means"),
    (http_exchange, test_http_exchange, "test_an_answer"),
]


@pytest.mark.parametrize(("module", "tests", "usual"), MODULES, ids=[row[0].__name__ for row in MODULES])
def test_each_row_has_a_test(module, tests, usual):
    """One that has a code is in the cases of the usual test, unless others are named for it."""
    rows, named = rows_in_table(module), TABLES[module.__name__.rpartition(".")[2]]
    assert named.keys() <= {row.answer for row in rows}
    assert [row.answer for row in rows if not row.codes() and row.answer not in named] == []
    untested = {row: row.untested(those_of(tests, named.get(row.answer, (usual,)))) for row in rows}
    assert {row: codes for row, codes in untested.items() if codes} == {}


def those_of(tests: ModuleType, names: Sequence[str]) -> list[Any]:
    """Return the tests of these names; before one of another module stands the name of that."""
    parts = [name.rpartition(".") for name in names]
    return [getattr(sys.modules[module] if module else tests, name) for module, _, name in parts]


def test_a_row_that_no_test_has_is_found():
    async def test_it():
        assert "HTTP 410"

    pytest.mark.parametrize(("reply", "wanted"), [("503", "Transient(throttled=True)")])(test_it)
    assert Row("410", "DeadDestination").untested([test_it]) == set()
    assert Row("429, 503", "Transient, throttled").untested([test_it]) == {"429"}
    assert Row("503, 504", "Transient").untested([test_it]) == {"503", "504"}
    assert Row("other 5xx, but 429", "Transient, throttled").untested([test_it]) == set()
    assert Row("other 5xx", "Permanent").untested([test_it]) == {"5"}
