"""The certificate authority of a world, which every client in it trusts.

`SSLContext.wrap_bio` (trio) and `wrap_socket` (threads) load it into a client's context just before a handshake,
however that context came about. Hostnames are checked as always. Certificates are valid at the real date, since OpenSSL
has a clock of its own; one that is `expired` was so before.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trustme

from simulation.scenario.world import HostConfig

_EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """Signs a certificate for each host of a world."""

    def __init__(self) -> None:
        self._trusted, self._other = trustme.CA(), trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._pem = self._trusted.cert_pem.bytes().decode("ascii")

    def context_of(self, host: str, config: HostConfig) -> ssl.SSLContext:
        if host not in self._contexts:
            authority = self._other if config.tls == "untrusted" else self._trusted
            certificate = authority.issue_cert(host, not_after=_EXPIRED if config.tls == "expired" else None)
            context = self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
        return self._contexts[host]

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Have every client in the process trust it meanwhile."""
        pem, told = self._pem, set[int]()
        real = {name: getattr(ssl.SSLContext, name) for name in ("wrap_bio", "wrap_socket")}

        def trusting(name: str) -> Any:
            def wrap(context: ssl.SSLContext, *args: Any, server_side: bool = False, **options: Any) -> Any:
                if not server_side and id(context) not in told:
                    told.add(id(context))
                    kept.append(context)  # so that no other context gets its id
                    context.load_verify_locations(cadata=pem)
                return real[name](context, *args, server_side=server_side, **options)

            return wrap

        kept: list[ssl.SSLContext] = []
        try:
            for name in real:
                setattr(ssl.SSLContext, name, trusting(name))
            yield
        finally:
            for name, function in real.items():
                setattr(ssl.SSLContext, name, function)
