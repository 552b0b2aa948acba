"""`Run`: the results of one run as pandas frames and images, for a notebook."""

import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd
import yaml
from PIL import Image

from pipeline.records import (
    Location,
    Row,
    failed_keys,
    finished_keys,
    has_file,
    location_of,
    read_columns,
    read_file,
    read_table,
)

# Fronts whose images are in memory at the same time.
_FRONTS_AT_ONCE = 32


class Sample(NamedTuple):
    """One image of a run. `weights` is None for the unguided model."""

    key: str
    prompt: str
    method: str
    seed: int
    weight_index: int
    weights: tuple[float, ...] | None
    image: Image.Image


class _Front(NamedTuple):
    """A finished front: the key of its rows, and where it belongs."""

    key: str
    prompt: str
    prompt_id: str
    method: str
    seed: int


@dataclass(frozen=True, repr=False)
class Run:
    """The results of a run: `Run.open("runs/demo")`, or what `srsoup.run` returns.

    Every method reads the folder when it is called, so a run can be read while it goes on. Only finished fronts are
    read. (A front is the images of one prompt, method and seed over all weightings.) The frames have the columns of the
    Parquet files; `key` names a front in all of them.

    Attributes:
        folder: the path of the folder, or its URI on an object store.
    """

    folder: Location

    @classmethod
    def open(cls, folder: str | Location) -> Self:
        """Open the folder of a run: a path, or a URI such as s3://bucket/runs/a.

        Raises:
            FileNotFoundError: the folder holds no run.
            ValueError: the URI cannot be used; says why.
        """
        place = location_of(folder) if isinstance(folder, str) else folder
        place = place.absolute() if isinstance(place, Path) else place
        if not has_file(place, "config.yaml"):
            raise FileNotFoundError(f"no run in {place}: it holds no config.yaml; give a folder that a run has written")
        return cls(place)

    def __repr__(self) -> str:
        done, failed = len(finished_keys(self.folder)), len(failed_keys(self.folder))
        return f"Run({str(self.folder)!r}: {done:,} fronts finished, {failed:,} failed)"

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of the run."""
        config: Mapping[str, Any] = yaml.safe_load(read_file(self.folder, "config.yaml"))["config"]
        return config

    @property
    def rewards(self) -> tuple[str, ...]:
        """Names of the rewards: those that guide, in the order of the weights, then those that are held out."""
        rewards = self.config["rewards"]
        return (*rewards["guided"], *(rewards.get("held_out") or ()))

    def samples(self) -> pd.DataFrame:
        """One row for each image: prompt, method, seed, weights and size. The images themselves: `images`, `front`."""
        return self._table("samples").drop(columns="image")

    def scores(self) -> pd.DataFrame:
        """One row for each image and reward: its value, and whether the reward guided or was held out."""
        return self._table("scores")

    def costs(self) -> pd.DataFrame:
        """One row for each front: queries, decodes, seconds and memory."""
        return self._table("costs")

    def steps(self) -> pd.DataFrame:
        """One row for each denoising step, image and reward of a front: gradient lengths, reward spread, overlap."""
        return self._table("steps")

    def failures(self) -> pd.DataFrame:
        """One row for each front that failed: the error and its traceback. Empty if none failed."""
        return self._table("failures")

    def images(self, prompt: str | None = None, method: str | None = None) -> Iterator[Sample]:
        """Yield the images one by one, with prompt, method, seed and weights; few are in memory at the same time.

            for sample in run.images():
                sample.image.save(f"{sample.key[:8]}-{sample.weight_index}.png")

        Args:
            prompt: only those of this prompt, given by its text or its `prompt_id`.
            method: only those of this method.

        Raises:
            LookupError: no finished front is of this prompt and method.
        """
        fronts = self._fronts(prompt, method)
        for start in range(0, len(fronts), _FRONTS_AT_ONCE):
            some = fronts[start : start + _FRONTS_AT_ONCE]
            rows = read_table(self.folder, "samples", [front.key for front in some]).to_pylist()
            for front in some:
                for row in sorted((row for row in rows if row["key"] == front.key), key=itemgetter("weight_index")):
                    yield _sample(front, row)

    def front(self, prompt: str, method: str | None = None) -> pd.DataFrame:
        """The front of one prompt: one row for each image, and a column with the scores of each reward.

        The columns are method, seed, weight_index, weights, image (a PIL image) and the names of the rewards.

        Args:
            prompt: the text of the prompt, or its `prompt_id`.
            method: only this method; by default every method of the run.

        Raises:
            LookupError: no finished front is of this prompt and method.
        """
        fronts = self._fronts(prompt, method)
        scores = self._table("scores", fronts).pivot(index=["key", "weight_index"], columns="reward", values="value")
        samples = pd.DataFrame(list(self.images(prompt, method)))
        joined = samples.merge(scores.reset_index(), on=["key", "weight_index"], validate="one_to_one")
        return joined[["method", "seed", "weight_index", "weights", "image", *self.rewards]]

    def report(self, out: str | Path | None = None) -> Path:
        """Write the tables, the figures and one HTML page, as `srsoup report` does; return the path of the page.

        Args:
            out: the folder to write to. By default it is `report` in the folder of the run, or `report-NAME` in the
                current folder if the run is on an object store.

        Raises:
            ReportError: no front is finished, or the folder cannot be written.
        """
        # Here, because a notebook that only reads frames needs no figures.
        from evaluation.report import report_folder, write_report

        return write_report([self.folder], Path(out) if out is not None else report_folder(self.folder))

    def _table(self, table: str, fronts: Sequence[_Front] | None = None) -> pd.DataFrame:
        keys = None if fronts is None else [front.key for front in fronts]
        frame: pd.DataFrame = read_table(self.folder, table, keys).to_pandas(maps_as_pydicts="strict")
        return frame

    def _fronts(self, prompt: str | None, method: str | None) -> list[_Front]:
        """The finished fronts of a prompt and a method, in the order of the prompts' texts."""
        columns = ("prompt", "prompt_id", "method", "seed")
        rows = read_columns(self.folder, "costs", columns, finished_keys(self.folder))
        fronts = sorted((_Front(key, *row) for key, row in rows.items()), key=lambda front: front[1:])
        found = [
            front
            for front in fronts
            if prompt in (None, front.prompt, front.prompt_id) and method in (None, front.method)
        ]
        if not found and (prompt, method) != (None, None):
            texts = list(dict.fromkeys(front.prompt for front in fronts))
            near = difflib.get_close_matches(prompt or "", texts, n=3, cutoff=0.0)
            methods = ", ".join(dict.fromkeys(front.method for front in fronts)) or "none"
            raise LookupError(
                f"{self.folder}: no finished front is of prompt {prompt!r} and method {method!r}; "
                f"the nearest prompts are {near}, and the methods are {methods}"
            )
        return found


def _sample(front: _Front, row: Row) -> Sample:
    image = Image.open(io.BytesIO(row["image"]["bytes"]))
    image.load()
    weights = None if row["weights"] is None else tuple(row["weights"])
    return Sample(front.key, front.prompt, front.method, row["seed"], row["weight_index"], weights, image)
