"""The command starts studio, says its address, and ends as it is told."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

pytestmark = pytest.mark.integration

SCENARIO = "duration: 10s\nworkload:\n  - {channel: email, arrivals: {constant: 1/s}}\n"


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "simulation", "studio", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_serves_until_it_is_interrupted(tmp_path):
    (tmp_path / "one.yaml").write_text(SCENARIO)
    with started(tmp_path / "one.yaml") as process:
        name, _, url = process.stdout.readline().strip().rpartition(" ")
        try:
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(url, timeout=60) as page:
                assert b'id="charts"' in page.read()
        finally:
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate(timeout=60)
    assert (name, printed, said, process.returncode) == ("retrylab studio:", "", "stopped\n", 130)
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.thorough
def test_a_port_that_is_taken_and_a_file_that_is_not_there_are_said(tmp_path):
    (tmp_path / "one.yaml").write_text(SCENARIO)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with started(tmp_path, "--port", port) as process:
            printed, said = process.communicate(timeout=60)
    assert (printed, said, process.returncode) == ("", f"--port {port}: Address already in use\n", 1)
    with started(tmp_path / "two.yaml") as process:
        printed, said = process.communicate(timeout=60)
    assert (printed, said, process.returncode) == ("", f"{tmp_path / 'two.yaml'}: no such file\n", 2)
