"""Makes `notebooks/example_run`, the small run that the notebooks read: `python -m notebooks.make_example_run`.

It takes some minutes on two CPU cores. The run has four animals, three methods and six weightings on the embedded
model; it is exported as a Hugging Face data set, which is a run without logs and without the name of the machine.
"""

import shutil
import tempfile
from pathlib import Path

import srsoup
from evaluation.exports.export import export_run
from evaluation.run import Run
from pipeline.records import location_of
from pipeline.storage.compact import compact

FOLDER = Path(__file__).parent / "example_run"
OVERRIDES = (
    "name=example", "method=[srsoup, weighted_sum, unguided]", "steps=10", "queries=8", "soup.steps=4", "seed=1",
    "prompts.limit=4",
)  # fmt: skip


def make_example_run(folder: Path = FOLDER) -> Run:
    """Runs the demo with `OVERRIDES` and writes it to `folder`, which is replaced."""
    with tempfile.TemporaryDirectory(prefix="srsoup-example-") as scratch:
        run = srsoup.run("demo", [*OVERRIDES, f"output={scratch}/example"], local=True)
        compact(run.folder)
        shutil.rmtree(folder, ignore_errors=True)
        export_run(location_of(str(run.folder)), str(folder), "hf")
    return Run.open(str(folder))


if __name__ == "__main__":
    print(make_example_run())
