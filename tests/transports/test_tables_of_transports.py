"""Each row of the table in each transport's docstring has a test, which has each code of the row with its outcome."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import test_email_transport
import test_http_exchange
import test_push_transport
import test_sms_transport
import test_webhook_transport
import test_webpush_transport
from documented import Row, rows_in_table

from actors.transports import email, google_token, http_exchange, push, sms, webhook, webpush

EMAIL = {
    "no connection, lost before the end of the mail": (
        "test_no_one_listens", "test_a_mail_that_cannot_be_handed_over_to_its_end_is_transient",
    ),
    "no connection free within `connect_timeout`": ("test_who_gets_no_connection_in_time_has_made_no_attempt",),
    "a reply that is none, before the end": ("test_what_a_reply_means",),
    "530, 534, 535, 538 to any command": ("test_what_a_reply_means", "test_what_a_reply_to_the_login_means"),
    "5yz to the connection, EHLO, STARTTLS or AUTH": (
        "test_what_is_said_before_any_mail", "test_what_a_reply_to_starttls_means",
        "test_what_a_reply_to_the_login_means",
    ),
    "4yz to AUTH, 432 and 454 among them": ("test_what_a_reply_to_the_login_means",),
    "504 or 534 to AUTH, and another mechanism is there": ("test_what_a_reply_to_the_login_means",),
    "no STARTTLS, no AUTH, a certificate that does not verify": (
        "test_no_mail_goes_out_in_the_clear_where_tls_is_wanted",
        "test_a_server_with_none_of_the_mechanisms_is_a_fault_of_the_channel",
        "test_no_mail_goes_to_a_server_whose_certificate_does_not_verify",
    ),
    "a control character in subject or recipient": ("test_what_is_no_mail_is_refused_before_anything_is_sent",),
    "a recipient that is no mailbox, or several": ("test_what_is_no_mail_is_refused_before_anything_is_sent",),
    "an address outside ASCII, and no SMTPUTF8": (
        "test_an_internationalised_address_needs_a_server_that_takes_one",
    ),
    "lost after the end of the mail, or a reply that is none": ("test_what_a_reply_means",),
    "2yz to the end of the mail": ("test_a_reply_of_success_at_the_end_is_sent",),
}  # fmt: skip
SMS = {
    "no connection": ("test_nothing_was_said",),
    "certificate does not verify": ("test_nothing_was_said",),
    "lost after the request went out": ("test_what_an_answer_means",),
    "a recipient that is no phone number": ("test_no_phone_number_and_no_text_are_refused_before_anything_is_sent",),
}
PUSH = {
    "no access token": ("test_no_access_token",),
    "no connection": ("test_nothing_was_said",),
    "certificate does not verify": ("test_nothing_was_said",),
    "lost after the request went out": ("test_what_an_answer_means",),
    "401, 403": ("test_what_an_answer_means", "test_a_refused_token_is_renewed_once"),
}
TOKEN = dict.fromkeys(
    ("429", "408, 425", "temporarily_unavailable, server_error, internal_failure", "anything else"),
    ("test_no_access_token",),
) | {
    "2xx with a token": ("test_how_long_a_token_is_used", "test_a_token_may_come_with_any_success"),
    "5xx, no connection, lost, an answer of 2xx or 4xx cut off, no answer in half of the time that the attempt has "
    "left": (
        "test_no_access_token", "test_a_token_endpoint_that_is_down_or_not_itself",
        "test_who_gets_no_token_in_time_knows_that_no_message_was_sent",
    ),
    "certificate does not verify": ("test_a_token_endpoint_that_is_down_or_not_itself",),
}  # fmt: skip
WEB_PUSH = {
    "401, 403 of a third push service while none ever took a message": (
        "test_several_push_services_that_refuse_us_are_a_fault_of_ours",
    ),
    "no connection, a certificate that does not verify": ("test_a_push_service_that_is_down_or_not_itself",),
    "a private, link-local, loopback, multicast or reserved address": (
        "test_our_own_network_is_refused_and_so_is_http",
    ),
    "no subscription, no https URL, an impossible host, port 0, a message that is too large, a topic or an unknown "
    "urgency": (
        "test_what_is_refused_before_anything_is_sent", "test_our_own_network_is_refused_and_so_is_http",
    ),
    "an answer whose body is cut off": ("test_what_an_answer_means",),
    "lost after the request went out": ("test_what_an_answer_means",),
}  # fmt: skip
WEBHOOK = {
    "no connection, a certificate that does not verify": ("test_an_endpoint_that_is_down_or_being_set_up",),
    "no connection free within `connect_timeout`": ("test_who_finds_no_connection_free_has_made_no_attempt",),
    "a private, link-local, loopback, multicast or reserved address": (
        "test_our_own_network_is_refused_however_it_is_written",
    ),
    "no URL, http without `allow_http`, a URL with a password in it, with port 0 or an impossible host": (
        "test_urls_that_are_refused",
    ),
}
EXCHANGE = {
    "answered": ("test_an_answer", "test_what_an_answer_says_before_its_body_counts_where_that_does_not_end"),
    "answered with 4xx but 429, its body cut off or slow": (
        "test_an_error_that_only_its_body_explains_is_no_answer_without_it",
    ),
    "no URL, or no header that there is": ("test_what_is_no_url", "test_what_is_no_header"),
    "to an address that is not allowed": (
        test_webhook_transport.test_our_own_network_is_refused_however_it_is_written,
    ),
    "no connection free within `connect_timeout`": ("test_no_free_connection_in_time",),
    "no connection opened within that": ("test_no_connection_in_time",),
    "a certificate that does not verify": ("test_a_certificate_that_does_not_verify",),
    "lost before the answer, or one that is none": ("test_lost_before_the_answer", "test_an_answer_that_is_none"),
}
TABLES = [
    (email, test_email_transport, "test_what_a_reply_means", EMAIL),
    (sms, test_sms_transport, "test_what_an_answer_means", SMS),
    (push, test_push_transport, "test_what_an_answer_means", PUSH),
    (google_token, test_push_transport, "test_no_access_token", TOKEN),
    (webpush, test_webpush_transport, "test_what_an_answer_means", WEB_PUSH),
    (webhook, test_webhook_transport, "test_what_an_answer_means", WEBHOOK),
    (http_exchange, test_http_exchange, "test_an_answer", EXCHANGE),
]


@pytest.mark.parametrize(("module", "tests", "usual", "named"), TABLES, ids=[table[0].__name__ for table in TABLES])
def test_each_row_has_a_test(module, tests, usual, named):
    """One that has a code is in the cases of the usual test, unless others are named for it."""
    rows = rows_in_table(module)
    assert named.keys() <= {row.answer for row in rows}
    assert [row.answer for row in rows if not row.codes() and row.answer not in named] == []
    untested = {row: row.untested(those_of(tests, named.get(row.answer, (usual,)))) for row in rows}
    assert {row: codes for row, codes in untested.items() if codes} == {}


def those_of(tests: ModuleType, names: tuple[Any, ...]) -> list[Any]:
    """Return the tests of these names; one that is of another module stands for itself."""
    return [getattr(tests, name) if isinstance(name, str) else name for name in names]


def test_a_row_that_no_test_has_is_found():
    async def test_it():
        assert "HTTP 410"

    pytest.mark.parametrize(("reply", "wanted"), [("503", "Transient(throttled=True)")])(test_it)
    assert Row("410", "DeadDestination").untested([test_it]) == set()
    assert Row("429, 503", "Transient, throttled").untested([test_it]) == {"429"}
    assert Row("503, 504", "Transient").untested([test_it]) == {"503", "504"}
    assert Row("other 5xx, but 429", "Transient, throttled").untested([test_it]) == set()
    assert Row("other 5xx", "Permanent").untested([test_it]) == {"5"}
