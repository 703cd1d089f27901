"""Durations as other programs write them, in seconds; None for what they do not take."""

from __future__ import annotations

import re

LONGEST_S = 36_525 * 86_400.0
"""A hundred years: no duration of a scenario is longer."""

_GO_PART = re.compile(r"(\d{1,15}(?:\.\d{0,12})?|\.\d{1,12})(ns|us|µs|μs|ms|s|m|h)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def go_duration(text: str) -> float | None:
    """Return a duration as Go writes it: ``1m30s``, ``250ms``, ``0``; not below zero."""
    text = text.removeprefix("+")
    if text == "0":
        return 0.0
    parts = list(_GO_PART.finditer(text[:100]))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return within(round(sum(float(part[1]) * _GO_UNITS[part[2]] for part in parts), 9))


def protobuf_duration(text: str) -> float | None:
    """Return a duration as protobuf's JSON has it: ``0.25s``, ``15s``, not ``250ms`` nor ``.5s``; not below zero."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)s", text)
    return within(float(match[1])) if match else None


def grpc_go_duration(text: str) -> float | None:
    """Return a duration as grpc-go reads it: that of protobuf, where one side of the point may be empty (``.5s``)."""
    match = re.fullmatch(r"(?=\.?\d)(\d{0,12}(?:\.\d{0,9})?)s", text)
    return within(float(match[1])) if match else None


def within(seconds: float) -> float | None:
    """Return seconds that are at most a hundred years."""
    return seconds if seconds <= LONGEST_S else None
