"""Trackers that people have, `report.tracker`: the counts of a driver and the tables and images of a report go there.

A tracker is one class with the methods of `Tracker`. Its package is an extra, which is imported when it is opened.
"""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from configs.location import Location

if TYPE_CHECKING:
    import pandas as pd

PROJECT = "srsoup"


class Tracker(Protocol):
    """Where a run is followed. A run has one record there, which its driver and its report open by the same id."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers at a step, which is the number of fronts that are finished or have failed."""
        ...

    def add_table(self, name: str, table: "pd.DataFrame") -> None:
        """Add a table."""
        ...

    def add_image(self, name: str, png: bytes) -> None:
        """Add an image, a PNG file."""
        ...

    def close(self) -> None:
        """Send what is left, and end."""
        ...


def open_tracker(name: str, run_name: str, folder: Location) -> Tracker:
    """Open the record of a run in a tracker, and make it if it is not there yet.

    Args:
        name: wandb, tensorboard or mlflow.
        run_name: the name of the run, which the tracker shows.
        folder: the folder of the run, by which its record is found again.

    Raises:
        ImportError: its package is not installed.
        Exception: the tracker cannot be reached, in errors of its own.
    """
    place = folder.absolute() if isinstance(folder, Path) else folder
    run_id = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    return _TRACKERS[name](run_name, run_id, folder)


class WandbTracker:
    """A run of the project `srsoup` in Weights & Biases, with the login that the user has."""

    def __init__(self, name: str, run_id: str, folder: Location) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(project=PROJECT, name=name, id=run_id, resume="allow")

    def log(self, values: Mapping[str, float], step: int) -> None:
        # Not `step=`, because a continued run may not go back to a smaller one.
        self._run.log({**values, "fronts": step})

    def add_table(self, name: str, table: "pd.DataFrame") -> None:
        self._run.log({name: self._wandb.Table(dataframe=table)})

    def add_image(self, name: str, png: bytes) -> None:
        from PIL import Image

        self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(png)))})

    def close(self) -> None:
        self._run.finish()


class TensorboardTracker:
    """Event files in `tensorboard/` of the run's folder, or in `tensorboard-NAME` here for a run on an object store."""

    def __init__(self, name: str, run_id: str, folder: Location) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard" if isinstance(folder, Path) else Path(f"tensorboard-{folder.name}")
        self._writer: Any = SummaryWriter(str(place))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def add_table(self, name: str, table: "pd.DataFrame") -> None:
        # TensorBoard has no tables; it shows the columns of a text in type of one width.
        lines = table.to_csv(index=False, sep="\t").splitlines()
        self._writer.add_text(name, "\n".join(f"    {line}" for line in lines))

    def add_image(self, name: str, png: bytes) -> None:
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._writer.add_image(name, pixels, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class MlflowTracker:
    """A run of the experiment `srsoup` on the tracking server that MLFLOW_TRACKING_URI names."""

    def __init__(self, name: str, run_id: str, folder: Location) -> None:
        import mlflow

        self._mlflow = mlflow
        experiment = mlflow.set_experiment(PROJECT)
        client = mlflow.MlflowClient()
        found = client.search_runs([experiment.experiment_id], f"tags.srsoup_id = '{run_id}'", max_results=1)
        if found:
            self._run = mlflow.start_run(run_id=found[0].info.run_id)
        else:
            self._run = mlflow.start_run(run_name=name, tags={"srsoup_id": run_id})

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def add_table(self, name: str, table: "pd.DataFrame") -> None:
        self._mlflow.log_text(table.to_csv(index=False), f"{name}.csv")

    def add_image(self, name: str, png: bytes) -> None:
        from PIL import Image

        self._mlflow.log_image(Image.open(io.BytesIO(png)), f"{name}.png")

    def close(self) -> None:
        self._mlflow.end_run()


_TRACKERS: Mapping[str, Callable[[str, str, Location], Tracker]] = {
    "wandb": WandbTracker, "tensorboard": TensorboardTracker, "mlflow": MlflowTracker,
}  # fmt: skip
