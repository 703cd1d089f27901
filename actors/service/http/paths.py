"""Routes to something by its id, which may be any text.

A client writes an id as one part of the path, percent-encoded, so that an encoded slash is a character of the id
(RFC 3986, section 2.2). A slash that stands as it is belongs to the id too, unless the path then ends as that of an
action does: ``POST /notifications/a/cancel`` cancels ``a``, ``GET /notifications/a%2Fcancel`` shows ``a/cancel``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope


class _Text(Convertor[str]):
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value


register_url_convertor("text", _Text())


class IdRoute(Route):
    """A route whose path ends with ``{id:text}``, or with a word, such as that of an action behind an id.

    `actions` are the words with which other paths end that begin as this one does.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        method: str,
        actions: tuple[str, ...] = (),
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self._actions = actions
        *before, last = path.split("/")
        self._word = None if last.startswith("{") else last
        self._parts = len(before) + 1

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is not Match.NONE and self._is_meant(scope) else (Match.NONE, {})

    def _is_meant(self, scope: Scope) -> bool:
        parts = scope.get("raw_path", scope["path"].encode()).split(b"/")
        last = unquote(parts[-1].decode("ascii", "replace"))
        if self._word is not None:
            return last == self._word
        return last not in self._actions or len(parts) <= self._parts
