"""Drawings for a page: elements of SVG with everything in them escaped, and figures of matplotlib as SVG.

Figures are written the same way each time: no date, ids from a fixed salt, coordinates rounded to visible precision.
Ids get a prefix, so that two figures do not collide; parts that would affect the rest of the page (style sheet,
metadata, name spaces) are removed.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

SALT = "retrylab"
POINTS_PER_INCH = 72
_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FONT = re.compile(r"font-family:[^;]*;? ?")
"""The fonts in the style of a text, which the style sheet of the page sets instead."""

_UPRIGHT = re.compile(r"rotate\(-0 [^)]*\)")
_DROPPED = {f"{_SVG}metadata", f"{_SVG}title", f"{_SVG}style"}
_ROUNDED = ("d", "x", "y", "width", "height", "transform", "points", "cx", "cy", "r")


def as_svg(figure: Figure, prefix: str, title: str, description: str, *, above_in: float = 0.0) -> str:
    """Return a figure as an element of a page.

    Args:
        figure: the figure.
        prefix: the prefix of its ids.
        title: its title.
        description: its text alternative.
        above_in: how much of it to leave out at the top, in inches.
    """
    with matplotlib.rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none", "svg.image_inline": True}):
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", written.getvalue()))
    for element in root.iter():
        _clean(element, prefix)
    _drop_unused_ids(root)
    for name, text in (("desc", description), ("title", title)):
        said = ElementTree.Element(name, {"id": f"{prefix}-{name}"})
        said.text = text
        root.insert(0, said)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    above = above_in * POINTS_PER_INCH
    root.attrib.clear()
    root.attrib.update(
        {
            "class": "plot",
            "viewBox": f"0 {above:g} {width:g} {height - above:g}",
            "role": "img",
            "aria-labelledby": f"{prefix}-title",
            "aria-describedby": f"{prefix}-desc",
        }
    )
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str) -> None:
    """Take an element out of its name space, give its ids the prefix, and round its numbers to visible precision."""
    for child in [child for child in element if child.tag in _DROPPED]:
        element.remove(child)
    element.tag = element.tag.removeprefix(_SVG)
    if element.tag != "text":
        element.text = (element.text or "").strip() or None
    element.tail = (element.tail or "").strip() or None if element.tag != "tspan" else element.tail
    attributes = dict(element.attrib)
    element.attrib.clear()
    for name, value in attributes.items():
        name, value = ("href" if name == _HREF else name), _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
        if name == "id":
            value = f"{prefix}-{value}"
        elif name == "href" and value.startswith("#"):
            value = f"#{prefix}-{value[1:]}"
        elif name == "style":
            value = _FONT.sub("", value)
        elif name in _ROUNDED:
            value = _NUMBER.sub(_rounded, value.replace("\n", ""))
            if _UPRIGHT.fullmatch(value):
                continue
        element.set(name, value)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _drop_unused_ids(root: ElementTree.Element) -> None:
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used.update(_REFERENCE.findall(value))
        used.add(element.get("href", "").removeprefix("#"))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element of SVG.

    Args:
        name: of the element.
        children: elements, or text, which is escaped.
        attributes: an underscore in a name stands for a hyphen, one at its end for nothing; one that is None is left
            out.
    """
    # A page has thousands of these: joined as escaped text they take a quarter of the time that `Markup.format` does.
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{''.join(map(escape, children))}</{name}>")


def _value(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value
