"""What comes to the routes for delivery reports: status callbacks with any query, form and signature, and mails."""

import base64
import hashlib
import hmac
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

import kind_mails
from bounds import Kind
from served import SHOP, service

TOKEN, CALLBACK = "0123456789abcdef0123456789abcdef", "https://shop.example/callbacks/twilio"
ACCOUNT = {"account_sid": "AC1", "auth_token": TOKEN, "sender": "+4930123456", "status_callback": CALLBACK}
NAMES = (
    "MessageSid",
    "SmsSid",
    "MessageStatus",
    "SmsStatus",
    "To",
    "ErrorCode",
    "ErrorMessage",
    "notification_id",
    "X",
)
VALUES = (
    "SM1", "delivered", "undelivered", "failed", "sent", "30005", "21610", "9" * 5_000, "-1", "٣", "+4930999", "n-1",
    "", " ", "\0", "a\r\nb", "\u2028", "\ud800", "x" * 3_000, "whatsapp:+4930999", "ä" * 700, "%", "&=;",
)  # fmt: skip


class Callback(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


def _signed(url: str, body: bytes) -> str:
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(TOKEN.encode(), text.encode(errors="replace"), hashlib.sha1)).decode()


def _pairs(random: Random, at_most: int) -> list[tuple[str, str]]:
    return [(random.choice(NAMES), random.choice(VALUES)) for _ in range(random.randrange(at_most))]


def draw(random: Random) -> Callback:
    """Return a request to one of the routes."""
    if random.random() < 0.1:
        return Callback("/callbacks/bounces", {"authorization": f"Bearer {SHOP}"}, kind_mails.draw(random))
    pairs = [("MessageSid", f"SM{random.randrange(3)}"), ("MessageStatus", "undelivered"), ("To", "+4930999")]
    pairs = pairs[: random.choice((3, 3, 3, 2))] + _pairs(random, random.choice((3, 12, 200)))
    body = urlencode(pairs, errors="surrogatepass").encode()
    body = random.choice((body, body, body, body + b"&%ff=\xff", b"&" * 70_000, random.randbytes(90)))
    query = urlencode(_pairs(random, random.choice((1, 2, 9, 150))), errors="surrogatepass")[:8_000]
    url = random.choice((CALLBACK, "https://shop.example:443/callbacks/twilio")) + (f"?{query}" if query else "")
    signature = random.choice((*[_signed(url, body)] * 6, "", "=", "a" * 9_000))
    return Callback(f"/callbacks/twilio?{query}".rstrip("?"), {"x-twilio-signature": signature}, body)


@asynccontextmanager
async def opened() -> AsyncIterator[Callable[[Callback], Awaitable[None]]]:
    with tempfile.TemporaryDirectory() as folder:
        transports = {"email": {"simulated": True}, "sms": {"twilio": ACCOUNT}}
        async with service(Path(folder), transports=transports) as served:

            async def feed(callback: Callback) -> None:
                answer = await served.client.post(callback.path, content=callback.body, headers=callback.headers)
                assert answer.status_code in (200, 204, 400, 403, 413), answer.text
                assert all(each.address.isprintable() for each in served.server._store.suppressions)

            yield feed


KIND = Kind("callbacks", draw, opened=opened, short=6)
