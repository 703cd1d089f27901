"""Who asks, and what they may do."""

from ipaddress import ip_network

import pytest
from each_row import over_each
from starlette.exceptions import HTTPException
from starlette.requests import Request

from actors.errors import ConfigurationError
from actors.service.http.access import (
    ENDED_MAX,
    SESSION_COOKIE,
    SESSION_S,
    Access,
    Principal,
    Role,
    TokenConfig,
    require,
)
from actors.service.http.guesses import ADDRESSES_MAX, GUESS_S, GUESSES_MAX, PROXIES_MAX, Proxies
from actors.settings.base import validated

SHOP, ANN, OTTO = "shop-0123456789abcdef", "ann-0123456789abcdef", "otto-0123456789abcdef"
TOKENS = (TokenConfig(name="shop", role="ingest", secret=SHOP), TokenConfig(name="ann", role="reader", secret=ANN),
    TokenConfig(name="ötto", role="operator", secret=OTTO))  # fmt: skip


class State:
    def __init__(self, access):
        self.state = self.service = self
        self.access = access


def request(path="/api/dead-letters", access=None, client="203.0.113.5", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": pairs, "app": State(access)}
    return Request(scope | {"client": (client, 5)})


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("header", "who"),
    [
        (f"Bearer {SHOP}", Principal("shop", Role.INGEST)),
        (f"bearer  {OTTO}", Principal("ötto", Role.OPERATOR)),
        (f"Basic {OTTO}", None),
        (OTTO, None),
        ("Bearer", None),
        (f"Bearer {OTTO}x", None),
        ("Bearer \xe4", None),
    ],
)
def test_a_bearer_is_known_by_their_token(header, who):
    assert Access(TOKENS).who(request(authorization=header)) == who


@pytest.mark.parametrize(
    ("role", "ingest", "reader", "operator"),
    [("ingest", True, False, False), ("reader", False, True, False), ("operator", True, True, True)],
)
def test_what_each_role_may(role, ingest, reader, operator):
    principal = Principal("x", Role(role))
    assert [principal.may(asked) for asked in Role] == [ingest, reader, operator]


def test_an_unknown_caller_is_told_apart_from_one_who_may_not():
    access = Access(TOKENS)
    with pytest.raises(HTTPException) as unknown:
        require(request(access=access), Role.READER)
    with pytest.raises(HTTPException) as not_allowed:
        require(request(access=access, authorization=f"Bearer {ANN}"), Role.OPERATOR)
    assert (unknown.value.status_code, not_allowed.value.status_code) == (401, 403)
    assert unknown.value.headers == {"WWW-Authenticate": "Bearer"}
    assert require(request(access=access, authorization=f"Bearer {OTTO}"), Role.READER).name == "ötto"


def begun(access, token):
    principal, session = access.begin_session(request(), token)
    assert principal.name[1:] in ("nn", "tto")
    return session


def in_session(session, path="/console/dead-letters"):
    return request(path, cookie=f"{SESSION_COOKIE}={session}")


def test_a_session_is_of_who_signed_in_for_a_shift_and_on_the_console_alone():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    assert access.begin_session(request(), "nobody's-0123456789") is None
    session = begun(access, OTTO)
    assert access.who(in_session(session)) == Principal("ötto", Role.OPERATOR)
    assert access.who(in_session(session, "/api/bulks")) is None
    clock.now += SESSION_S - 1
    assert access.who(in_session(session)) is not None
    clock.now += 1
    assert access.who(in_session(session)) is None


def test_a_session_outlives_the_process_but_not_its_token():
    session = begun(Access(TOKENS), ANN)
    assert Access(TOKENS).who(in_session(session)) == Principal("ann", Role.READER)
    assert Access(TOKENS[:1]).who(in_session(session)) is None
    renamed = TokenConfig(name="anna", role="reader", secret=ANN)
    assert Access([renamed]).who(in_session(session)) is None


def test_no_one_makes_a_session_of_their_own():
    access = Access(TOKENS)
    session = begun(access, ANN)
    name, end, rest = session.split(".", 2)
    for forged in (f"{name}.{int(end) + 1}.{rest}", f"b3R0bw==.{end}.{rest}", session[:-1], "", ".", "a.b.c.d"):
        assert access.who(in_session(forged)) is None


def test_a_form_is_of_the_session_it_was_made_for():
    access = Access(TOKENS)
    one, other = (in_session(begun(access, OTTO)) for _ in range(2))
    token = access.form_token(one)
    assert access.is_form_token(one, token)
    assert not access.is_form_token(other, token)
    assert not access.is_form_token(one, "")
    assert access.form_token(request("/console")) is None
    assert not access.is_form_token(request("/console"), token)


def test_a_session_that_was_ended_is_over_and_no_other_is():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    one, same, other = begun(access, OTTO), begun(access, OTTO), begun(access, ANN)
    access.end_session(in_session(one))
    access.end_session(in_session("no.1.session"))
    assert access.who(in_session(one)) is None
    assert access.form_token(in_session(one)) is None
    assert access.who(in_session(same)).name == "ötto"
    assert access.who(in_session(other)).name == "ann"
    assert access.with_settings(TOKENS, ()).who(in_session(one)) is None  # after other tokens were read, too
    assert access.with_settings(TOKENS, ()).who(in_session(other)) is not None


def test_ended_sessions_take_little_room_and_stay_ended():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    others = begun(access, ANN)
    ended = []
    for _ in range(ENDED_MAX + 100):
        clock.now += 1
        ended.append(begun(access, OTTO))
        access.end_session(in_session(ended[-1]))
    clock.now += 1
    later = begun(access, OTTO)
    assert not any(access.who(in_session(session)) for session in ended)
    assert access.who(in_session(later)) is not None
    assert access.who(in_session(others)) is not None  # someone else's is none of theirs
    assert len(access._ended._ends_s[OTTO.encode()]) == ENDED_MAX
    clock.now += SESSION_S
    access.end_session(in_session(begun(access, OTTO)))
    assert len(access._ended._ends_s[OTTO.encode()]) == 1


def asked(access, token, **request_):
    """Return the status that a request with this token gets."""
    try:
        require(request(access=access, authorization=f"Bearer {token}", **request_), Role.READER)
    except HTTPException as refused:
        return refused.status_code
    return 200


def guesses(count, start=0):
    return [f"guess-{number:012}" for number in range(start, start + count)]


def test_guesses_of_tokens_are_limited_and_a_right_one_is_not_told_apart():
    clock = Clock()
    access = Access(TOKENS, timer=clock)
    assert [asked(access, guess) for guess in guesses(GUESSES_MAX + 30)] == [401] * GUESSES_MAX + [429] * 30
    assert asked(access, ANN) == 429
    with pytest.raises(HTTPException) as refused:
        require(request(access=access, authorization="Bearer x"), Role.READER)
    assert 1 <= int(refused.value.headers["Retry-After"]) <= GUESS_S
    clock.now += 3600
    assert [asked(access, guess) for guess in guesses(GUESSES_MAX + 30)] == [401] * GUESSES_MAX + [429] * 30
    seconds = 600
    answers = []
    for guess in guesses(seconds * 10):
        clock.now += 0.1
        answers.append(asked(access, guess))
    assert answers.count(401) <= seconds / GUESS_S + 1


def test_a_sign_in_is_a_guess_too():
    clock = Clock()
    access = Access(TOKENS, timer=clock)
    for guess in guesses(GUESSES_MAX):
        assert access.begin_session(request(), guess) is None
        assert access.refusal(request(), guess).status_code == 401
    assert access.begin_session(request(), OTTO) is None
    assert access.refusal(request(), OTTO).status_code == 429
    clock.now += GUESS_S
    assert access.begin_session(request(), OTTO) is not None


def test_no_stranger_locks_anyone_out_who_is_elsewhere_or_was_there_before():
    clock = Clock()
    access = Access(TOKENS, timer=clock)
    assert asked(access, ANN) == 200
    session = in_session(begun(access, OTTO))
    for guess in guesses(1000):
        asked(access, guess)
    assert asked(access, ANN) == 200
    assert asked(access, guesses(1)[0]) == 429
    assert access.who(session) is not None
    assert asked(access, OTTO, client="203.0.113.6") == 200


def test_no_stranger_locks_out_those_who_come_by_the_same_proxy():
    access = Access(TOKENS, timer=Clock(), proxies=behind("127.0.0.1"))
    proxied = {"client": "127.0.0.1", "x_forwarded_for": "10.0.0.1, 198.51.100.7"}
    for guess in guesses(1000):
        asked(access, guess, **proxied)
    assert asked(access, OTTO, **proxied) == 429
    assert asked(access, OTTO, client="127.0.0.1", x_forwarded_for="198.51.100.8") == 200


def behind(*networks):
    return Proxies([ip_network(each) for each in networks])


def test_a_header_that_changes_gives_no_further_guesses():
    for peer in ("127.0.0.1", "10.0.0.1", "::1", "203.0.113.5"):
        access = Access(TOKENS, timer=Clock())
        answers = [
            asked(access, guess, client=peer, x_forwarded_for=f"198.51.100.{number}")
            for number, guess in enumerate(guesses(GUESSES_MAX + 100))
        ]
        assert answers == [401] * GUESSES_MAX + [429] * 100
    # nor does what is written in front of that which the proxy saw
    access = Access(TOKENS, timer=Clock(), proxies=behind("10.0.0.0/8"))
    answers = [
        asked(access, guess, client="10.0.0.1", x_forwarded_for=f"198.51.100.{number}, 203.0.113.5, 10.0.0.2")
        for number, guess in enumerate(guesses(GUESSES_MAX + 100))
    ]
    assert answers == [401] * GUESSES_MAX + [429] * 100


@pytest.mark.thorough
def test_guesses_take_little_room_wherever_they_come_from():
    access = Access(TOKENS, proxies=behind("10.0.0.1"))
    for number in range(ADDRESSES_MAX + 500):
        asked(access, "guess-0123456789", client="10.0.0.1", x_forwarded_for=f"2001:db8:{number:x}::1")
        asked(access, ANN, client="10.0.0.1", x_forwarded_for=f"2001:db8:{number:x}::1")
    assert len(access._guesses._full_at) == len(access._guesses._proven) == ADDRESSES_MAX


@over_each(
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("8.8.8.8", "198.51.100.7", "8.8.8.8"),
        ("127.0.0.1", "1.1.1.1, 8.8.4.4", "8.8.4.4"),
        ("127.0.0.2", "8.8.4.4", "127.0.0.2"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.1.2.3", "8.8.4.4, nonsense, 10.0.0.7", "10.0.0.7"),
        ("10.1.2.3", "1.1.1.1,8.8.4.4, 10.0.0.8 ,fd00::7", "8.8.4.4"),
        ("10.1.2.3", "10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("10.1.2.3", "8.8.4.4" + ",10.0.0.8" * PROXIES_MAX, "10.0.0.8"),
        ("::ffff:10.1.2.3", "::ffff:8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "", "8.8.8.8"),
        ("2a00:1450:4001:82a::200e", "", "2a00:1450:4001:82a::/64"),
        ("fe80::1%eth0", "2a00::5", "2a00::/64"),
        ("", "8.8.8.8", "?"),
    ]
)
def test_the_address_that_is_counted(peer, forwarded_for, address):
    proxies = behind("127.0.0.1", "10.0.0.0/8", "fd00::/8", "fe80::/10")
    assert proxies.address_of(peer, forwarded_for) == address


def test_each_header_of_a_proxy_counts_where_it_has_written_one_of_its_own():
    access = Access(TOKENS, timer=Clock(), proxies=behind("10.0.0.1"))
    for number, guess in enumerate(guesses(GUESSES_MAX)):
        asking = request(access=access, client="10.0.0.1", authorization=f"Bearer {guess}")
        of_client, of_proxy = (b"x-forwarded-for", b"198.51.100.%d" % number), (b"x-forwarded-for", b"203.0.113.5")
        asking.scope["headers"] += [of_client, of_proxy]
        assert access.refusal(asking).status_code == 401
    assert asked(access, ANN, client="10.0.0.1", x_forwarded_for="203.0.113.5") == 429


def test_a_header_of_a_peer_that_is_no_proxy_is_logged_once(caplog):
    access = Access(TOKENS)
    for settings in ((), (), [ip_network("10.0.0.0/8")]):
        access = access.with_settings(TOKENS, settings)
        for number in range(3):
            asked(access, ANN, client=f"192.168.0.{number}", x_forwarded_for="198.51.100.7")
            asked(access, ANN, client="10.0.0.1", x_forwarded_for="198.51.100.7")
    said = [record for record in caplog.records if "X-Forwarded-For" in record.getMessage()]
    assert [record.fields for record in said] == [{"peer": "192.168.0.0"}] * 2  # once more, with other settings
    assert "198.51.100.7" not in caplog.text


def token_of(secret, **settings):
    return validated(TokenConfig, {"name": "shop", "role": "ingest", "secret": secret, **settings})


def test_a_token_may_be_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", SHOP)
    file = tmp_path / "token"
    file.write_text(f"{SHOP}\r\n")
    for source in ({"env": "SHOP_TOKEN"}, {"file": str(file)}, SHOP):
        assert token_of(source).secret.reveal() == SHOP
    context = {"directory": str(tmp_path)}
    given = {"name": "shop", "role": "ingest", "secret": {"file": "token"}}
    assert TokenConfig.model_validate(given, context=context).secret.reveal() == SHOP


@pytest.mark.parametrize(
    ("secret", "got"),
    [
        ("", "an empty text"),
        ({"env": "EMPTY"}, "nothing: the environment variable EMPTY is empty"),
        ("hush", "a value that is not shown"),
        ("hush hush hush hush hush", "a value that is not shown"),
        ({"env": "NOT_SET"}, "nothing: the environment variable NOT_SET is not set"),
        ({"env": "SHORT"}, "another value in the environment variable SHORT, which is not shown"),
        ({"file": "/nowhere/token"}, "nothing: the file /nowhere/token cannot be read: no such file or directory"),
        ({"file": "/nowhere\0"}, "nothing: the file /nowhere\0 cannot be read: no UTF-8 text"),
        ({"env": "SHORT", "file": "x"}, "a mapping that is neither {env: NAME} nor {file: path}"),
        ({"hush": "hush"}, "a mapping that is neither {env: NAME} nor {file: path}"),
    ],
)
def test_a_problem_with_a_token_does_not_show_it(secret, got, monkeypatch):
    monkeypatch.setenv("SHORT", "hush")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        token_of(secret)
    assert refused.value.problems == [f"secret: wanted a token of at least 16 letters, digits or -._~+/=, got {got}"]


@pytest.mark.parametrize("padding", ["", "a" * 64, "0" * 64, " " * 64 + "b", "%" + "z" * 100])
@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8:1:2:3:4:5:6", "::ffff:203.0.113.9"])
def test_what_is_longer_than_an_address_is_none(address, padding):
    is_one = not padding or padding.startswith("%")  # a zone, which is no part of it
    proxies = behind("10.0.0.1")
    wanted = proxies.address_of(address, "")
    assert proxies.address_of("10.0.0.1", f"192.0.2.1, {address}{padding}") == (wanted if is_one else "10.0.0.1")
