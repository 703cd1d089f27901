"""Settings of the real transports: where a provider is, who we are there, and how many connections it may have.

How long an attempt may take is the channel's `timeout`, not a setting here: an attempt still under way is cancelled.
"""

from __future__ import annotations

import json
import re
import socket
from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, model_validator

from actors.errors import ConfigurationError
from actors.settings.base import NotEmpty, Settings, at_key, validated
from actors.settings.csv_column import DataFile
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveWholeNumber,
    Text,
    Wanted,
    matching,
    wanted,
    whole_number,
)
from actors.settings.secret import Secret
from actors.settings.whole_file import read_whole

KEY_FILE_BYTES_MAX = 2**20
"""The most bytes of the key file of a service account."""


def _port(value: Any, _unit_required: bool) -> int | None:
    return value if type(value) is int and 1 <= value <= 65535 else None


Connections = Annotated[int, whole_number(1, 10_000)]
"""Each is a file that is open."""

Port = Annotated[int, Wanted("a port between 1 and 65535", _port, {"type": "integer", "minimum": 1, "maximum": 65535})]


HeaderName = Annotated[str, matching("the name of a header", r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")]

CountryCode = Annotated[str, matching("a country calling code such as '+49'", r"\+[1-9][0-9]{0,2}")]


HOST_LENGTH_MAX, LABEL_LENGTH_MAX = 253, 63
"""Characters of a name in DNS and of each of its labels (RFC 1035, 2.3.4), dots included and that at the end not."""


def problem_of_host(host: str) -> str | None:
    """Return why no host can have this name in ASCII or this IPv4 address; None: a host may have it."""
    name = host.removesuffix(".")
    labels = name.split(".")
    longest = max(map(len, labels))
    if len(name) > HOST_LENGTH_MAX:
        return f"a host of {len(name):,} characters, of at most {HOST_LENGTH_MAX}"
    if "" in labels:
        return "an empty label in the host"
    if longest > LABEL_LENGTH_MAX:
        return f"a label of {longest} characters in the host, of at most {LABEL_LENGTH_MAX}"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return "a character in the host that no name has"
    if not all(map(_is_encoded, re.findall(r"(?<![^.])xn--[^.]*", name.lower()))):
        return "a label in the host that begins with xn-- and stands for none"
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1]):  # no name ends so: it is an address, in any notation
        try:
            socket.inet_aton(host)
        except OSError:
            return "a host that is neither a name nor an IPv4 address"
    return None


def _is_encoded(label: str) -> bool:
    try:
        return re.search(r"[^\x00-\x9f]", label[4:].encode().decode("punycode")) is not None
    except UnicodeError:
        return False


class TransportSettings(Settings):
    """A group of settings with secrets among them: an error about it does not show the given values."""

    model_config = ConfigDict(hide_input_in_errors=True)

    connect_timeout: PositiveDuration = 5.0
    """How long it may take to get a connection: to wait for a free one, and to open a new one. Below the channel's
    `timeout`, so that an attempt without a connection is known not to have been sent."""

    ca_file: DataFile | None = None
    """Certificates to trust, as a file in PEM; None: the operating system's. In a settings file the path is relative to
    that file."""


class SmtpConfig(TransportSettings):
    """A mail server that takes submissions."""

    host: Text
    """Its name, which its certificate must carry."""

    port: Port | None = None
    """None: 587 with STARTTLS, 465 with implicit TLS, 25 without TLS."""

    security: Literal["starttls", "implicit", "none"] = "starttls"
    """TLS from a STARTTLS command on (which the server must offer), from the first byte on, or never."""

    sender: Text
    """The mailbox that mails come from: ``shop@example.com`` or ``The Shop <shop@example.com>``."""

    username: Text | None = None
    """For the login; no login when None."""

    password: Secret | None = None
    """For the login."""

    local_hostname: Text | None = None
    """Our name in EHLO; this machine's name when None."""

    timeout: PositiveDuration = 60.0
    """How long the server may be silent during a mail before the connection is closed. An attempt that is cancelled
    does not wait for this."""

    connections: Connections = 4
    """How many there may be at once; the `max_in_flight` of a channel that is given none, and no more are used with
    one. What waits for one longer than the `connect_timeout` has not been tried, and waits on."""

    idle_max: PositiveDuration = 30.0
    """A connection that was idle for longer is not used again."""

    mails_per_connection: PositiveWholeNumber = 100
    """How many mails a connection sends before it is closed, since servers bound the number."""

    @model_validator(mode="after")
    def _login_is_whole_and_private(self) -> Self:
        if (self.username is None) != (self.password is None):
            key = "password" if self.password is None else "username"
            raise at_key(key, wanted("username and password, or neither", "one of them"), None)
        if self.password is not None and self.security == "none":
            raise at_key("security", wanted("starttls or implicit, where a password is sent", "none"), self.security)
        return self

    @property
    def port_used(self) -> int:
        """The port, the default one included."""
        return self.port or {"starttls": 587, "implicit": 465, "none": 25}[self.security]


class HttpSettings(TransportSettings):
    """A provider that is spoken to over HTTP."""

    connections: Connections = 20
    """How many there may be at once; the `max_in_flight` of a channel that is given none, and no more are used with
    one. What waits for one longer than the `connect_timeout` has not been tried, and waits on."""

    idle_max: PositiveDuration = 30.0
    """A connection that was idle for longer is closed."""


def _url(value: Any, _unit_required: bool) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[\x21-\x7e]+", value):
        return None
    try:
        host = urlsplit(value).hostname
    except ValueError:
        return None
    is_private = value.startswith("https://") or host in ("localhost", "127.0.0.1", "::1")
    return value if host and is_private and (":" in host or problem_of_host(host) is None) else None


CallbackUrl = Annotated[
    str,
    Wanted(
        "a URL such as https://api.example.com, and https unless it is on this machine",
        _url,
        {"type": "string", "pattern": r"^https?://\S+$"},
    ),
]
"""A URL that stays as it is: a slash at its end, an empty query and a fragment mean something to its server."""

ApiUrl = Annotated[CallbackUrl, AfterValidator(lambda url: url.rstrip("/"))]
"""A URL that paths are added to."""


class TwilioConfig(HttpSettings):
    """An account at Twilio, or at a provider with the same API."""

    account_sid: Text
    """Which account: ``AC…``."""

    auth_token: Secret
    """Its token, or the secret of `api_key`."""

    api_key: Text | None = None
    """The name of an API key (``SK…``) to log in with; the account itself when None."""

    sender: Text | None = None
    """The number or the name that messages come from; give this or a `messaging_service`."""

    messaging_service: Text | None = None
    """The service that chooses the number: ``MG…``."""

    base_url: ApiUrl = "https://api.twilio.com"

    status_callback: CallbackUrl | None = None
    """Where the provider reports the outcome of a message; the notification's id is added to it. None: nowhere."""

    country_code: CountryCode | None = None
    """The country of national numbers whose notification names none; numbers not valid there are refused, as are all
    such numbers when None."""

    idempotency_header: HeaderName | None = None
    """The header in which this provider takes an idempotency key. None: it has none, as Twilio."""

    @model_validator(mode="after")
    def _one_sender(self) -> Self:
        if (self.sender is None) == (self.messaging_service is None):
            got = "none" if self.sender is None else "both"
            raise at_key("sender", wanted("sender or messaging_service", got), self.sender)
        return self


def _network(value: Any, _unit_required: bool) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(value) if isinstance(value, (str, IPv4Network, IPv6Network)) else None
    except ValueError:
        return None


NetworkRange = Annotated[
    IPv4Network | IPv6Network,
    Wanted("a network such as 10.0.0.0/8", _network, {"type": "string", "pattern": "^[0-9A-Fa-f:./]+$"}, str),
]


class TargetSettings(HttpSettings):
    """Requests to addresses that other people choose."""

    connections: Connections = 100
    """How many connections there may be at once to one host. There are a quarter more in all, and a host gets at most
    four times as many as are free, so that a slow host leaves some to the others. A channel's `max_in_flight` is this
    number if it is left out or larger."""

    allow_networks: tuple[NetworkRange, ...] = ()
    """Networks that requests may go to although they are private, link-local, loopback, multicast or reserved."""

    allow_http: StrictBool = False
    """Whether requests may go out without TLS."""


class SigningKey(Secret):
    """A key of the Standard Webhooks specification: ``whsec_`` and 24 to 64 bytes in base64."""

    __slots__ = ()

    wanted_text: ClassVar[str] = "a signing key of whsec_ and 24 to 64 bytes in base64"

    @property
    def key(self) -> bytes:
        return b64decode(self.reveal().removeprefix("whsec_"))

    @classmethod
    def _is_well_formed(cls, text: str) -> bool:
        try:
            return text.startswith("whsec_") and 24 <= len(b64decode(text.removeprefix("whsec_"), validate=True)) <= 64
        except ValueError:
            return False


class WebhookConfig(TargetSettings):
    """How to sign webhooks, and where they may go."""

    signing_keys: Annotated[tuple[SigningKey, ...], NotEmpty()]
    """The keys to sign with. During a rotation the new and the old key, so that receivers may have either."""

    endpoint_keys: dict[Text, Annotated[tuple[SigningKey, ...], NotEmpty()]] = Field(default_factory=dict)
    """By URL: what to sign with in place of the `signing_keys`. Receivers who share a key could sign for each other."""

    client_errors: Literal["permanent", "transient"] = "permanent"
    """The meaning of a 4xx answer that no other rule covers."""


class FcmConfig(HttpSettings):
    """A Firebase project, and the service account that sends for it, whose key file has most of these settings."""

    project_id: Annotated[str, matching("the id of a project", r"[A-Za-z0-9:._-]+")]

    client_email: Text
    """The service account."""

    private_key: Secret
    """Its key, in PEM."""

    private_key_id: Text | None = None
    """Which of its keys that is."""

    token_uri: ApiUrl = "https://oauth2.googleapis.com/token"
    """The URL at which the service account gets its access tokens."""

    base_url: ApiUrl = "https://fcm.googleapis.com"

    refresh_before: Duration = 300.0
    """How long before its end an access token is renewed."""

    @classmethod
    def from_service_account(cls, path: Path, **settings: Any) -> Self:
        """Return the settings in the key file of a service account, and these; a ConfigurationError if it is none."""
        held, _ = held_in_key_file(path)
        if held is None:
            raise ConfigurationError([f"{path}: wanted the key file of a service account, in JSON"])
        return validated(cls, held | settings)


def held_in_key_file(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the settings that the key file of a service account holds; or None, and what is there."""
    try:
        content = json.loads(read_whole(path, KEY_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{path}: {(getattr(error, 'strerror', None) or 'no JSON').lower()}"
    if not isinstance(content, dict) or content.get("type") != "service_account":
        return None, f"another one: {path}"
    known = ("project_id", "client_email", "private_key", "private_key_id", "token_uri")
    return {key: content[key] for key in known if key in content}, ""


class WebPushConfig(TargetSettings):
    """Who we are to the push services of browsers (VAPID, RFC 8292)."""

    vapid_key: Secret
    """The private key, whose public one the browsers subscribed with: in PEM, or its 32 bytes in base64url."""

    subject: Annotated[str, matching("a mailto: or https: URL", r"(mailto:[^\s@]+@[^\s@]+|https://\S+)")]
    """Where the people of a push service reach us."""

    ttl: Duration = 86400.0
    """How long a message waits for a browser that is offline, where the notification does not say; not beyond its
    expiry."""

    urgency: Literal["very-low", "low", "normal", "high"] = "normal"
    """The urgency of a message whose notification does not name one."""
