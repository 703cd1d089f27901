"""Who asks, and what they may do."""

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from actors.errors import ConfigurationError
from actors.service.http.access import SESSION_COOKIE, SESSION_S, Access, Principal, Role, TokenConfig, require
from actors.settings.base import validated

SHOP, ANN, OTTO = "shop-0123456789abcdef", "ann-0123456789abcdef", "otto-0123456789abcdef"
TOKENS = (
    TokenConfig(name="shop", role="ingest", secret=SHOP),
    TokenConfig(name="ann", role="reader", secret=ANN),
    TokenConfig(name="ötto", role="operator", secret=OTTO),
)


class State:
    def __init__(self, access):
        self.state = self.service = self
        self.access = access


def request(path="/api/dead-letters", access=None, **headers):
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": pairs, "app": State(access)}
    )


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


def in_session(session, path="/console/dead-letters"):
    return request(path, cookie=f"{SESSION_COOKIE}={session}")


def test_a_session_is_of_who_signed_in_for_a_shift_and_on_the_console_alone():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    assert access.begin_session("nobody's-0123456789") is None
    session = access.begin_session(OTTO)
    assert access.who(in_session(session)) == Principal("ötto", Role.OPERATOR)
    assert access.who(in_session(session, "/api/bulks")) is None
    clock.now += SESSION_S - 1
    assert access.who(in_session(session)) is not None
    clock.now += 1
    assert access.who(in_session(session)) is None


def test_a_session_outlives_the_process_but_not_its_token():
    session = Access(TOKENS).begin_session(ANN)
    assert Access(TOKENS).who(in_session(session)) == Principal("ann", Role.READER)
    assert Access(TOKENS[:1]).who(in_session(session)) is None
    renamed = TokenConfig(name="anna", role="reader", secret=ANN)
    assert Access([renamed]).who(in_session(session)) is None


def test_no_one_makes_a_session_of_their_own():
    access = Access(TOKENS)
    session = access.begin_session(ANN)
    name, end, rest = session.split(".", 2)
    for forged in (f"{name}.{int(end) + 1}.{rest}", f"b3R0bw==.{end}.{rest}", session[:-1], "", ".", "a.b.c.d"):
        assert access.who(in_session(forged)) is None


def test_a_form_is_of_the_session_it_was_made_for():
    access = Access(TOKENS)
    one, other = (in_session(access.begin_session(OTTO)) for _ in range(2))
    token = access.form_token(one)
    assert access.is_form_token(one, token)
    assert not access.is_form_token(other, token)
    assert not access.is_form_token(one, "")
    assert access.form_token(request("/console")) is None
    assert not access.is_form_token(request("/console"), token)


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
        ("hush", "a value that is not shown"),
        ("hush hush hush hush hush", "a value that is not shown"),
        ({"env": "NOT_SET"}, "an environment variable NOT_SET that is not set"),
        ({"env": "SHORT"}, "another one in SHORT"),
        ({"file": "/nowhere/token"}, "/nowhere/token: no such file or directory"),
        ({"file": "/nowhere\0"}, "/nowhere\0: no UTF-8 text"),
        ({"env": "SHORT", "file": "x"}, "a mapping that is neither {env: NAME} nor {file: path}"),
        ({"hush": "hush"}, "a mapping that is neither {env: NAME} nor {file: path}"),
    ],
)
def test_a_problem_with_a_token_does_not_show_it(secret, got, monkeypatch):
    monkeypatch.setenv("SHORT", "hush")
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        token_of(secret)
    assert refused.value.problems == [f"secret: wanted a token of at least 16 letters, digits or -._~+/=, got {got}"]
