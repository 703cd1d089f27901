"""Push against a server that plays FCM and Google's token endpoint by their documented answers."""

import itertools
import json
import math
from typing import Any

import jwt
import pytest
import trio
from attempts import outcome_of
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from http_servers import DROP, HANG, HttpServer, Reply, Request, http_server
from tls_certificate import Tls

from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.transports import FcmConfig
from actors.transports.google_token import GoogleToken, outcome_of_answer as token_outcome
from actors.transports.http_exchange import Failed, HttpAnswer
from actors.transports.push import PushProvider

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # a longer one takes 34 ms to read, each time
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
NOW = 1_800_000_000.0


class Fcm:
    """The script of a server that is both: hands out tokens, and answers messages one reply after the other."""

    def __init__(self, *replies: Any, tokens: Any = None) -> None:
        self.replies = list(replies) or [Reply(200, {"name": "projects/shop/messages/1"})]
        self.tokens = tokens
        self.handed_out = 0

    def __call__(self, request: Request) -> Any:
        if request.target != "/token":
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if self.tokens is not None:
            return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        self.handed_out += 1
        return Reply(200, {"access_token": f"token-{self.handed_out}", "expires_in": 3599, "token_type": "Bearer"})


def error(status: int, code: str | None = None, **headers: str) -> Reply:
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    body = {"error": {"code": status, "message": "as documented", "status": "ANY", "details": details}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def push(**more: Any) -> SendNotification:
    given = {
        "notification_id": "push-17",
        "channel": "push",
        "recipient": "device-token",
        "message": "It is on its way",
    }
    return SendNotification(**(given | {"subject": "Order 17"} | more))


def provider_of(server: HttpServer, clock: Any = lambda: NOW, **more: Any) -> PushProvider:
    settings = {
        "project_id": "shop",
        "client_email": "sender@shop.iam.gserviceaccount.com",
        "private_key": PEM,
        "private_key_id": "key-1",
        "token_uri": f"{server.url}/token",
        "base_url": server.url,
    }
    return PushProvider(settings | more, clock=clock)


def messages(server: HttpServer) -> list[Request]:
    return [request for request in server.requests if request.target != "/token"]


async def test_a_token_is_one_line_of_text():
    async with http_server(Fcm()) as server, provider_of(server) as provider:
        assert provider.recipient_problem(push(recipient="abc:DEF-_9")) is None
        for recipient in ("a\nb", "a\0b", "a\u2028b"):
            problem = "a control character or line break; wanted a token of FCM's"
            assert provider.recipient_problem(push(recipient=recipient)) == problem
            outcome = await outcome_of(provider, push(recipient=recipient))
            assert outcome == Permanent(reason="not a registration token")
        assert server.requests == []


TABLE = [
    (Reply(200, {"name": "projects/shop/messages/1"}), Sent()),
    (error(404, "UNREGISTERED"), DeadDestination(reason="HTTP 404 UNREGISTERED")),
    (error(403, "SENDER_ID_MISMATCH"), Permanent(reason="HTTP 403 SENDER_ID_MISMATCH")),
    (error(400, "INVALID_ARGUMENT"), Permanent(reason="HTTP 400 INVALID_ARGUMENT")),
    (Reply(400, "<html>"), Permanent(reason="HTTP 400")),
    (error(413), Permanent(reason="HTTP 413")),
    (error(429, "QUOTA_EXCEEDED"), Transient(reason="HTTP 429 QUOTA_EXCEEDED", throttled=True, retry_after=60.0)),
    (
        error(429, "QUOTA_EXCEEDED", Retry_After="7"),
        Transient(reason="HTTP 429 QUOTA_EXCEEDED", throttled=True, retry_after=7.0),
    ),
    (error(429), Transient(reason="HTTP 429", throttled=True, retry_after=60.0)),
    (error(500, "INTERNAL"), Transient(reason="HTTP 500 INTERNAL")),
    (error(503, "UNAVAILABLE", Retry_After="9"), Transient(reason="HTTP 503 UNAVAILABLE", retry_after=9.0)),
    (error(502), Ambiguous(reason="HTTP 502")),
    (error(401), ChannelFault(reason="HTTP 401")),
    (error(403), ChannelFault(reason="HTTP 403")),
    (error(401, "THIRD_PARTY_AUTH_ERROR"), Permanent(reason="HTTP 401 THIRD_PARTY_AUTH_ERROR")),
    (error(408), Transient(reason="HTTP 408")),
    (error(425), Transient(reason="HTTP 425")),
    (error(404), ChannelFault(reason="HTTP 404")),
    (error(302, location="/elsewhere"), ChannelFault(reason="HTTP 302")),
    (DROP, Ambiguous(reason="connection lost before the answer")),
    (error(404, "UNREGISTERED")._replace(cut_off=True), Transient(reason="answer cut off")),
    (error(429, "QUOTA_EXCEEDED")._replace(cut_off=True), Transient(reason="HTTP 429", throttled=True, retry_after=60)),
    (error(502)._replace(cut_off=True), Ambiguous(reason="HTTP 502")),
]


@pytest.mark.parametrize(("reply", "wanted"), TABLE)
async def test_what_an_answer_means(reply, wanted):
    async with http_server(Fcm(reply)) as server, provider_of(server) as provider:
        outcome = await outcome_of(provider, push())
    assert (type(outcome), outcome.reason) == (type(wanted), wanted.reason)
    if isinstance(outcome, Transient):
        assert (outcome.retry_after, outcome.throttled) == (wanted.retry_after, wanted.throttled)


@pytest.mark.parametrize(
    "body",
    [{"error": "what?"}, {"error": {"details": "what?"}}, {"error": {"details": ["what?", {"errorCode": 7}]}}, [], "?"],
)
async def test_an_error_of_another_form_goes_by_its_status(body):
    async with http_server(Fcm(Reply(400, body))) as server, provider_of(server) as provider:
        outcome = await outcome_of(provider, push())
    assert (type(outcome), outcome.reason) == (Permanent, "HTTP 400")


async def test_nothing_was_said(tls: Tls):
    async with http_server(Fcm()) as server:
        token_uri = f"{server.url}/token"
        async with http_server(Fcm()) as gone:
            pass
        async with provider_of(gone, token_uri=token_uri) as provider:
            assert (await outcome_of(provider, push())).reason == "no connection"
        async with (
            http_server(Fcm(), tls=tls.server) as strange,
            provider_of(strange, token_uri=token_uri) as provider,
        ):
            outcome = await outcome_of(provider, push())
    assert (type(outcome), outcome.reason) == (ChannelFault, "certificate of the server does not verify")


# ── access tokens ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
async def test_the_assertion_is_signed_by_the_account():
    async with http_server(Fcm()) as server, provider_of(server) as provider:
        assert type(await outcome_of(provider, push())) is Sent
    asked, sent = server.requests
    assert asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assertion = asked.form["assertion"]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    for_now = {"verify_exp": False, "verify_iat": False}  # which is another one here
    assert jwt.decode(assertion, KEY.public_key(), ["RS256"], audience=f"{server.url}/token", options=for_now) == {
        "iss": "sender@shop.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": f"{server.url}/token",
        "iat": NOW,
        "exp": NOW + 3600,
    }
    assert (sent.target, sent.headers["authorization"]) == ("/v1/projects/shop/messages:send", "Bearer token-1")


async def test_a_token_is_shared_and_renewed_before_its_end():
    now = NOW
    async with http_server(Fcm()) as server, provider_of(server, lambda: now) as provider:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(outcome_of, provider, push())
        now = NOW + 3599 - 300 - 1
        await outcome_of(provider, push())
        now += 1
        await outcome_of(provider, push())
    used = [request.headers["authorization"] for request in messages(server)]
    assert used == ["Bearer token-1"] * 11 + ["Bearer token-2"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_renewed_once(status):
    script = Fcm(error(status), Reply(200))
    async with http_server(script) as server, provider_of(server) as provider:
        assert type(await outcome_of(provider, push())) is Sent
        script.replies = [error(status)]
        assert type(await outcome_of(provider, push())) is ChannelFault
    used = [request.headers["authorization"] for request in messages(server)]
    assert used == ["Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3"]


async def test_what_has_nothing_to_do_with_the_token_does_not_renew_it():
    script = Fcm(error(403, "SENDER_ID_MISMATCH"), error(401, "THIRD_PARTY_AUTH_ERROR"))
    async with http_server(script) as server, provider_of(server) as provider:
        for _ in range(2):
            await outcome_of(provider, push())
    assert script.handed_out == 1


TOKEN_TABLE = [
    (Reply(400, {"error": "invalid_grant"}), ChannelFault(reason="no access token: HTTP 400")),
    (Reply(401, {"error": "invalid_client"}), ChannelFault(reason="no access token: HTTP 401")),
    (Reply(200, {"expires_in": 3600}), ChannelFault(reason="no access token: HTTP 200")),
    (Reply(200, {"access_token": "secret-1\n"}), ChannelFault(reason="no access token: HTTP 200")),
    (Reply(200, {"access_token": ["secret-1"]}), ChannelFault(reason="no access token: HTTP 200")),
    (Reply(307, b"", {"location": "/elsewhere"}), ChannelFault(reason="no access token: HTTP 307")),
    (Reply(408), Transient(reason="no access token: HTTP 408")),
    (Reply(425), Transient(reason="no access token: HTTP 425")),
    (Reply(400, {"error": "temporarily_unavailable"}), Transient(reason="no access token: HTTP 400")),
    (Reply(403, {"error": "server_error"}), Transient(reason="no access token: HTTP 403")),
    (
        Reply(400, {"error": "what", "error_description": "internal_failure"}, {"retry-after": "3"}),
        Transient(reason="no access token: HTTP 400", retry_after=3.0),
    ),
    (Reply(400, {"error": ["server_error"]}), ChannelFault(reason="no access token: HTTP 400")),
    (Reply(200, "secret-1"), ChannelFault(reason="no access token: HTTP 200")),
    (
        Reply(429, b"", {"retry-after": "5"}),
        Transient(reason="no access token: HTTP 429", throttled=True, retry_after=5.0),
    ),
    (Reply(503, b"", {"retry-after": "5"}), Transient(reason="no access token: HTTP 503", retry_after=5.0)),
    (DROP, Transient(reason="no access token: connection lost before the answer")),
    (Reply(400, {"error": "invalid"}, cut_off=True), Transient(reason="no access token: answer cut off")),
    (Reply(200, {"access_token": "secret-1"}, cut_off=True), Transient(reason="no access token: answer cut off")),
    (
        Reply(503, b"half", {"retry-after": "5"}, cut_off=True),
        Transient(reason="no access token: HTTP 503", retry_after=5.0),
    ),
]


@pytest.mark.parametrize(("reply", "wanted"), TOKEN_TABLE)
async def test_no_access_token(reply, wanted):
    async with http_server(Fcm(tokens=[reply])) as server, provider_of(server) as provider:
        outcome = await outcome_of(provider, push())
    assert (type(outcome), outcome.reason) == (type(wanted), wanted.reason)
    assert "secret-1" not in repr(outcome)
    if isinstance(outcome, Transient):
        assert (outcome.retry_after, outcome.throttled) == (wanted.retry_after, wanted.throttled)
    assert messages(server) == []


async def test_who_waits_for_a_token_that_cannot_be_had_shares_one_request_and_its_retry_after():
    script = Fcm(tokens=[Reply(503, b"", {"retry-after": "100"}), Reply(200, {"access_token": "a"})])
    outcomes = []
    async with http_server(script) as server, provider_of(server) as provider:

        async def send() -> None:
            outcomes.append(await outcome_of(provider, push()))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(send)
        await send()  # and so does who comes before that is over
        asked = len(server.requests)
    assert asked == 1
    assert {type(outcome) for outcome in outcomes} == {Transient}
    assert all(0 < outcome.retry_after <= 100 for outcome in outcomes)


class TokenEndpoint:
    """In the place of connections: answers one after the other, each after so many seconds; the last one forever."""

    def __init__(self, *answers: tuple[float, HttpAnswer | Failed]) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def post(self, url, headers, content):
        self.asked.append(trio.current_time())
        after, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await trio.sleep(after)
        if isinstance(answer, Failed):
            raise answer
        return answer


def answer_with(**said: Any) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps(said).encode(), NOW)


def token_of(endpoint: TokenEndpoint, clock: Any = lambda: NOW, **more: Any) -> GoogleToken:
    config = FcmConfig(project_id="shop", client_email="a@shop.example", private_key=PEM, **more)
    return GoogleToken(config, endpoint, clock)


async def outcome_within(token: GoogleToken, seconds: float) -> Outcome | str:
    with trio.fail_after(seconds):
        try:
            return await token.get()
        except Failed as failed:
            return failed.outcome


NO_ANSWER = Transient(reason="no access token: no answer in time")


async def test_who_gets_no_token_in_time_knows_that_no_message_was_sent(autojump_clock):
    endpoint = TokenEndpoint((math.inf, Failed(Permanent())))
    token, outcomes = token_of(endpoint), {}
    began = trio.current_time()

    async def wait_from(start: float) -> None:
        await trio.sleep(start)
        outcomes[start] = (await outcome_within(token, 10), trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for start in (0.0, 1.0, 3.0, 6.0):
            nursery.start_soon(wait_from, start)
    # Who waits already when the first one gives up does so with it; who comes later asks again.
    assert outcomes == {
        0.0: (NO_ANSWER, 5.0),
        1.0: (NO_ANSWER, 5.0),
        3.0: (NO_ANSWER, 5.0),
        6.0: (NO_ANSWER, 11.0),
    }
    assert [asked - began for asked in endpoint.asked] == [0.0, 6.0]


async def test_a_failure_is_over_with_its_retry_after(autojump_clock):
    busy = Failed(Transient(reason="busy", retry_after=30.0))
    endpoint = TokenEndpoint((0, busy), (0, answer_with(access_token="a")))
    token, waits = token_of(endpoint), []
    for pause in (0, 10, 19):
        await trio.sleep(pause)
        outcome = await outcome_within(token, 10)
        assert isinstance(outcome, Transient)
        waits.append(outcome.retry_after)
    assert waits == pytest.approx([30, 20, 1])
    await trio.sleep(1)
    assert await outcome_within(token, 10) == "a"
    assert len(endpoint.asked) == 2


async def test_a_token_is_asked_for_again_after_an_hour_whatever_was_said(autojump_clock):
    endpoint = TokenEndpoint((0, Failed(Transient(reason="busy", retry_after=1e9))), (0, answer_with(access_token="a")))
    token = token_of(endpoint)
    assert (await outcome_within(token, 10)).retry_after == 1e9
    await trio.sleep(3599)
    assert (await outcome_within(token, 10)).retry_after == pytest.approx(1e9 - 3599)
    await trio.sleep(1)
    assert await outcome_within(token, 10) == "a"


async def test_a_failure_is_no_longer_shared_once_a_token_is_there(autojump_clock):
    endpoint = TokenEndpoint((1, Failed(ChannelFault(reason="no"))), (1, answer_with(access_token="a")))
    token = token_of(endpoint)
    assert await outcome_within(token, 10) == ChannelFault(reason="no")
    assert [await outcome_within(token, 10) for _ in range(3)] == ["a"] * 3
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("said", "lasts_s"),
    [
        ({"expires_in": 3599}, 3299.0),
        ({"expires_in": "3599"}, 3299.0),
        ({"expires_in": 3599.5}, 3299.5),
        ({}, 3300.0),
        *(({"expires_in": value}, 3300.0) for value in (None, "soon", [], math.nan, math.inf, 10**400)),
        ({"expires_in": 100}, 50.0),  # sooner than it would be renewed: half of it is used
        ({"expires_in": -1}, 0.0),
    ],
)
async def test_how_long_a_token_is_used(said, lasts_s):
    now = NOW
    endpoint = TokenEndpoint((0, answer_with(access_token="a", **said)), (0, answer_with(access_token="b")))
    token = token_of(endpoint, lambda: now)
    assert await token.get() == "a"
    if lasts_s:
        now = NOW + lasts_s - 0.001
        assert await token.get() == "a"
    now = NOW + lasts_s
    assert await token.get() == "b"


@pytest.mark.parametrize("status", [200, 201, 203])
async def test_a_token_may_come_with_any_success(status):
    content = json.dumps({"access_token": "a", "expires_in": 3599}).encode()
    endpoint = TokenEndpoint((0, HttpAnswer(status, {}, content, NOW)))
    assert await token_of(endpoint).get() == "a"


def test_what_google_s_own_library_repeats_is_repeated():
    client = pytest.importorskip("google.oauth2._client", reason="needs google-auth, the judge of this test")
    words = ["temporarily_unavailable", "server_error", "internal_failure", "invalid_grant", "", None]
    for status, error, description in itertools.product([400, 401, 403, 404, 408, 429, 500, 503, 504], words, words):
        said = {"error": error, "error_description": description}
        outcome = token_outcome(HttpAnswer(status, {}, json.dumps(said).encode(), NOW))
        assert isinstance(outcome, Transient) or not client._can_retry(status, said), (status, said)
        if status < 500 and status not in (408, 429):
            assert isinstance(outcome, Transient) == client._can_retry(status, said), said


async def test_a_token_endpoint_that_is_down_or_not_itself(tls: Tls):
    async with http_server(Fcm()) as gone:
        pass
    async with http_server(Fcm()) as server, http_server(Fcm(), tls=tls.server) as strange:
        async with provider_of(server, token_uri=f"{gone.url}/token") as provider:
            outcome = await outcome_of(provider, push())
            assert (type(outcome), outcome.reason) == (Transient, "no access token: no connection")
        async with provider_of(server, token_uri=f"{strange.url}/token") as provider:
            assert type(await outcome_of(provider, push())) is ChannelFault
    assert server.connections == 0


async def test_who_is_cancelled_while_renewing_leaves_the_renewal_to_the_next_one():
    script = Fcm(tokens=[HANG, Reply(200, {"access_token": "a", "expires_in": 3600})])
    async with http_server(script) as server, provider_of(server) as provider:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, provider, push())
            await server.hangs.wait()
            nursery.cancel_scope.cancel()
        assert type(await outcome_of(provider, push())) is Sent


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────


async def sent(wanted_for: float | None = None, **more: Any) -> dict[str, Any]:
    async with http_server(Fcm()) as server, provider_of(server) as provider:
        assert type(await outcome_of(provider, push(**more), wanted_for=wanted_for)) is Sent
    (request,) = messages(server)
    message: dict[str, Any] = request.json["message"]
    return message


async def test_a_plain_message():
    message = await sent()
    assert message["token"] == "device-token"
    assert message["notification"] == {"title": "Order 17", "body": "It is on its way"}
    tag = message["android"]["notification"]["tag"]
    assert message["apns"] == {"headers": {"apns-collapse-id": tag}, "payload": {"aps": {}}}
    assert len(tag) == 64  # the most that APNs takes
    assert "data" not in message
    other = await sent(notification_id="push-18", subject=None)
    assert other["android"]["notification"]["tag"] != tag
    assert other["notification"] == {"body": "It is on its way"}


async def test_a_message_with_everything():
    metadata = {
        "badge": 3,
        "sound": "bell",
        "deep_link": "shop://orders/17",
        "data": {"order": 17, "paid": True, "items": [{"name": "Tür"}], "of": {"a": None}, "to": "Ann"},
    }
    message = await sent(metadata=metadata)
    assert message["data"] == {
        "order": "17",
        "paid": "true",
        "items": '[{"name":"Tür"}]',
        "of": '{"a":null}',
        "to": "Ann",
        "deep_link": "shop://orders/17",
    }
    assert message["android"]["notification"]["notification_count"] == 3
    assert message["android"]["notification"]["sound"] == "bell"
    assert message["apns"]["payload"]["aps"] == {"badge": 3, "sound": "bell"}


@pytest.mark.parametrize(
    ("wanted_for", "ttl", "expiration"),
    [
        (90.9, "90", f"{NOW + 90:.0f}"),
        (0.9, "0", "0"),
        (0.0, "0", "0"),
        (30 * 86400.0, "2419200", f"{NOW + 30 * 86400:.0f}"),  # four weeks, the most that FCM takes
    ],
)
async def test_neither_fcm_nor_apns_keeps_a_message_for_longer_than_it_is_wanted(wanted_for, ttl, expiration):
    message = await sent(wanted_for)
    assert message["android"]["ttl"] == f"{ttl}s"
    assert message["apns"]["headers"]["apns-expiration"] == expiration
    assert message["webpush"]["headers"]["TTL"] == ttl
    unlimited = await sent()
    assert "ttl" not in unlimited["android"]
    assert list(unlimited["apns"]["headers"]) == ["apns-collapse-id"]
    assert "webpush" not in unlimited


async def test_data_that_cannot_be_written_is_refused_before_anything_is_sent():
    async with http_server(Fcm()) as server, provider_of(server) as provider:
        for data in ({"a": ["\ud800"]}, {"\ud800": 1}):
            assert type(await outcome_of(provider, push(metadata={"data": data}))) is Permanent
    assert server.connections == 0


async def test_text_that_cannot_be_written_is_refused_before_anything_is_sent():
    async with http_server(Fcm()) as server, provider_of(server) as provider:
        assert type(await outcome_of(provider, push(message="\ud800"))) is Permanent
    assert server.connections == 0


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    ["hunter2", ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()],
)  # fmt: skip
def test_a_key_that_is_none(key):
    settings = {"project_id": "shop", "client_email": "a@b.example", "private_key": key}
    with pytest.raises(ConfigurationError) as caught:
        PushProvider(settings)
    assert caught.value.problems == ["private_key: wanted an RSA key in PEM, got a value that is not shown"]


def test_the_key_file_of_a_service_account(tmp_path):
    path = tmp_path / "account.json"
    held = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "key-1",
        "private_key": PEM,
        "client_email": "sender@shop.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(held))
    config = FcmConfig.from_service_account(path, connections=3)
    PushProvider(config)
    assert (config.project_id, config.private_key_id, config.connections) == ("shop", "key-1", 3)
    assert PEM not in repr(config)
    for text in ("", "[]", '{"type": "authorized_user"}'):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"account\.json: wanted the key file of a service account"):
            FcmConfig.from_service_account(path)
    path.write_text('{"type": "service_account", "private_key": "x", "project_id": "a/b"}')
    with pytest.raises(ConfigurationError) as caught:
        FcmConfig.from_service_account(path)
    assert caught.value.problems == [
        "project_id: wanted the id of a project, got 'a/b'",
        "client_email: wanted text that is not empty, got nothing",
    ]
    with pytest.raises(ConfigurationError):
        FcmConfig.from_service_account(tmp_path / "nowhere.json")
