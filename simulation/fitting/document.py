"""A fit as plain data, and as a scenario that says of each setting where it came from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted
from actors.messages import ChannelKind, NotificationChannel
from simulation.fitting.calibration import Arriving, Fit, Timeouts, lines_of
from simulation.fitting.estimate import duration, instant, per_second, percent, plain
from simulation.fitting.failing import Outage
from simulation.fitting.latency import Latency
from simulation.fitting.provider_fit import ProviderFit
from simulation.fitting.slowness import Brownout
from simulation.scenario.writing import write

_THROUGHOUT = 0.8
"""A quota that was enforced for this share of the log counts as always there."""


def document(fit: Fit) -> dict[str, Any]:
    log = fit.log
    return {
        "log": {
            "source": log.source,
            "attempts": len(log),
            "duration_s": log.duration_s,
            "origin": log.origin,
            "columns": {"read": dict(log.used), "not_read": list(log.unread)},
            "warnings": list(log.warnings),
            "notes": list(fit.notes),
        },
        "providers": {name: _provider(each) for name, each in fit.providers.items()},
        "arrivals": {
            name: None if each is None else _arrivals(each) | _of_classes(fit, name)
            for name, each in fit.arriving.items()
        },
        "scenario": scenario_data(fit, "fitted")[0],
    }


def _arrivals(arriving: Arriving) -> dict[str, Any]:
    return {"count": arriving.count, "per_second": asdict(arriving.rate), "process": arriving.process}


def _of_classes(fit: Fit, channel: str) -> dict[str, Any]:
    of = fit.classes.get(channel, {})
    return {"classes": {name: None if each is None else _arrivals(each) for name, each in of.items()}} if of else {}


def _provider(found: ProviderFit) -> dict[str, Any]:
    latency, failing = found.latency, found.failing
    return {
        "attempts": found.attempts,
        "notes": list(found.notes),
        "latency": None
        if latency is None
        else {
            "family": latency.fit.family,
            "parameters": {name: asdict(each) for name, each in latency.fit.parameters.items()},
            "intervals": latency.fit.intervals,
            "of": latency.is_of,
            "goodness": {
                **asdict(latency.goodness),
                "degree": latency.goodness.degree,
                "words": latency.goodness.words,
            },
            "empirical": latency.is_empirical,
            "aic": _finite(latency.fit.aic),
            "bic": _finite(latency.fit.bic),
            "others": [{"family": o.family, "aic": _finite(o.aic), "bic": _finite(o.bic)} for o in latency.others],
        },
        "lost_reply_rate": None if found.lost_reply_rate is None else asdict(found.lost_reply_rate),
        "failing": None
        if failing is None
        else {
            "rates": {name: asdict(each) for name, each in failing.rates.items()},
            "counts": failing.counts,
            "bursts": None if failing.bursts is None else asdict(failing.bursts),
            "clustering": failing.clustering,
            "bic": failing.evidence,
            "outages": [
                {
                    "kind": outage.kind,
                    "rates": {name: asdict(each) for name, each in outage.rates.items()},
                    **asdict(outage.window),
                }
                for outage in failing.outages
            ],
        },
        "brownouts": [
            {
                "factor": asdict(each.factor),
                "latency": None if each.latency is None else each.latency.fit.data,
                "unanswered": None if each.unanswered is None else asdict(each.unanswered),
                **asdict(each.window),
            }
            for each in found.brownouts
        ],
        "throttling": None if found.throttling is None else asdict(found.throttling),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


_MARK = "# Fitted to "
"""The beginning of a file that this module writes."""


def save_fit(fit: Fit, path: str | Path) -> list[Path]:
    """Write the scenario of a fit and its data files; return the paths, that of the scenario first.

    The files of an earlier fit are replaced.

    Raises:
        ConfigurationError: a file is there that no fit has written; it stays as it is.
        OSError: a file cannot be written.
    """
    path = Path(path)
    check_place(path)
    data, files = scenario_data(fit, path.stem)
    comment = "\n".join(_comment(fit))
    path.write_text(write(data, comment), encoding="utf-8")
    written = [path]
    for name, text in files.items():
        written.append(path.with_name(name))
        written[-1].write_text(text, encoding="utf-8")
    return written


def check_place(path: Path) -> None:
    """Check that a fit can be written to a place; call it before fitting, so that no fit is lost.

    Raises:
        ConfigurationError: a file is there that no fit has written.
        OSError: it cannot be written.
    """
    if path.is_file() and not _may_be_replaced(path):
        raise ConfigurationError([f"{path}: wanted a new file, or one that a fit has written, got another"])
    was_there = path.exists()
    if not was_there or path.is_file() or path.is_dir():  # a pipe is open but once
        with path.open("ab"):  # which leaves what is there as it is
            pass
    if not was_there:
        path.unlink()


def _may_be_replaced(path: Path) -> bool:
    """Return whether a file is empty, or was written by :func:`save_fit`."""
    with path.open(encoding="utf-8", errors="replace") as file:
        beginning = file.read(len(_MARK))
    return beginning in ("", _MARK)


def scenario_data(fit: Fit, stem: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the plain data of the scenario, and the texts of the data files that it names."""
    files: dict[str, str] = {}
    workload = []
    for channel, arriving in fit.arriving.items():
        for priority, each in fit.classes.get(channel, {}).items():
            workload.append(_workload(each, channel, priority, stem, files))
        if channel not in fit.classes:
            workload.append(_workload(arriving, channel, None, stem, files))
    # A log has no recipients, so what is none of the four is a request to a service.
    own = [channel for channel in fit.arriving if channel not in set(NotificationChannel)]
    channels: dict[str, Any] = {channel: {"kind": ChannelKind.CALL.value} for channel in own}
    faults: list[dict[str, Any]] = []
    for found in fit.providers.values():
        provider = _provider_settings(found, stem, files)
        of_channel = channels.setdefault(found.channel, {})
        if found.provider in (None, "primary"):
            of_channel["provider"] = provider
        else:
            of_channel.setdefault("failover", {})[found.provider] = {"provider": provider}
        faults += _faults(found, fit, stem, files)
    data: dict[str, Any] = {
        "name": stem,
        "description": f"As fitted to {fit.log.source}.",
        "duration": instant(max(math.ceil(fit.log.duration_s * 1e3) / 1e3, 0.001)),
        "workload": workload,
        "channels": channels,
    }
    return ({**data, "faults": faults} if faults else data), files


def _workload(
    arriving: Arriving | None, channel: str, priority: str | None, stem: str, files: dict[str, str]
) -> dict[str, Any]:
    entry = {"channel": channel} if priority is None else {"channel": channel, "priority": priority}
    if arriving is None:
        return {**entry, "arrivals": {"times": ["0s"]}}
    if arriving.process != "trace":
        return {**entry, "arrivals": {arriving.process: per_second(arriving.rate.value)}}
    name = f"{stem}.{channel}.arrivals.csv" if priority is None else f"{stem}.{channel}.{priority}.arrivals.csv"
    files[name] = "count\n" + "".join(f"{count}\n" for count in arriving.counts.tolist())
    return {**entry, "arrivals": {"trace": name, "column": "count", "every": instant(arriving.every_s)}}


def _provider_settings(found: ProviderFit, stem: str, files: dict[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if found.latency is not None:
        settings["latency"] = _latency(found.latency, f"{stem}.{found.name.replace('/', '.')}.latency.csv", files)
    if found.failing is not None and found.failing.rates["failure_rate"].value > 0:
        settings["failure_rate"] = percent(found.failing.rates["failure_rate"].value)
    return settings


def _latency(latency: Latency, file: str, files: dict[str, str]) -> dict[str, Any]:
    """Return a latency as a scenario has it; of measured values it names a data file, which is added to `files`."""
    if not latency.is_empirical:
        return latency.fit.data
    files[file] = "seconds\n" + "".join(f"{seconds:.9g}\n" for seconds in latency.measured())
    return {"empirical": file}


HUNG_S = 3600.0
"""Seconds after which a hung request is answered, if anyone still waits."""


def _hanging(share: float, latency: dict[str, Any]) -> dict[str, Any]:
    if share >= 1.0:
        return {"latency": {"constant": duration(HUNG_S)}}
    parts = [{"weight": 1.0 - share, **latency}] if "mixture" not in latency else []
    total = sum(part["weight"] for part in latency.get("mixture", ()))
    parts += [{**part, "weight": (1.0 - share) * part["weight"] / total} for part in latency.get("mixture", ())]
    rounded = [{**part, "weight": float(plain(100.0 * part["weight"]))} for part in parts]
    return {"latency": {"mixture": [*rounded, {"weight": float(plain(100.0 * share)), "constant": duration(HUNG_S)}]}}


def _faults(found: ProviderFit, fit: Fit, stem: str, files: dict[str, str]) -> Iterator[dict[str, Any]]:
    duration_s = fit.log.duration_s
    where: dict[str, Any] = {"channel": found.channel}
    if found.provider is not None:
        where["provider"] = found.provider
    failing = found.failing
    usual = _provider_settings(found, stem, files).get("latency")
    throughout = {}
    if failing is not None:
        others = [name for name in failing.rates if name != "failure_rate" and failing.rates[name].value > 0]
        throughout = {name: percent(failing.rates[name].value) for name in others}
    if found.lost_reply_rate is not None and (fit.timeouts != "hang" or usual is None):
        throughout["lost_reply_rate"] = percent(found.lost_reply_rate.value)
    elif found.lost_reply_rate is not None and usual is not None:
        throughout |= _hanging(found.lost_reply_rate.value, usual)
    if throughout:
        yield {**where, **throughout}
    if failing is not None and failing.bursts is not None:
        bursts = failing.bursts
        yield {
            **where,
            "burst": {
                "mean_good": duration(bursts.mean_good.value),
                "mean_bad": duration(bursts.mean_bad.value),
                "failure_rate": percent(bursts.failure_rate.value),
            },
        }
    throttling = found.throttling
    if throttling is not None:
        span = throttling.end_s - throttling.start_s
        always = span > _THROUGHOUT * duration_s
        window = {} if always else {"at": instant(throttling.start_s), "for": instant(max(span, 0.001))}
        yield {**where, **window, "throttle": {"rate": per_second(throttling.rate.value), "kind": "token_bucket"}}
    windows = []
    for number, brownout in enumerate(found.brownouts):
        file = f"{stem}.{found.name.replace('/', '.')}.brownout-{number + 1}.csv"
        windows.append((brownout.window, _of_brownout(brownout, usual, fit.timeouts, file, files)))
    if failing is not None:
        windows += [(outage.window, what_happens(outage, fit.timeouts)) for outage in failing.outages]
    for each, what in sorted(windows, key=lambda pair: pair[0].start_s.value):
        window = {"at": instant(each.start_s.value), "for": instant(max(each.duration_s, 0.001))}
        yield {**where, **window, **what}


def _of_brownout(
    brownout: Brownout, usual: dict[str, Any] | None, timeouts: Timeouts | None, file: str, files: dict[str, str]
) -> dict[str, Any]:
    """Return the fault of a brownout: a factor or a latency, and the shares of attempts without an answer."""
    own = None if brownout.latency is None else _latency(brownout.latency, file, files)
    there = own or usual
    what: dict[str, Any] = {}
    if own is not None:
        what = {"latency": own}
    elif brownout.is_slow:
        what = {"latency_factor": float(plain(brownout.factor.value))}
    if brownout.unanswered is None:
        return what
    if timeouts == "lost_reply" or there is None:
        return {**what, "lost_reply_rate": percent(brownout.unanswered.value)}
    return {**what, **_hanging(brownout.unanswered.value, there)}


def what_happens(outage: Outage, timeouts: Timeouts | None = None) -> dict[str, Any]:
    if outage.is_partial:
        return {name: percent(each.value) for name, each in outage.rates.items()}
    if outage.kind == "hang" and timeouts == "lost_reply":
        return {"lost_reply_rate": "100%"}
    return {"channel_fault_rate": "100%"} if outage.kind == "channel_fault" else {outage.kind: True}


def _comment(fit: Fit) -> Iterator[str]:
    log = fit.log
    since = f", from {log.origin} on" if log.origin else ""
    yield f"{_MARK.removeprefix('# ')}{counted(len(log), 'attempt')} in {log.source}{since}; 95% intervals in brackets."
    for note in (*log.warnings, *fit.notes):
        yield f"Note: {note}."
    for found in fit.providers.values():
        for line in lines_of(found):
            evidence = f" ({line.evidence})" if line.evidence else ""
            yield f"{found.name}: {line.setting} {line.value} {line.interval}".rstrip() + evidence
        for note in found.notes:
            yield f"Note: {note}."
    yield "Policies (retry, breaker, limits, timeout) are not in a log: those left out here have their defaults."
