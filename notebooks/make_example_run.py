"""Makes `notebooks/example_run`, the small run that the notebooks read: `python -m notebooks.make_example_run`.

It takes some minutes on two CPU cores. The run has four animals, three methods and six weightings on the embedded
model; it is exported as a Hugging Face data set, which is a run without logs and without the name of the machine.
"""

import os
import shutil
from pathlib import Path

import srsoup
from evaluation.exports.export import export_run
from evaluation.run import Run
from pipeline.storage.compact import compact

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks" / "example_run"
# The paths are relative, so that the record of the run does not depend on where the repository is.
SCRATCH = Path("build/example_run")
OVERRIDES = (
    "name=example", "method=[srsoup, weighted_sum, unguided]", "steps=10", "queries=8", "soup.steps=4", "seed=1",
    "prompts.file=null", "prompts.list=[snail, hippopotamus, cheetah, crocodile]", f"output={SCRATCH}",
)  # fmt: skip


def make_example_run(folder: Path = FOLDER) -> Run:
    """Runs the demo with `OVERRIDES` and writes it to `folder`, which is replaced."""
    os.chdir(ROOT)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    run = srsoup.run("demo", OVERRIDES, local=True)
    compact(run.folder)
    shutil.rmtree(folder, ignore_errors=True)
    export_run(run.folder, str(folder), "hf")
    return Run.open(str(folder))


if __name__ == "__main__":
    print(make_example_run())
