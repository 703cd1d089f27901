"""The schedule of a retry policy: how long the wait before each retry is, and how far jitter spreads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from actors.errors import ConfigurationError, WrongType
from actors.messages import NotificationChannel
from actors.settings.base import validated
from actors.settings.channel import ChannelConfig, RetryConfig
from simulation.reporting.plots.canvas import canvas, say
from simulation.reporting.plots.findings import listed
from simulation.reporting.plots.looks import series_look
from simulation.reporting.plots.panels import draw_log_durations
from simulation.reporting.plots.text import cut, drawable, legend_within, set_title
from simulation.reporting.retry_waits import Envelope, envelope, policy_text
from simulation.results.formatting import duration_text

WIDTH, HEIGHT = 7.6, 4.0

ATTEMPTS_SHOWN = 10
"""Of a policy with more attempts, by default."""

ATTEMPTS_MAX = 200
LOGARITHMIC_FROM = 8.0
"""The ratio of the longest wait to the shortest from which on the axis is logarithmic."""

LABEL_ROOM = 3.0
"""How wide an entry of the legend may be, in inches."""

_Waits: TypeAlias = "Envelope[npt.NDArray[np.float64]]"

Retry: TypeAlias = "RetryConfig | ChannelConfig | Mapping[str, Any]"
"""A retry policy: its settings, a channel's settings, or its keys and values as a file has them."""


def backoff(
    retry: Retry | Mapping[str, Retry], *, attempts: int | None = None, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the wait before each retry: its median, and its range from the shortest to the longest with jitter.

    With jitter `decorrelated` or `soft` a wait depends on the ones before it: the pale area has all possible waits, the
    darker one nine in ten, by a few thousand schedules drawn with `seed`.

    Args:
        retry: a policy: a `RetryConfig`, the settings of a channel, or the keys and values of a policy such as
            ``{"max_attempts": 6, "jitter": "full"}``. Or several of them, by the label that each gets.
        attempts: how many attempts to show, at least 2; `max_attempts` when None, but not more than ten.
        seed: of the schedules that are drawn.
        ax: where to draw; axes of a figure of its own when None.

    Raises:
        ConfigurationError: a policy that cannot be, or a number of attempts outside 2 to 200.
    """
    policies = _policies(retry)
    if attempts is not None and not 2 <= attempts <= ATTEMPTS_MAX:
        raise ConfigurationError([f"attempts: wanted a whole number from 2 to {ATTEMPTS_MAX}, got {attempts!r}"])
    with canvas(ax, WIDTH, HEIGHT) as ax:
        drawn = []
        for number, (label, config) in enumerate(policies.items()):
            retries = (int(min(config.attempts_bound, ATTEMPTS_SHOWN)) if attempts is None else attempts) - 1
            if retries:
                waits = envelope(config, retries, seed).map(np.array)
                draw = _draw if len(policies) == 1 else partial(_draw_beside, of=len(policies))
                drawn.append(draw(ax, number, label or policy_text(config), waits))
        set_title(ax, _title(policies, drawn))
        if drawn:
            _draw_axes(ax, drawn)
        else:
            say(ax, "one attempt: nothing is retried")
    return ax


NO_WAITS = {
    "budget",
    "max_elapsed",
    "retry_after",
    "retry_after_jitter",
    "retry_after_excess",
    "after_retry_after",
    "retry_after_max",
    "holds_slot",
    "on",
    "per_outcome",
    "per_reason",
}
"""The settings of retries that have no part in the waits of the policy itself."""


def policies_by_channels(configs: Mapping[NotificationChannel, ChannelConfig]) -> dict[str, ChannelConfig]:
    """Return the settings of channels by their names, one for all that have the same waits."""
    names: dict[str, list[str]] = {}
    found: dict[str, ChannelConfig] = {}
    for channel, config in configs.items():
        policy = config.retry.model_dump_json(exclude=NO_WAITS)
        names.setdefault(policy, []).append(str(channel))
        found[policy] = config
    return {", ".join(channels): found[policy] for policy, channels in names.items()}


def _title(policies: Mapping[str, RetryConfig], drawn: Sequence[_Waits]) -> str:
    """Return the name of a single policy, or the lengths of the waits of several."""
    (label, config), *others = policies.items()
    if not drawn:
        return "Wait before each retry: nothing is retried"
    if not others:
        policy = policy_text(config)
        return drawable(f"Wait before each retry: {policy}{f' ({label})' if label not in ('', policy) else ''}")
    named = [name for name, each in policies.items() if each.attempts_bound > 1]
    longest = {name: duration_text(float(waits.longest.max())) for name, waits in zip(named, drawn, strict=False)}
    same = len(set(longest.values())) == 1
    said = [next(iter(longest.values()))] if same else [f"{text} ({name})" for name, text in longest.items()]
    return drawable(f"Wait before each retry: up to {listed(said, 4)}")


def _policies(retry: Retry | Mapping[str, Retry]) -> dict[str, RetryConfig]:
    if not isinstance(retry, Mapping) or _is_one(retry):
        return {"": _policy(retry)}
    return {str(label): _policy(one) for label, one in retry.items()}


def _is_one(retry: Mapping[str, Any]) -> bool:
    if any(isinstance(value, (RetryConfig, ChannelConfig)) for value in retry.values()):
        return False
    return not retry or not all(
        isinstance(value, Mapping) and key not in RetryConfig.model_fields for key, value in retry.items()
    )


def _policy(retry: object) -> RetryConfig:
    if isinstance(retry, RetryConfig):
        return retry
    if isinstance(retry, ChannelConfig):
        return retry.retry
    if isinstance(retry, Mapping):
        return validated(RetryConfig, retry)
    raise WrongType(f"wanted a RetryConfig, the settings of a channel or a mapping, got {type(retry).__name__}")


def _draw(ax: Axes, number: int, label: str, waits: _Waits) -> _Waits:
    look = series_look(number)
    retries = np.arange(1, len(waits.median) + 1)
    label = cut(drawable(label), LABEL_ROOM, 8.5)
    if (waits.shortest < waits.longest).any():
        ax.fill_between(
            retries, waits.shortest, waits.longest, color=look.color, alpha=0.15, linewidth=0, label=f"{label}: range"
        )
        for edge in (waits.shortest, waits.longest):
            ax.plot(retries, edge, color=look.color, linewidth=0.7, linestyle=look.line, alpha=0.8)
    if waits.low is not None and waits.high is not None:
        ax.fill_between(
            retries, waits.low, waits.high, color=look.color, alpha=0.25, linewidth=0, label=f"{label}: nine in ten"
        )
    ax.plot(
        retries,
        waits.median,
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        markersize=5,
        label=label,
        zorder=3,
    )
    return waits


def _draw_beside(ax: Axes, number: int, label: str, waits: _Waits, *, of: int) -> _Waits:
    """Draw one of several policies: for each retry a bar beside the others' bars, as areas hide one another.

    It is thin from the shortest to the longest wait, and thick where nine in ten lie; a line joins the medians.
    """
    look = series_look(number)
    retries = np.arange(1, len(waits.median) + 1) + (number - (of - 1) / 2) * BESIDE / of
    label = cut(drawable(label), LABEL_ROOM, 8.5)
    if (waits.shortest < waits.longest).any():
        lowest = np.maximum(waits.shortest, 1e-12)  # a logarithmic axis has no 0
        ax.vlines(retries, lowest, waits.longest, color=look.color, linewidth=1.6, alpha=0.7, label=f"{label}: range")
    low, high = (waits.shortest, waits.longest) if waits.low is None or waits.high is None else (waits.low, waits.high)
    if waits.low is not None:
        ax.vlines(retries, low, high, color=look.color, linewidth=4.5, alpha=0.45, label=f"{label}: nine in ten")
    ax.plot(
        retries,
        waits.median,
        color=look.color,
        linestyle=look.line,
        linewidth=0.9,
        marker=look.marker,
        markersize=5,
        label=label,
        zorder=3,
    )
    return waits


BESIDE = 0.6
"""How much of the distance between two retries the bars of several policies take."""


def _draw_axes(ax: Axes, drawn: list[_Waits]) -> None:
    longest = max(float(waits.longest.max()) for waits in drawn)
    above_0 = [float(waits[waits > 0].min()) for one in drawn for waits in (one.median, one.longest) if waits.any()]
    if above_0 and longest > LOGARITHMIC_FROM * min(above_0):
        shortest = [waits.shortest[waits.shortest > 0] for waits in drawn]
        lowest = min([*above_0, *(float(waits.min()) for waits in shortest if waits.size)])
        ax.set_yscale("log")
        limits = max(lowest, longest * 1e-6) / 1.6, longest * 1.4
        ax.set_ylim(*limits)
        draw_log_durations(ax.yaxis, *limits)
    else:
        ax.set_ylim(0, longest * (1.15 if len(drawn) == 1 else 1.45) or 1.0)  # above the bars the legend has room
        ax.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _position: duration_text(seconds)))
    retries = max(len(waits.median) for waits in drawn)
    ax.set_xlim(0.7, retries + 0.3)
    ax.xaxis.set_major_locator(MaxNLocator(min(retries, 12), integer=True, min_n_ticks=1))
    ax.set_xlabel("retry")
    ax.set_ylabel("wait")
    ax.set_axisbelow(True)
    ax.grid(axis="y")
    handles: list[Artist] = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    if any((waits.shortest < waits.longest).any() for waits in drawn):
        handles.append(Patch(facecolor="#888888", alpha=0.2, label="shortest to longest"))
    if any(waits.low is not None for waits in drawn):
        handles.append(Patch(facecolor="#888888", alpha=0.5, label="nine in ten"))
    legend_within(ax, handles, loc="upper left" if len(drawn) > 1 else "best")
