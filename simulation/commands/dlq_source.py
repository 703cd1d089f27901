"""Where ``retrylab dlq`` asks: a running service over HTTP, or the file of a store, which needs no service."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from actors.settings.whole_file import read_whole

if TYPE_CHECKING:
    import httpx2

    from actors.messages import DeadLetterMessage
    from actors.service.operations.queries import Filter
    from actors.storage.sqlite.reading import SqliteReader

TIMEOUT_S = 30.0

Document = dict[str, Any]


class CannotAsk(Exception):
    """The question makes no sense, or no service is there to answer it. The arguments are the lines to print."""


class NotDone(Exception):
    """The service has understood, and has not done it: the notification is unknown, or no dead letter any more."""


class Source(Protocol):
    """Answers questions about dead letters, with the documents of the service's JSON API."""

    def get(self, path: str, **query: Any) -> Document:
        """Return the document at a path under ``/api/``.

        Raises:
            CannotAsk: it cannot be asked, or not here.
            NotDone: there is no such thing.
        """

    def post(self, path: str, content: Document) -> Document:
        """Order something, and return the result.

        Raises:
            CannotAsk: it cannot be ordered, or not here.
            NotDone: it was not done.
        """


# ── a running service ───────────────────────────────────────────────────────────────────────────────────────────────


class Service:
    def __init__(self, client: httpx2.Client, url: str, *, has_token: bool) -> None:
        self._client = client
        self._url = url
        self._has_token = has_token

    def get(self, path: str, **query: Any) -> Document:
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, content: Document) -> Document:
        return self._ask("POST", path, json={name: value for name, value in content.items() if value is not None})

    def _ask(self, method: str, path: str, **how: Any) -> Document:
        import httpx2

        try:
            answer = self._client.request(method, f"{self._url}/api/{path}", **how)
        except httpx2.TimeoutException:
            raise CannotAsk(f"{self._url}: no answer within {TIMEOUT_S:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            raise CannotAsk(f"{self._url}: cannot be reached: {reason}") from None
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise CannotAsk(f"{self._url}: answered {answer.status_code} and no JSON: is it a service of retrylab?")
        if answer.status_code < 300:
            return said
        detail = str(said.get("detail", f"answered {answer.status_code}"))
        match answer.status_code:
            case 401:
                known = "the service does not know this token" if self._has_token else "the service wants a token"
                raise CannotAsk(f"{self._url}: {known}; put one into RETRYLAB_TOKEN, or a file for --token-file")
            case 404 | 409:
                raise NotDone(detail)
            case 422 if isinstance(said.get("problems"), list):
                raise CannotAsk(*map(str, said["problems"]))
            case _:
                raise CannotAsk(f"{self._url}: {detail}")


@contextmanager
def service(url: str, token: str | None) -> Iterator[Service]:
    """Ask the service at a URL.

    Raises:
        CannotAsk: it is no URL, the token cannot be in a header, or the extra is missing.
    """
    try:
        import httpx2
    except ModuleNotFoundError:
        raise CannotAsk("wanted the extra retrylab[live], got no httpx2") from None
    if not re.match("https?://[^/]", url):
        raise CannotAsk(f"--url: wanted a URL such as http://localhost:8080, got {url!r}")
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise CannotAsk("the token: wanted visible ASCII characters, got others")
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with httpx2.Client(headers=headers, timeout=TIMEOUT_S) as client:
        yield Service(client, url.rstrip("/"), has_token=token is not None)


# ── a store's file ──────────────────────────────────────────────────────────────────────────────────────────────────


class LettersOfStore:
    def __init__(self, store: SqliteReader) -> None:
        self._store = store

    @cached_property
    def _by_id(self) -> dict[str, DeadLetterMessage]:
        return {letter.notification_id: letter for letter in self._store.dead_letters()}

    @property
    def letters(self) -> Iterable[DeadLetterMessage]:
        return self._by_id.values()

    @property
    def ids(self) -> list[str]:
        return list(self._by_id)

    def letter(self, notification_id: str) -> DeadLetterMessage | None:
        return self._by_id.get(notification_id)


_ONLY_LOOKED_AT = "--store: a file is only looked at; wanted the --url of a running service"


class StoreFile:
    """The file of a store, only to be looked at."""

    def __init__(self, store: SqliteReader) -> None:
        self._store = store
        self._letters = LettersOfStore(store)

    def get(self, path: str, **query: Any) -> Document:
        from actors.service.operations import json as documents
        from actors.service.operations.queries import grouped, paged, read_cursor

        given = {name: value for name, value in query.items() if value is not None}
        kind, _, rest = path.partition("/")
        if kind == "bulks":
            raise CannotAsk(_ONLY_LOOKED_AT)
        if kind == "audit":
            entries = self._wait(self._store.audit_trail(limit=given["limit"], notification_id=given.get("id")))
            return {"audit": [documents.of_audit(entry) for entry in entries]}
        if kind == "endpoints":
            return documents.of_endpoints(self._store.endpoints, given["limit"], given.get("state"))
        if kind == "notifications":
            return self._show(rest)
        if rest == "groups":
            by = given.pop("by")
            groups = grouped(self._filter(given).fitting(self._letters.letters), by)
            return {"by": by, "groups": [documents.of_group(group) for group in groups]}
        limit, newest_first, after = given.pop("limit"), given.pop("order") == "newest", given.pop("after", None)
        if after is not None and read_cursor(after) is None:
            raise CannotAsk(f"--after: wanted the value that a page prints, got {after!r}")
        page = paged(self._letters, self._filter(given), limit=limit, after=after, newest_first=newest_first)
        return {"dead_letters": [documents.of_letter(letter) for letter in page.letters], "next": page.next}

    def post(self, path: str, content: Document) -> Document:
        raise CannotAsk(_ONLY_LOOKED_AT)

    @staticmethod
    def _filter(given: Mapping[str, Any]) -> Filter:
        from actors.errors import ConfigurationError
        from actors.service.operations.queries import filter_of

        try:
            return filter_of(given)
        except ConfigurationError as error:
            raise CannotAsk(*error.problems) from None

    def _show(self, quoted_id: str) -> Document:
        from urllib.parse import unquote

        from actors.service.operations import json as documents
        from actors.service.operations.timeline import timeline

        shown = self._wait(timeline(self._store, unquote(quoted_id), time.time_ns()))
        if shown is None:
            raise NotDone("no notification with this id is known, or it is no longer known")
        return documents.of_timeline(shown)

    @staticmethod
    def _wait(question: Any) -> Any:
        import trio

        async def answer() -> Any:
            return await question

        return trio.run(answer)


@contextmanager
def store_file(where: str) -> Iterator[StoreFile]:
    """Look into the store that ``sqlite:path`` names.

    Raises:
        CannotAsk: it names none, or one that cannot be read.
    """
    from actors.errors import StoreError
    from actors.storage.sqlite.reading import reading

    kind, _, path = where.partition(":")
    if kind != "sqlite" or not path:
        raise CannotAsk(f"--store: wanted sqlite: and the path of a file, got {where!r}")
    try:
        with reading(path) as store:
            yield StoreFile(store)
    except StoreError as error:
        raise CannotAsk(f"--store: {error}") from None


def source(
    url: str | None, token: str | None, token_file: Path | None, store: str | None
) -> AbstractContextManager[Source]:
    """Return where to ask, as the options say.

    Raises:
        CannotAsk: they say nothing, or too much.
    """
    if store is not None:
        return store_file(store)
    if url is None:
        raise CannotAsk(
            "--url: wanted the URL of a running service, here or in RETRYLAB_URL, or --store sqlite:PATH, got neither"
        )
    if token_file is not None:
        try:
            token = read_whole(token_file, 2**16).decode().strip()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise CannotAsk(f"--token-file {token_file}: {reason}") from None
    return service(url, token or None)
