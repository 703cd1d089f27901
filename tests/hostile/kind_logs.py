"""Files of numbers and of attempts: counts, measured durations, and logs for `fit`, with odd cells and shapes."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bounds import Bounds, Kind

import simulation
from actors.errors import ConfigurationError
from simulation.fitting.document import document
from simulation.fitting.report import print_fit

SECRET = "hunter2-of-root"
_CELLS = (
    *("", " ", "0", "1", "-1", "12.5", "1e9", "1e18", "1e300", "-0", "nan", "inf", "1_000", "0x10", "١٢", "NULL"),
    *("2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01"),
    *("2262-04-12T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+23:59", "0000-00-00", "1600-01-01T00:00Z"),
    *("sent", "200", "429", "timeout", "failed", "bounced", "email", "telex", "critical", "true", "x" * 999),
    *('"', '""', '"a\nb"', "\0", "\ufeff", "é", "a;b", "\t", "=1+1", SECRET),
)
_COLUMNS = (
    *("time", "timestamp", "start_s", "end_s", "latency_ms", "latency", "outcome", "status", "channel", "provider"),
    *("id", "attempt", "priority", "refused", "hedges", "throttled", "requested_at", "seconds", "value", "", "time"),
)


class Log(NamedTuple):
    text: str
    encoding: str


def draw(random: Random) -> Log:
    if random.random() < 0.1:
        size = random.choice((9_000, 20_000))
        line = ",".join(["1"] * size)
        return Log(random.choice((line, f"time,latency\n{line}\n1,2", f"{'x' * size}\n1", '"\n",' * size)), "utf-8")
    columns = [random.choice(_COLUMNS) for _ in range(random.choice((1, 1, 2, 3, 3, 4, 6)))]
    if random.random() < 0.6:
        columns[:3] = ["time", "latency_ms", "outcome"]
    rows = []
    usual = {"time": "2026-01-01T00:00:0{}Z", "latency_ms": "{}", "outcome": "sent", "value": "{}", "seconds": "0.{}"}
    for number in range(random.choice((0, 1, 2, 20))):
        row = [usual.get(column, "{}").format(number % 10) for column in columns]
        if random.random() < 0.5:
            row[random.randrange(len(row))] = random.choice(_CELLS)
        rows.append(row[: random.choice((None, None, None, -1))] + ["9"] * (random.random() < 0.05))
    lines = [columns, *rows] if random.random() < 0.95 else rows
    mark, end = random.choice(",,,,,,;\t|"), random.choice(("\n", "\n", "\r\n", "\r"))
    text = end.join(mark.join(row) for row in lines) + random.choice((end, "", end * 3))
    return Log(text, random.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))


def feed(log: Log) -> None:
    """Fit a log, and name the same file in a scenario. No problem of a scenario shows what is in it."""
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        file = Path(folder, "file.csv")
        file.write_bytes(log.text.encode(log.encoding, "replace"))
        for how in ("arrivals: {trace: file.csv, column: value, every: 1s}", "arrivals: {constant: 1/s}"):
            text = f"duration: 5s\nworkload: [{{channel: email, {how}}}]\n"
            if "constant" in how:
                text += "channels: {email: {provider: {latency: {empirical: file.csv}}}}\n"
            assert SECRET not in "".join(_problems(text, Path(folder, "scenario.yaml")))
        found = simulation.fit(file)
        json.dumps(document(found), allow_nan=False)
        print_fit(found, [])


def _problems(text: str, path: Path) -> list[str]:
    try:
        simulation.parse(text, str(path))
    except ConfigurationError as error:
        return error.problems
    return []


KIND = Kind(
    "logs",
    draw,
    feed,
    refuses=(ConfigurationError,),
    short=2,
    bounds=Bounds(steps=20_000_000, cpu_s=20.0, memory=150 * 10**6),
)
