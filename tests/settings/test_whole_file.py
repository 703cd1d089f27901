"""A pipe, a device, a folder or an endless file in the place of a file: an error in one line, and never a long wait."""

import gzip
import os
import socket
import threading
import tracemalloc

import pytest

import simulation
from actors.domain.user_preferences import PreferencesFile
from actors.errors import ConfigurationError, TemplateError
from actors.pipeline.templates import Templates
from actors.service.config import load as load_service
from actors.service.reloading.live_settings import LiveSettings
from actors.settings import whole_file
from actors.settings.base import validated
from actors.settings.file import load_settings
from actors.settings.transports import FcmConfig, SmtpConfig
from actors.settings.whole_file import read_whole
from actors.storage.memory import MemoryStore
from actors.transports.transport import tls_context
from simulation.fitting.reading import read_log
from simulation.running.traces import trace
from simulation.running.traces.trace import Trace

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system with named pipes is wanted")

NO_FILE = {
    "pipe": "is a pipe, to which nothing is written",
    "device": "is no regular file",
    "folder": "is a directory",
    "link to a device": "is no regular file",
    "socket": "",
}


@pytest.fixture(params=NO_FILE)
def no_file(request, tmp_path, monkeypatch):
    """A path that is none of a file, and what is said of it."""
    monkeypatch.setattr(whole_file, "PIPE_PATIENCE_S", 0.05)
    path = tmp_path / "it.txt"
    server = socket.socket(socket.AF_UNIX)
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = whole_file.Path("/dev/zero")
        case "folder":
            path.mkdir()
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "socket":
            monkeypatch.chdir(tmp_path)
            server.bind("it.txt")
    yield path, NO_FILE[request.param]
    server.close()


READERS = {
    "scenario": simulation.load,
    "service": load_service,
    "preferences": lambda path: load_settings(PreferencesFile, path, private="users"),
    "suppressions": LiveSettings(MemoryStore())._suppressions_in,
    "key file": FcmConfig.from_service_account,
    "certificates": lambda path: tls_context(str(path)),
    "secret": lambda path: validated(
        SmtpConfig, {"host": "h", "sender": "a@b.c", "username": "u", "password": {"file": str(path)}}
    ),
    "data file": lambda path: simulation.parse(
        "workload:\n  - {event: OrderPlaced, arrivals: {trace: "
        + str(path)
        + ", column: n, every: 5m}}\nduration: 10s\n"
    ),
    "trace": Trace,
    "log": read_log,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_ends_in_one_line_and_not_in_a_wait(reader, no_file):
    path, why = no_file
    with pytest.raises(ConfigurationError) as raised:
        READERS[reader](path)
    text = str(raised.value)
    if reader != "key file":  # of which only is said that it is none
        assert why in text or "is no regular file" in text or reader == "log"
    assert not any("Traceback" in problem or "\n" in problem for problem in raised.value.problems)


def test_a_template_that_is_a_pipe_is_refused_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_file, "PIPE_PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "hello.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with pytest.raises(TemplateError) as raised:
        Templates.from_directory(tmp_path)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"{tmp_path}/hello.txt: is a pipe")
    assert second == f"{tmp_path}/zero.txt: wanted a file in its directory, got a link to /dev/zero"


def test_a_pipe_that_somebody_writes_to_is_read_to_its_end(tmp_path):
    """What a shell makes of ``<(…)``."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as end:
            end.write(b"x" * 300_000)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_whole(whole_file.Path(f"/dev/fd/{reading}"), 10**6) == b"x" * 300_000
    writer.join()
    os.close(reading)


def test_no_more_is_read_than_is_wanted(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte, of which nothing is on the disk
    assert len(read_whole(path, 1000)) == 1001
    with pytest.raises(ConfigurationError, match=r"large: too long: wanted at most [\d,]+ bytes"):
        simulation.load(path)


@pytest.mark.parametrize("shape", ["lines", "one line", "a trace and then one line"])
def test_a_small_trace_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path, monkeypatch, shape):
    path = tmp_path / "trace"
    line = b"{" + b" " * 1022 + b"\n"
    block = line * 1024 if shape == "lines" else b"{" * 2**20
    with gzip.open(path, "wb") as file:
        if shape == "a trace and then one line":
            file.write(b'{"type":"trace","format":1}\n')
        for _ in range(8):
            file.write(block)
    path.write_bytes(path.read_bytes() * 256)  # members of one file follow each other: two gigabytes
    monkeypatch.setattr(trace, "_UNPACKED_FREE", 2**20)
    monkeypatch.setattr(trace, "_RATIO_MAX", 5)
    tracemalloc.start()
    try:
        with pytest.raises(
            ConfigurationError, match=r"trace: wanted a trace, got one that unpacks to more than 5 times"
        ):
            Trace(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20


def test_a_trace_that_was_recorded_is_far_from_the_limit(tmp_path):
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "name: small\nworkload:\n  - {event: OrderPlaced, arrivals: {constant: 50/s}}\nduration: 60s\n"
        "channels: {email: {}, sms: {}}\n"
    )
    simulation.record(scenario, tmp_path / "trace")
    packed = (tmp_path / "trace").stat().st_size
    unpacked = len(gzip.decompress((tmp_path / "trace").read_bytes()))
    assert unpacked / packed < 50, unpacked / packed
    assert simulation.replay(tmp_path / "trace").exact
