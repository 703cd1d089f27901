"""The plain text of an HTML mail, for readers that show no HTML: words, lines, and where links lead to."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_PARAGRAPHS = frozenset(("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_LINES = frozenset(
    (
        "address", "article", "aside", "dd", "div", "dl", "dt", "footer", "form", "header", "hr", "li", "main", "nav",
        "section", "tr",
    )
)  # fmt: skip
_UNSEEN = frozenset(("head", "script", "style", "template", "title"))


class _Reader(HTMLParser):
    """Collects the text; a newline stands for a line break, two for the end of a paragraph, a NUL for a new line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "a":
            self._links.append((given.get("href") or "", len(self.parts)))
        elif tag == "img":
            self.parts.append(given.get("alt") or "")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        self._break(tag)
        if tag == "li":
            self.parts.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        elif tag == "a" and self._links:
            target, start = self._links.pop()
            shown = "".join(self.parts[start:]).strip()
            if target.startswith(("http://", "https://")) and target != shown:
                self.parts.append(f" ({target})")
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"[\s\x00]+", " ", data))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES:
            self.parts.append("\x00")


def plain_text(html: str) -> str:
    """Return what a reader of this HTML sees, as lines; a link is followed by its address in brackets."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    text = re.sub(r" *[\n\x00][ \n\x00]*", _end_of_lines, "".join(reader.parts))
    return re.sub(" +", " ", text).strip()


def _end_of_lines(found: re.Match[str]) -> str:
    return "\n" * max(1, min(2, found[0].count("\n")))
