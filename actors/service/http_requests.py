"""Requests of an HTTP/1.1 connection: h11 with bounds, and the ASGI scope of a request."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import h11

_BLANK_LINE = re.compile(rb"\n\r?\n")
"""The end of a head or of trailers, as h11 has it."""

_CHUNK_LINE = re.compile(rb"(?:\r?\n)?([0-9A-Fa-f]+)[^\n]*\r\n")
"""The line before a part of a body in parts; the line end of the part before it may be left."""

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
"""A Host header (RFC 9110, section 7.2); what else there is would be an address that cannot be parsed."""

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
"""The beginning of a target as proxies are sent it, which a server has to take as well (RFC 9112, section 3.2.2)."""

Message = MutableMapping[str, Any]


class Ended(Exception):
    """A connection is to end: with this status where it can still be sent, else without a word."""

    def __init__(self, status: int | None = None, why: str = "") -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


class _Comes(Enum):
    LINES = auto()
    """A head, or trailers."""
    CHUNK_LINE = auto()
    CONTENT = auto()


class BoundedParser(h11.Connection):
    """A server's side of h11, with bounds also for complete heads and trailers, and for the number of headers."""

    def __init__(self, head_bytes: int, headers_max: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes)
        self._head_bytes, self._headers_max = head_bytes, headers_max
        self._comes = _Comes.LINES

    def start_next_cycle(self) -> None:
        super().start_next_cycle()
        self._comes = _Comes.LINES

    def next_event(self) -> Any:
        """Return what h11 makes of the bytes that have come; raise Ended where a head or trailers are beyond their
        bounds."""
        if self._comes is not _Comes.CONTENT:
            self._check_lines(b"\n" + self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            is_chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
            self._comes = _Comes.CHUNK_LINE if is_chunked else _Comes.CONTENT
        elif isinstance(event, h11.Data) and event.chunk_end:
            self._comes = _Comes.CHUNK_LINE
        return event

    def _check_lines(self, data: bytes) -> None:
        """Check the lines that come next, behind the line end that `data` begins with."""
        if self._comes is _Comes.CHUNK_LINE:
            line = _CHUNK_LINE.match(data, 1)
            if line is None:
                return
            self._comes = _Comes.CONTENT if line[1].strip(b"0") else _Comes.LINES
            data = data[line.end() - 1 :]
        if self._comes is _Comes.LINES:
            data = data[: self._head_bytes + 2]
            end = _BLANK_LINE.search(data)
            lines = data if end is None else data[: end.end()]
            if len(lines) > self._head_bytes + 1 or lines.count(b"\n") > self._headers_max + 3:
                why = f"wanted at most {self._head_bytes:,} bytes and {self._headers_max} headers"
                raise Ended(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)


def scope_of(request: h11.Request, client: tuple[str, int], server: tuple[str, int]) -> Message:
    """Return the ASGI scope of a request; raise Ended where none is served like that."""
    headers = list(request.headers)
    names = {name for name, _ in headers}
    if request.http_version not in (b"1.0", b"1.1"):
        raise Ended(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "wanted HTTP/1.1")
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise Ended(HTTPStatus.BAD_REQUEST, "wanted one length of the body")
    if request.method == b"CONNECT":
        raise Ended(HTTPStatus.NOT_IMPLEMENTED, "this is no proxy")
    target = request.target
    if (absolute := _ABSOLUTE.match(target)) is not None:
        target = target[absolute.end() :]
        target = target if target.startswith(b"/") else b"/" + target
        headers = [(name, absolute[1] if name == b"host" else value) for name, value in headers]
    elif not target.startswith(b"/") and target != b"*":
        raise Ended(HTTPStatus.BAD_REQUEST, "wanted a path")
    if not all(_HOST.fullmatch(value) for name, value in headers if name == b"host"):
        raise Ended(HTTPStatus.BAD_REQUEST, "wanted a Host header with a host")
    path, _, query = target.partition(b"?")
    try:
        text = unquote(path.decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        raise Ended(HTTPStatus.BAD_REQUEST, "wanted a path in UTF-8") from None
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii").upper(),
        "scheme": "http",
        "path": text,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": server,
    }
