"""Other processes find what depends on the order of a set or on addresses, and a process repeats its run."""

from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigurationError
from simulation.world.second import first_difference, run_apart

WORLD = """
name: repeated
duration: 30s
channels: {api: {kind: webhook, provider: {latency: 100ms}}}
world: {api.example.com: api}
workload: [{channel: api, arrivals: {poisson: 1/s}}]
"""


SERVICE = """
import trio, uuid

class Customer:
    pass

async def post(what):
    async with await trio.open_tcp_stream("api.example.com", 80) as stream:
        await stream.send_all(f"POST /{what} HTTP/1.1\\r\\nhost: api.example.com\\r\\n\\r\\n".encode())
        await stream.receive_some()

async def in_the_order_of_objects(arrival):
    customers = {Customer(): number for number in range(3)}
    for customer in set(customers):
        await post(customers[customer])

async def in_the_order_of_texts(arrival):
    for name in {"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"}:
        await post(name)

async def with_new_ids(arrival):
    for _ in range(3):
        await post(uuid.uuid4())
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "world.yaml").write_text(WORLD)
    (tmp_path / "service_apart.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "world.yaml"


@pytest.mark.thorough
def test_what_follows_the_seed_is_the_same_in_other_processes(scenario: Path) -> None:
    assert first_difference("service_apart:with_new_ids", scenario) is None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("main", "processes"),
    [("in_the_order_of_texts", 1), pytest.param("in_the_order_of_objects", 3, marks=pytest.mark.slow)],
)
def test_the_first_request_that_differs_is_named(main: str, processes: int, scenario: Path) -> None:
    difference = first_difference(f"service_apart:{main}", scenario, processes=processes)

    assert difference is not None
    assert f"request {difference.number} differs" in str(difference)
    again = run_apart(f"service_apart:{main}", scenario, hash_seed=difference.hash_seed)
    assert again.rows[difference.number - 1] == difference.other, "its process repeats it"


def test_a_function_that_another_process_cannot_import_is_refused(scenario: Path) -> None:
    async def local(_arrival: Any) -> None:
        pass

    with pytest.raises(ConfigurationError, match="wanted a function of a module"):
        first_difference(local, scenario)
