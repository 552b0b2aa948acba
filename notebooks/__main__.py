"""Executes every notebook in a kernel of its own, and writes them with their outputs to build/notebooks."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "notebooks"


def main() -> int:
    """Executes the notebooks in the order of their names; an error in a cell ends the program with its traceback."""
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        # Not over TCP, on which every user of the machine could reach the kernel.
        options = Config(KernelManager={"transport": "ipc"})
        place = {"metadata": {"path": str(ROOT)}}
        NotebookClient(notebook, timeout=600, resources=place, config=options).execute()
        nbformat.write(notebook, OUT / path.name)
        print(f"executed: {OUT / path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
