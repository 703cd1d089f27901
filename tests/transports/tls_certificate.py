"""A certificate of a server on loopback."""

import ssl
from typing import NamedTuple


class Tls(NamedTuple):
    """A certificate for 127.0.0.1 and localhost, and the authority that vouches for it."""

    server: ssl.SSLContext
    ca_file: str
