"""What the guides show is done as they show it, by a shell, and is seen to be as they say."""

import shutil
import sys
from pathlib import Path

import pytest
from guide import Guide

TESTS = Path(__file__).parents[1]
GUIDES = TESTS.parent / "notebooks" / "guides"
sys.path.append(str(TESTS / "support"))  # where the stores have their PostgreSQL

missing = [program for program in ("bash", "curl", "grep", "sed") if shutil.which(program) is None]
needs_a_shell = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")


@pytest.mark.integration
@needs_a_shell
def test_in_a_trio_service(tmp_path):
    Guide(GUIDES / "trio-example.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_how_much_it_takes(tmp_path):
    Guide(GUIDES / "limits.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_in_an_asgi_application(tmp_path):
    Guide(GUIDES / "asgi.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_in_an_asyncio_application(tmp_path):
    Guide(GUIDES / "asyncio.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_in_programs_that_block(tmp_path):
    Guide(GUIDES / "threads.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
@pytest.mark.parametrize("guide", ["several-nodes", pytest.param("celery", marks=pytest.mark.slow)])
def test_several_nodes(tmp_path, guide):
    from postgres_server import NoServer, running_server

    try:
        with running_server() as server:
            Guide(GUIDES / f"{guide}.md").run(tmp_path, DATABASE_URL=server.new_database())
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_a_process_of_its_own(tmp_path):
    Guide(GUIDES / "service-process.md").run(tmp_path)


@pytest.mark.integration
@needs_a_shell
def test_failure_rules_by_name(tmp_path):
    Guide(GUIDES / "failure-rules.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_settings_read_from_files(tmp_path):
    Guide(GUIDES / "import.md").run(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@needs_a_shell
def test_own_code_in_an_outage(tmp_path):
    Guide(GUIDES / "own-code.md").run(tmp_path)


@pytest.mark.integration
@needs_a_shell
def test_own_actors(tmp_path):
    guide, example = Guide(GUIDES / "own-actors.md"), GUIDES / "own-actors"
    assert guide.files == {path.name: path.read_text() for path in example.iterdir() if path.is_file()}
    guide.run(tmp_path)
