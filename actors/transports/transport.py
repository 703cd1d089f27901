"""The parts that all real transports have in common: connections, which have an end, and certificates to trust."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from actors.domain.attempts import Provider
from actors.errors import ConfigurationError
from actors.settings.whole_file import read_whole

_CA_FILE_BYTES_MAX = 16 * 2**20

ANSWER_LENGTH_MAX = 1_000
"""Characters of a provider's answer that are kept with an outcome."""


class Transport(Provider):
    """A provider that holds connections: ``async with EmailProvider(…) as email, Notifier.open(…): …``.

    It works without the block too; then :meth:`aclose` closes its connections. Each kind is made of its settings, or a
    mapping of these, and a `clock`, which gives the seconds since 1970; it raises ConfigurationError where the settings
    cannot be used.
    """

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def connection_patience_s(at_most_s: float) -> float:
    """Return how many seconds to wait for one of our own connections to become free.

    `at_most_s`, and no longer than half of the attempt's remaining time, so that there is time left to use it.
    """
    left_s = trio.current_effective_deadline() - trio.current_time()
    return min(at_most_s, max(0.0, left_s / 2))


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies host names, and certificates by a file in PEM or the operating system's; raise
    ConfigurationError where there is no such file, or no certificate in it."""
    try:
        if ca_file is None:
            return ssl.create_default_context()
        # Read here, since OpenSSL waits for ever for a pipe. Text that is not ASCII stands in comments.
        held = read_whole(Path(ca_file), _CA_FILE_BYTES_MAX).decode("ascii", "ignore")
        return ssl.create_default_context(cadata=held)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            [f"ca_file: wanted a file of certificates in PEM, got {ca_file!r} ({error})"]
        ) from None
