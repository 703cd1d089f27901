"""The plain text of an HTML mail, for readers that show no HTML: words, lines, and where links lead to.

HTML is read here and not by `html.parser`, which takes time by the square of the length where tags are begun and not
ended: ten thousand characters, of a client's, would take it seconds. What is not ended goes on to the end of the text,
as in a browser, so each character is looked at once.
"""

from __future__ import annotations

import re
from html import unescape

_PARAGRAPHS = frozenset(("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_LINES = frozenset(
    (
        "address", "article", "aside", "dd", "div", "dl", "dt", "footer", "form", "header", "hr", "li", "main", "nav",
        "section", "tr",
    )
)  # fmt: skip
_UNSEEN = frozenset(("head", "script", "style", "template", "title"))


_RAW = frozenset(("script", "style"))

# Possessive: nothing that was read is given back.
_TEXT = re.compile(r"(?:[^<]++|<(?![A-Za-z/!?]))++")
_TAG = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)((?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|))*+)>""")
_ATTRIBUTE = re.compile(r"""([^\s/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|(\S*+)))?+""")


class _HtmlReader:
    """Collects the text; a newline stands for a line break, two for the end of a paragraph, a NUL for a new line."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._unseen: str | None = None
        """The element that is not shown, with all in it; None outside of one."""
        self._depth = 0
        self._link: tuple[str, int] | None = None
        """The target of the open link, and where the text of the link begins in the parts."""

    def read(self, html: str) -> None:
        lower = html.lower()
        at, end = 0, len(html)
        while at < end:
            if text := _TEXT.match(html, at):
                self._read_text(text[0])
                at = text.end()
            elif found := _TAG.match(html, at):
                at = found.end()
                tag, attributes = found[2].lower(), found[3]
                if not found[1]:
                    self._start(tag, attributes)
                if found[1] or attributes.endswith("/"):
                    self._end(tag)
                elif tag in _RAW:
                    at = _end_of(lower, f"</{tag}", at)
            elif html.startswith("<!--", at):
                at = _end_of(html, "-->", at + 4) + 3
            elif html[at + 1].isalpha() or html[at + 2 : at + 3].isalpha():
                return  # a tag without an end
            else:
                at = _end_of(html, ">", at) + 1

    def _start(self, tag: str, attributes: str) -> None:
        if tag in _UNSEEN and self._unseen in (None, tag):
            self._unseen = tag
            self._depth += 1
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "a":
            self._link = (_attribute(attributes, "href"), len(self.parts))
        elif tag == "img":
            self.parts.append(_attribute(attributes, "alt"))
        elif tag in ("td", "th"):
            self.parts.append(" ")
        self._break(tag)
        if tag == "li":
            self.parts.append("- ")

    def _end(self, tag: str) -> None:
        if tag == self._unseen:
            self._depth -= 1
            if self._depth == 0:
                self._unseen = None
        elif tag == "a" and self._link is not None:
            target, start = self._link
            self._link = None
            shown = "".join(self.parts[start:]).strip()
            if target.startswith(("http://", "https://")) and target != shown:
                self.parts.append(f" ({target})")
        self._break(tag)

    def _read_text(self, text: str) -> None:
        if self._unseen is None:
            self.parts.append(re.sub(r"[\s\x00]+", " ", _unescaped(text)))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES:
            self.parts.append("\x00")


def _end_of(text: str, closing: str, start: int) -> int:
    found = text.find(closing, start)
    return len(text) if found < 0 else found


def _attribute(attributes: str, name: str) -> str:
    for found in _ATTRIBUTE.finditer(attributes):
        if found[1].lower() == name:
            return _unescaped(found[2] or found[3] or found[4] or "")
    return ""


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # of a character's number with thousands of digits
        return text


def plain_text(html: str) -> str:
    """Return the text that a reader of this HTML sees, as lines; each link has its address in brackets behind it."""
    reader = _HtmlReader()
    reader.read(html)
    # One blank at a time: a run of them that ends in no line would be tried from each of its blanks.
    text = re.sub(" ++", " ", "".join(reader.parts))
    return re.sub(r" ?[\n\x00][ \n\x00]*+", lambda found: "\n" * max(1, min(2, found[0].count("\n"))), text).strip()
