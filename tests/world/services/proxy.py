"""A little gateway: takes requests over TCP, asks a backend over TLS by hand, and answers 502 when that fails."""

import ssl

import trio

BACKEND = "api.example.com"
CONTEXT = ssl.create_default_context()
slots = trio.Semaphore(20)


async def ask_backend(request):
    stream = await trio.open_ssl_over_tcp_stream(BACKEND, 443, ssl_context=CONTEXT, https_compatible=True)
    async with stream:
        head = (
            f"POST /gateway HTTP/1.1\r\nhost: {BACKEND}\r\ncontent-length: {len(request)}\r\nconnection: close\r\n\r\n"
        )
        await stream.send_all(head.encode() + request)
        return b"".join([part async for part in stream])


async def handle(stream):
    request = (await stream.receive_some(65536)).partition(b"\r\n\r\n")[2]
    answer = b""
    async with slots:
        for wait in (0, 1, 2):
            await trio.sleep(wait)
            with trio.move_on_after(1.5):
                try:
                    answer = await ask_backend(request)
                except (OSError, trio.BrokenResourceError):
                    continue
                if b" 200 " in answer[:20]:
                    break
    status = b"200 OK" if b" 200 " in answer[:20] else b"502 Bad Gateway"
    await stream.send_all(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


async def main():
    await trio.serve_tcp(handle, 8000)
