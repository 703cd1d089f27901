"""Settings of the real transports: where a provider is, who we are there, and how many connections it may have.

How long an attempt may take is the channel's `timeout`, not a setting here: what is under way then is cancelled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from actors.quantities import PositiveDuration, PositiveWholeNumber, Text, Wanted, wanted
from actors.secret import Secret
from actors.settings import Settings, at_key


def _port(value: Any, _unit_required: bool) -> int | None:
    return value if type(value) is int and 1 <= value <= 65535 else None


Port = Annotated[int, Wanted("a port between 1 and 65535", _port, {"type": "integer", "minimum": 1, "maximum": 65535})]


class TransportSettings(Settings):
    """A group of settings with secrets among them: an error about it does not show what was there."""

    model_config = ConfigDict(hide_input_in_errors=True)

    connect_timeout: PositiveDuration = 5.0
    """How long it may take to get a connection: to wait for a free one, and to open a new one. Below the channel's
    `timeout`, so that what was not sent is known not to have been."""

    ca_file: Text | None = None
    """Certificates to trust, as a file in PEM; those of the operating system when None."""


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
    """What we call ourselves in EHLO; this machine's name when None."""

    timeout: PositiveDuration = 60.0
    """How long the server may be silent during a mail before the connection is given up. An attempt that is cancelled
    does not wait for this."""

    connections: PositiveWholeNumber = 4
    """How many there may be at once. A channel with more attempts in flight has them wait."""

    idle_max: PositiveDuration = 30.0
    """A connection that was idle for longer is not used again."""

    mails_per_connection: PositiveWholeNumber = 100
    """After so many a connection is closed, since servers do not take any number over one."""

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
