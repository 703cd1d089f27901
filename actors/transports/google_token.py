"""Access tokens of a Google service account, by the JWT bearer grant (RFC 7523).

================================== =============== ================================================================
the token endpoint                 outcome         because
================================== =============== ================================================================
2xx with a token                   (the token)     it lasts as long as `expires_in` says, as a number or as text, and an
                                                   hour where that is absent or unreadable (RFC 6749, 5.1; RFC 7523)
429                                Transient,      too fast; after Retry-After
                                   throttled
408, 425                           Transient       it may be asked again (RFC 9110, 15.5.9; RFC 8470, 5.2)
temporarily_unavailable,           Transient       it says so, as `error` or `error_description`, with any status but
server_error, internal_failure                     2xx (RFC 6749, 4.1.2.1; google-auth repeats these)
5xx, no connection, lost, an       Transient       no message was sent yet
answer of 2xx or 4xx cut off, no
answer in half of the time that
the attempt has left
certificate does not verify        ChannelFault    nothing was said, and nothing will be
anything else                      ChannelFault    the account or its key is not known there (RFC 6749, 5.2)
================================== =============== ================================================================

A row without a source follows from the state of the request: see :mod:`actors.transports.http_exchange`.

Whoever wants a token while one is asked for shares its answer, a failure too, and no token is asked for before the
Retry-After of a failure is over, or an hour.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import trio

from actors.errors import ConfigurationError
from actors.optional_dependencies import needs
from actors.outcomes import ChannelFault, Outcome, Transient
from actors.settings.base import NOT_SHOWN
from actors.settings.transports import FcmConfig
from actors.transports.http_exchange import Failed, HttpAnswer, HttpExchange

with needs("live"):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIFE_S: Final = 3600
"""An hour, the longest that Google takes."""


TOKEN_LIFE_S: Final = 3600.0
"""The life of a token whose answer does not say it: as long as Google's tokens last."""

HEEDED_FOR_MAX_S: Final = 3600.0
"""After this a token is asked for again, whatever the Retry-After of a failure said."""

REPEATABLE_ERRORS: Final = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})


class _Token(msgspec.Struct, frozen=True):
    text: str
    renew_at: float
    """The instant from which it is renewed, in seconds since 1970."""


class _Failure(msgspec.Struct, frozen=True):
    outcome: Outcome
    at: float
    """The instant of the failure, on trio's clock."""

    @property
    def wait_s(self) -> float:
        """The rest of its Retry-After."""
        asked_s = self.outcome.retry_after if isinstance(self.outcome, Transient) else None
        return 0.0 if asked_s is None else max(0.0, self.at + asked_s - trio.current_time())

    @property
    def is_over(self) -> bool:
        return self.wait_s == 0 or trio.current_time() >= self.at + HEEDED_FOR_MAX_S

    def shared(self) -> Failed:
        outcome = self.outcome
        if isinstance(outcome, Transient) and outcome.retry_after is not None:
            outcome = msgspec.structs.replace(outcome, retry_after=self.wait_s)
        return Failed(outcome)


class GoogleToken:
    """The access token of a service account, renewed before it ends, by one of its callers while the others wait.

    Raises:
        ConfigurationError: the account's key is no RSA key in PEM.
    """

    def __init__(self, config: FcmConfig, http: HttpExchange, clock: Callable[[], float]) -> None:
        try:
            key = load_pem_private_key(config.private_key.reveal().encode(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ConfigurationError([f"private_key: wanted an RSA key in PEM, got {NOT_SHOWN}"])
        self._key = key
        self._config = config
        self._http = http
        self._clock = clock
        self._lock = trio.Lock()
        self._token: _Token | None = None
        self._failure: _Failure | None = None

    async def get(self, *, refused: str | None = None) -> str:
        """Return a token that is valid now, and is not the one that was `refused`; raise Failed where there is none."""
        failure_before = self._failure
        is_renewing = False
        # Were it waited for to the end of the attempt, that would count as one whose message may have been sent.
        patience_s = max(0.0, trio.current_effective_deadline() - trio.current_time()) / 2
        with trio.move_on_after(patience_s):
            async with self._lock:
                if self._token is not None and self._token.text == refused:
                    self._token = None
                if self._token is not None and self._clock() < self._token.renew_at:
                    return self._token.text
                failure = self._failure
                if failure is not None and (failure is not failure_before or not failure.is_over):
                    raise failure.shared()
                is_renewing = True
                try:
                    self._token = await self._renewed()
                except Failed as failed:
                    self._failure = _Failure(failed.outcome, trio.current_time())
                    raise
                self._failure = None
                return self._token.text
        outcome = Transient(reason="no access token: no answer in time")
        if is_renewing:  # and a task that waits now has not run yet
            self._failure = _Failure(outcome, trio.current_time())
        raise Failed(outcome)

    async def _renewed(self) -> _Token:
        content = urlencode({"grant_type": GRANT, "assertion": self._assertion()}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._http.post(self._config.token_uri, headers, content)
        except Failed as failed:
            outcome = failed.outcome
            if not isinstance(outcome, ChannelFault):
                wait, unconnected = None, False
                if isinstance(outcome, Transient):
                    wait, unconnected = outcome.retry_after, outcome.connection
                reason = f"no access token: {outcome.reason}"
                outcome = Transient(reason=reason, answer=outcome.answer, retry_after=wait, connection=unconnected)
            raise Failed(outcome) from None
        if answer.cut_off and answer.status < 300:
            raise Failed(Transient(reason="no access token: answer cut off"))
        said = answer.json
        text = said.get("access_token")
        if not (200 <= answer.status < 300 and isinstance(text, str) and re.fullmatch(r"[\x21-\x7e]+", text)):
            raise Failed(outcome_of_answer(answer))
        lasts_s = _seconds(said.get("expires_in"))
        return _Token(text, answer.at + max(lasts_s - self._config.refresh_before, lasts_s / 2))

    def _assertion(self) -> str:
        config, now = self._config, int(self._clock())
        header = {"alg": "RS256", "typ": "JWT"}
        if config.private_key_id is not None:
            header["kid"] = config.private_key_id
        claims = {"iss": config.client_email, "scope": SCOPE, "aud": config.token_uri, "iat": now}
        signed = f"{_base64url(header)}.{_base64url(claims | {'exp': now + ASSERTION_LIFE_S})}"
        signature = self._key.sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _base64url(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def _seconds(expires_in: Any) -> float:
    try:
        lasts_s = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return TOKEN_LIFE_S
    return max(0.0, lasts_s) if math.isfinite(lasts_s) else TOKEN_LIFE_S


def outcome_of_answer(answer: HttpAnswer) -> Outcome:
    # Not the whole of a success: it may hold a token.
    text = answer.text if answer.status >= 300 else None
    reason = f"no access token: HTTP {answer.status}"
    said = answer.json
    is_repeatable = answer.status >= 300 and any(
        isinstance(word := said.get(key), str) and word in REPEATABLE_ERRORS for key in ("error", "error_description")
    )
    if answer.status == 429:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=True)
    if is_repeatable or answer.status >= 500 or answer.status in (408, 425):
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after)
    return ChannelFault(reason=reason, answer=text)
