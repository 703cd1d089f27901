"""Access tokens of a Google service account, by the JWT bearer grant (RFC 7523).

================================== =============== ================================================================
the token endpoint                 outcome         because
================================== =============== ================================================================
2xx with a token                   (the token)     it lasts as long as `expires_in` says
429                                Transient,      too fast; after Retry-After
                                   throttled
5xx, no connection, lost, an       Transient       no message was sent yet
answer of 2xx or 4xx cut off
certificate does not verify        ChannelFault    nothing was said, and nothing will be
anything else                      ChannelFault    the account or its key is not known there
================================== =============== ================================================================
"""

from __future__ import annotations

import base64
import json
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
from actors.transports.http_exchange import Answer, Failed, HttpExchange

with needs("live"):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIFE_S: Final = 3600
"""An hour, the longest that Google takes."""


class _Token(msgspec.Struct, frozen=True):
    text: str
    renew_at: float
    """Seconds since 1970."""


class GoogleToken:
    """The access token of a service account, renewed before it ends, by one of its callers while the others wait.

    Raises:
        ConfigurationError: the account's key is no RSA key in PEM.
    """

    def __init__(self, config: FcmConfig, http: HttpExchange, clock: Callable[[], float]) -> None:
        self._key = _rsa_key(config.private_key.reveal())
        self._config = config
        self._http = http
        self._clock = clock
        self._lock = trio.Lock()
        self._token: _Token | None = None

    async def get(self, *, refused: str | None = None) -> str:
        """Return a token that is valid now, and is not the one that was `refused`.

        Raises:
            Failed: there is none.
        """
        async with self._lock:
            token = self._token
            if token is None or token.text == refused or self._clock() >= token.renew_at:
                token = self._token = await self._renewed()
            return token.text

    async def _renewed(self) -> _Token:
        content = urlencode({"grant_type": GRANT, "assertion": self._assertion()}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._http.post(self._config.token_uri, headers, content)
        except Failed as failed:
            outcome = failed.outcome
            if not isinstance(outcome, ChannelFault):
                wait = outcome.retry_after if isinstance(outcome, Transient) else None
                reason = f"no access token: {outcome.reason}"
                outcome = Transient(reason=reason, answer=outcome.answer, retry_after=wait)
            raise Failed(outcome) from None
        if answer.cut_off and answer.status < 300:
            raise Failed(Transient(reason="no access token: answer cut off"))
        said = answer.json
        text, lasts_s = said.get("access_token"), said.get("expires_in")
        if not (
            200 <= answer.status < 300
            and isinstance(text, str)
            and text.isascii()
            and isinstance(lasts_s, (int, float))
        ):
            raise Failed(_outcome(answer))
        return _Token(text, answer.at + max(0.0, lasts_s - self._config.refresh_before))

    def _assertion(self) -> str:
        config, now = self._config, int(self._clock())
        header = {"alg": "RS256", "typ": "JWT"}
        if config.private_key_id is not None:
            header["kid"] = config.private_key_id
        claims = {"iss": config.client_email, "scope": SCOPE, "aud": config.token_uri, "iat": now}
        signed = f"{_base64url(header)}.{_base64url(claims | {'exp': now + ASSERTION_LIFE_S})}"
        signature = self._key.sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _rsa_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError([f"private_key: wanted an RSA key in PEM, got {NOT_SHOWN}"])
    return key


def _base64url(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def _outcome(answer: Answer) -> Outcome:
    # Not the whole of a success: it may hold a token.
    text = answer.text if answer.status >= 300 else None
    reason = f"no access token: HTTP {answer.status}"
    if answer.status == 429:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=True)
    if answer.status >= 500:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after)
    return ChannelFault(reason=reason, answer=text)
