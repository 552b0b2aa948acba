"""Executes every notebook in a kernel of its own, and writes them with their outputs to build/notebooks."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "notebooks"
CELL_SECONDS = 300


class _Client(NotebookClient):
    """Executes without playing the part of a page that shows widgets.

    For an output widget nbclient would send messages of its own while it waits for a cell. Now and then one of them
    keeps the next cell waiting until its time limit. Without them a widget's output is the output of its cell.
    """

    def on_comm_open_jupyter_widget(self, msg: dict[str, Any]) -> None:
        return None


def main() -> int:
    """Executes the notebooks in the order of their names; an error in a cell ends the program with its traceback."""
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory(prefix="srsoup-") as folder:
            # Not over TCP, on which every user of the machine could reach the kernel. The sockets are in a folder of
            # their own, so that several programs can execute notebooks in the same place.
            options = Config(KernelManager={"transport": "ipc", "ip": str(Path(folder) / "kernel")})
            place = {"metadata": {"path": str(ROOT)}}
            _Client(notebook, timeout=CELL_SECONDS, resources=place, config=options).execute()
        nbformat.write(notebook, OUT / path.name)
        print(f"executed: {OUT / path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
