"""Every notebook runs, its file holds what a run of it shows, and it is a pair of which both say the same."""

import ast
import re
import struct
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from documents import text_of
from effort import sliced

from simulation.reporting import plots
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
SIZE_MAX = 1_000_000

every_notebook = pytest.mark.parametrize("name", NAMES)
each_that_is_run = pytest.mark.parametrize("name", sliced(NAMES, 12), scope="module")


class Fresh(dict):
    """The notebooks as they come out of a run now, by name."""

    def __init__(self, out):
        self._out = out

    def __missing__(self, name):
        text = HERE / "trio_in_a_kernel.py" if name == "trio_in_a_kernel" else NOTEBOOKS / f"{name}.py"
        command = [sys.executable, HERE / "execute.py", "--out", self._out, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self[name] = nbformat.read(self._out / f"{name}.ipynb", as_version=4)
        return self[name]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return Fresh(tmp_path_factory.mktemp("executed"))


def stored(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """What a cell says, figures aside.

    With the tag `live` a number is as good as another: it is of real time. With `chance` nothing is: that a live run is
    within bounds of 95% is true of 19 runs in 20.
    """
    if "chance" in cell.metadata.get("tags", ()):
        return []
    found = [
        f"{output.name}: {output.text}" if output.output_type == "stream" else output.data["text/plain"]
        for output in cell.outputs
        if output.output_type == "stream" or "image/png" not in output.data
    ]
    if "live" in cell.metadata.get("tags", ()):
        found = [re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "#", text)) for text in found]
    return found


def figures(cell):
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


def problems(notebook):
    """What went wrong in it: errors, warnings, and anything else that is written to stderr."""
    found = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{cell.source}\n{output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"{cell.source}\n{output.text}")
    return found


def test_each_question_has_a_notebook():
    assert len(NAMES) == 7
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES


@pytest.mark.integration
@each_that_is_run
def test_it_runs_without_errors_and_warnings(name, fresh):
    assert problems(fresh[name]) == []
    assert problems(stored(name)) == []


@pytest.mark.integration
@each_that_is_run
def test_its_file_holds_what_a_run_shows(name, fresh):
    kept = code_cells(stored(name))
    assert [cell.execution_count for cell in kept] == list(range(1, len(kept) + 1))
    for cell, anew in zip(kept, code_cells(fresh[name]), strict=True):
        assert cell.source == anew.source
        assert texts(cell) == texts(anew)
        assert len(figures(cell)) == len(figures(anew)), cell.source


@every_notebook
def test_its_figures_are_in_the_file_and_can_be_read_to_people(name):
    shown = [(cell, figure) for cell in code_cells(stored(name)) for figure in figures(cell)]
    drawn = [cell for cell in code_cells(stored(name)) if re.search(r"^plots\..*\.figure$", cell.source, re.MULTILINE)]
    assert len(shown) == len(drawn) >= 2
    for _, figure in shown:
        png = b64decode(figure.data["image/png"])
        width, height = struct.unpack(">II", png[16:24])
        assert png.startswith(b"\x89PNG")
        assert min(width, height) >= 200
        assert len(figure.metadata["image/png"]["alt"]) > 20


@every_notebook
def test_both_files_of_the_pair_say_the_same(name):
    text = (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8")
    assert jupytext.writes(stored(name), fmt="py:percent") == text
    assert stored(name).metadata.kernelspec.name == "python3"
    assert stored(name).metadata.jupytext.formats == "ipynb,py:percent"


@every_notebook
def test_it_opens_with_its_question(name):
    opening = stored(name).cells[0]
    assert opening.cell_type == "markdown"
    title, _, question = opening.source.partition("\n\n")
    assert title.startswith("# ")
    assert "\n\n" not in question
    assert question.endswith("?")


@every_notebook
def test_it_ends_with_settings_that_are_good_ones(name):
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", stored(name).cells[-1].source, re.MULTILINE | re.DOTALL)
    channels = yaml.safe_load(block)["channels"]
    workload = ", ".join(f"{{channel: {channel}, arrivals: {{constant: 5/s}}}}" for channel in channels)
    for settings in channels.values():
        settings.setdefault("provider", {})  # where they are taken to, there is one
    taken = yaml.safe_dump({"channels": channels})
    scenario = parse(f"name: taken-away\nduration: 10m\nworkload: [{workload}]\n{taken}")
    assert [str(finding) for finding in lint_scenario(scenario)] == []


@every_notebook
def test_it_is_the_same_wherever_it_was_run(name):
    file = NOTEBOOKS / f"{name}.ipynb"
    text = file.read_text(encoding="utf-8")
    assert len(text) < SIZE_MAX
    without_figures = re.sub(r'"image/png": "[^"]*"', "", text)
    for place in {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()}:
        assert place == "/" or place not in without_figures
    assert re.findall(r"/(?:home|Users|root|tmp|usr|opt|private)/", without_figures) == []
    assert set(stored(name).metadata) == {"jupytext", "kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags", "lines_to_next_cell", "jupyter"} for cell in stored(name).cells)
    assert [cell.id for cell in stored(name).cells] == [
        f"cell-{number + 1}" for number in range(len(stored(name).cells))
    ]


@every_notebook
def test_what_takes_a_screen_is_folded(name):
    """The text of a scenario, which the sentence before it says in short."""
    for cell in code_cells(stored(name)):
        folded = cell.metadata.get("jupyter", {})
        assert not re.search(r'= """\n(?:(?!""").*\n){10}', cell.source) or folded.get("source_hidden")
        assert not re.search(r"\.read_text\(\)", cell.source) or folded.get("outputs_hidden")


@every_notebook
def test_it_uses_nothing_that_is_private(name):
    code = ast.parse("\n".join(cell.source for cell in code_cells(stored(name))))
    used = {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
    imported = {
        part
        for node in ast.walk(code)
        if isinstance(node, ast.ImportFrom)
        for part in [*node.module.split("."), *(alias.name for alias in node.names)]
    }
    assert {word for word in used | imported if word.startswith("_")} == set()


def test_a_figure_is_said_in_words_too():
    figure = plots.backoff({"some": {"jitter": "full"}, "none": {}}).figure
    png, said = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert said["alt"].startswith("Wait before each retry: up to ")
    assert ". wait against retry. some, none, " in said["alt"]


@pytest.mark.thorough
@pytest.mark.integration
def test_trio_runs_in_a_kernel_as_the_notebook_says(fresh):
    notebook = fresh["trio_in_a_kernel"]
    assert problems(notebook) == []
    assert [text for cell in code_cells(notebook) for text in texts(cell)] == [
        "stdout: asyncio\n",
        "stdout: ActorSystemError wanted an event loop of trio's, got asyncio's, where Notifier.open_asyncio opens "
        "one\n",
        "stdout: 20\n20\n20\n",
        "stdout: threads work too\n",
        "stdout: 20\n",
        "stdout: asyncio again\n",
    ]
    said = "\n".join(cell.source for cell in stored("live-and-simulated").cells if cell.cell_type == "markdown")
    assert "`trio.run(…)`" in said
    assert "`%autoawait trio`" in said


def test_the_guide_leads_to_each():
    assert re.findall(r"\]\(\.\./([\w-]+)\.ipynb\)", text_of("notebooks")) == [
        "backoff-and-jitter",
        "circuit-breaker",
        "dead-letters",
        "retry-storms",
        "where-to-retry",
        "from-sweep-to-setting",
        "live-and-simulated",
    ]
