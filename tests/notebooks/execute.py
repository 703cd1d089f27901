"""Runs the notebooks anew and writes their outputs and figures: ``python tests/notebooks/execute.py``.

The text of a notebook is its ``.py``, in jupytext's percent format; this makes the ``.ipynb`` beside it. Each has a
kernel of its own, two at a time. Of what a kernel says, only that is kept which depends on the text and the code: no
times, no versions, no random ids.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
AT_ONCE = 2
CELL_MAX_S = 120


def text_of(path: Path) -> Any:
    """Return a notebook as its ``.py`` has it, without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)  # which is the text's
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
    return notebook


async def execute(path: Path, sockets: Path) -> Any:
    """Return a notebook with the outputs of a run; one that fails has the error among them.

    The sockets to its kernel are made in that folder.
    """
    notebook = text_of(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_MAX_S,
        kernel_name="python3",
        allow_errors=True,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    manager = client.create_kernel_manager()
    manager.transport, manager.ip = "ipc", str(sockets / path.stem)  # no ports, and no warning of them
    await client.async_execute()
    notebook.metadata["language_info"] = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
    nbformat.validate(notebook)
    return notebook


async def execute_all(paths: Sequence[Path], out: Path | None) -> None:
    """Execute notebooks and write each into the folder, or beside its text."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(path: Path, sockets: Path) -> None:
        async with free:
            notebook = await execute(path.resolve(), sockets)
        written = path.with_suffix(".ipynb") if out is None else out / f"{path.stem}.ipynb"
        written.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        # Jupyter's and IPython's settings of the user who runs this are left aside.
        os.environ |= {"IPYTHONDIR": folder, "JUPYTER_CONFIG_DIR": folder, "JUPYTER_RUNTIME_DIR": folder}
        await asyncio.gather(*(one(path, Path(folder)) for path in paths))


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the notebooks anew and writes their outputs and figures.")
    parser.add_argument("texts", nargs="*", type=Path, metavar="FILE.py", help="the texts; those of notebooks/ if none")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the .ipynb are written; beside the texts if none"
    )
    asked = parser.parse_args()
    missing = [str(path) for path in asked.texts if path.suffix != ".py" or not path.is_file()]
    if missing:
        parser.error(f"wanted texts of notebooks such as notebooks/circuit-breaker.py, got {', '.join(missing)}")
    asyncio.run(execute_all(asked.texts or sorted(NOTEBOOKS.glob("*.py")), asked.out))


if __name__ == "__main__":
    main()
