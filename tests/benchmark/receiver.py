"""A receiver of webhooks that takes everything, as fast as Python can: ``python receiver.py`` says its port.

It knows no more of HTTP than where a request ends. It has a process of its own, and ends with its standard input.
"""

import asyncio
import re
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One connection, over which requests come one after the other."""

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._got += data
        while (head := self._got.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._got, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._got) < end:
                return
            self._got = self._got[end:]
            self._transport.write(ANSWER)


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
