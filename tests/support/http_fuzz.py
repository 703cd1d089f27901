"""What a stranger may send to an HTTP server: broken requests, upgrades, frames of HTTP/2 and WebSocket, and noise."""

from collections.abc import Callable
from random import Random

import trio

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"\xe9", b"GE T", b"")
_TARGETS = (
    b"/", b"/console", b"/console/sign-in", b"/metrics", b"/events", b"/healthz/live", b"*", b"//", b"a:1", b"",
    b"/%00", b"/%ff%fe", b"/\xff", b"http://[/", b"http://a/", b"/api/dead-letters/%0a", b"/api/audit?id=%00",
)  # fmt: skip
_HEADERS = (
    b"Host: a", b"Host: [", b"Host: \xff", b"Host:", b"Content-Length: 3", b"Content-Length: -1",
    b"Content-Length: 99999999999999999999", b"Content-Length: " + b"9" * 30, b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: \x0bchunked", b"Expect: 100-continue",
    b"Connection: close", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Upgrade: websocket",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"HTTP2-Settings: !", b"HTTP2-Settings: \xff",
    b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Protocol: \xff",
    b"Sec-WebSocket-Extensions: permessage-deflate; \xe9", b"Origin: http://[", b"Cookie: retrylab_session=.",
    b"Cookie: \xff=\x80", b"Authorization: Bearer " + b"x" * 300, b"Authorization: \xff", b" folded", b"no colon",
    b"Content-Type: application/x-www-form-urlencoded", b"X: " + b"y" * 17_000,
)  # fmt: skip
_VERSIONS = (b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1\xff", b"")


def _request(random: Random) -> bytes:
    headers = [b"Host: a", *random.sample(_HEADERS, random.randrange(6))]
    random.shuffle(headers)
    line = b" ".join((random.choice(_METHODS[:4] * 3 + _METHODS), random.choice(_TARGETS), random.choice(_VERSIONS)))
    body = random.choice(
        (b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffffffff\r\n", b"-1\r\n", b"\xff" * 40)
    )
    return b"\r\n".join((line, *headers, b"", body))


def _pipelined(random: Random) -> bytes:
    return b"".join(_request(random) for _ in range(random.randrange(2, 6)))


def _noise(random: Random) -> bytes:
    return random.randbytes(random.randrange(1, 3_000))


def _flipped(random: Random) -> bytes:
    sent = bytearray(_request(random))
    for _ in range(random.randrange(1, 8)):
        sent[random.randrange(len(sent))] = random.randrange(256)
    return bytes(sent)


def _field(name: bytes, value: bytes) -> bytes:
    """Return a header as HPACK writes one that is not indexed (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _frames(random: Random) -> bytes:
    """Return HTTP/2 with prior knowledge: sound frames of which some lie, and frames of noise."""
    frames = [_frame(4, 0, 0, b"")]
    for number in range(random.randrange(1, 5)):
        method = random.choice((b"GET", b"CONNECT", b"\xff\x80", b"POST"))
        fields = [_field(b":method", method)]
        if random.random() < 0.7:
            fields.append(_field(b":path", random.choice((b"/", b"/\xff", b"", b"*", b"[" * 20))))
        if random.random() < 0.7:
            fields.append(_field(b":scheme", random.choice((b"http", b"\xff"))))
        if random.random() < 0.5:
            fields.append(_field(b":protocol", b"websocket"))
        if random.random() < 0.5:
            fields.append(_field(b":authority", random.choice((b"a", b"[", b"\xff"))))
        frames.append(_frame(1, random.choice((4, 5, 0)), 2 * number + 1, b"".join(fields)))
        if random.random() < 0.4:
            frames.append(_frame(random.randrange(12), random.randrange(256), random.randrange(9), random.randbytes(9)))
    return _PREFACE + b"".join(frames)


def _upgraded(random: Random) -> bytes:
    """Return an upgrade, with what would follow it."""
    is_websocket = random.random() < 0.5
    headers = [header for header in _HEADERS if header.startswith(b"Sec-W" if is_websocket else b"HTTP2")]
    chosen = random.sample(headers, random.randrange(1, len(headers) + 1))
    asked = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + (b"websocket" if is_websocket else b"h2c")]
    head = b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *asked, *chosen, b"", b""))
    return head + (random.randbytes(40) if is_websocket else _frames(random))


ATTACKS: dict[str, Callable[[Random], bytes]] = {
    "request": _request,
    "pipelined": _pipelined,
    "noise": _noise,
    "flipped": _flipped,
    "frames": _frames,
    "upgraded": _upgraded,
}


def attack_bytes(random: Random, name: str | None = None) -> bytes:
    """Return what to send in one connection."""
    return ATTACKS[name or random.choice(sorted(ATTACKS))](random)


def count_in(sent: bytes) -> int:
    """Return how many requests and frames there are in it, at the least."""
    requests, _, frames = sent.partition(_PREFACE)
    count = max(1, requests.count(b"\r\n\r\n"))
    while len(frames) >= 9:
        count += 1
        frames = frames[9 + int.from_bytes(frames[:3], "big") :]
    return count


async def attack(random: Random, stream: trio.SocketStream, name: str | None = None) -> int:
    """Send it, whole or in parts; then leave, at once or after an answer. Return how many requests and frames."""
    sent = attack_bytes(random, name)
    try:
        cut = random.randrange(len(sent) + 1)
        await stream.send_all(sent[:cut])
        await stream.send_all(sent[cut:])
        if random.random() < 0.5:
            await stream.send_eof()
            await stream.receive_some()
    except trio.BrokenResourceError:
        pass
    return count_in(sent)
