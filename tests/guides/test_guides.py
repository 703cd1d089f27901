"""What the guides show is done as they show it, by a shell, and is seen to be as they say."""

import shutil
import sys
from pathlib import Path

import pytest
from effort import thorough
from guide import Guide

TESTS = Path(__file__).parents[1]
GUIDES = TESTS.parent / "notebooks" / "guides"
sys.path.append(str(TESTS / "support"))  # where the stores have their PostgreSQL

missing = [program for program in ("bash", "curl", "grep", "sed") if shutil.which(program) is None]
needs_a_shell = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")


OWN_ACTORS = GUIDES / "own-actors"
OTHERS = (
    "failure-rules",
    "limits",
    "asgi",
    "asyncio",
    "threads",
    "service-process",
    "import",
    "own-code",
    "own-actors",
)


@pytest.mark.integration
@needs_a_shell
@pytest.mark.parametrize("name", ["trio-example", *map(thorough, OTHERS)])
def test_what_a_guide_shows(tmp_path, name):
    Guide(GUIDES / f"{name}.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
@pytest.mark.parametrize("name", ["several-nodes", pytest.param("celery", marks=pytest.mark.slow)])
def test_what_a_guide_shows_on_postgresql(tmp_path, name):
    from postgres_server import NoServer, running_server

    try:
        with running_server() as server:
            Guide(GUIDES / f"{name}.md").run(tmp_path, DATABASE_URL=server.new_database())
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")


def test_the_files_of_own_actors_are_those_of_the_guide():
    written = {path.name: path.read_text() for path in OWN_ACTORS.iterdir() if path.is_file()}
    assert Guide(GUIDES / "own-actors.md").files == written
