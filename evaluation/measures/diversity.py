"""How much the images of a method differ: within a prompt over its seeds, and between prompts.

The distance is a plain one between colours, named `rgb16`: the root mean square difference of two images that are
averaged down to 16 x 16 RGB, in 0..1. It needs no network, and so it knows colours and layout only, not content. Two
pictures of different animals on the same background are near each other by it. A distance between the features of a
named encoder would have to be computed while the run is made, because this package reads files and runs no model.
"""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import pdist

from evaluation.errors import ReportError
from evaluation.reading.comparison import Comparison, RunData
from evaluation.reading.images import no_image
from pipeline.records import read_table

DISTANCE = "rgb16"
SIDE = 16
# With more prompts, these are drawn evenly from them; the table says how many were used.
MOST_PROMPTS = 64
_FRONTS_AT_ONCE = 64
COLUMNS = [
    "label", "distance", "within_prompt", "images_of_a_prompt", "between_prompts", "prompts_used", "prompts",
]  # fmt: skip


def diversity(comparison: Comparison) -> pd.DataFrame:
    """Returns the mean `rgb16` distance of the images of each label.

    `within_prompt` is the mean over prompts and weightings of the mean distance of two images of the same prompt and
    weighting that differ in their seed. The images of the unguided model all have seeds of their own, so all of a
    prompt's images are compared. It is NaN if a prompt has one seed. `between_prompts` is the mean over weightings and
    pairs of prompts of the distance of two images of the same weighting (and the same number of the seed). If a method
    gives different prompts the same look, it is lower than that of the unguided model.

    Raises:
        ReportError: an image cannot be read.
    """
    rows = []
    for label in comparison.labels:
        points = comparison.points_of(label)
        texts = sorted(set(points["text_id"]))
        used = [texts[i] for i in np.unique(np.linspace(0, len(texts) - 1, min(len(texts), MOST_PROMPTS)).astype(int))]
        own = points[points["text_id"].isin(used)]
        small = _small_images(comparison.run_of(label), own["key"].unique().tolist())
        number = own.groupby("text_id")["front_seed"].rank(method="dense").astype(int)
        groups = own.assign(number=number, group=own["weight_index"].where(own["weights"].notna(), 0))
        sizes = groups.groupby(["text_id", "group"]).size()
        within = _mean_of_groups(groups, ["text_id", "group"], small)
        between = _mean_of_groups(groups, ["weight_index", "number"], small)
        rows.append((label, DISTANCE, within, int(sizes.max()), between, len(used), len(texts)))
    return pd.DataFrame(rows, columns=COLUMNS)


def rgb16(image: bytes) -> NDArray[np.float64]:
    """Returns an image file averaged down to 16 x 16 RGB, as one vector.

    It is scaled so that the Euclidean distance of two vectors is the root mean square difference of their colours.
    """
    with Image.open(io.BytesIO(image)) as opened:
        small = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    vector: NDArray[np.float64] = np.asarray(small, dtype=np.float64).reshape(-1) / (255 * np.sqrt(3 * SIDE**2))
    return vector


def mean_distance(vectors: NDArray[np.float64]) -> float:
    """Returns the mean Euclidean distance of every two of n vectors (n, k), n >= 2."""
    return float(pdist(vectors).mean())


def _small_images(run: RunData, keys: Sequence[str]) -> dict[tuple[str, int], NDArray[np.float64]]:
    small = {}
    try:
        for start in range(0, len(keys), _FRONTS_AT_ONCE):
            rows = read_table(run.path, "samples", keys[start : start + _FRONTS_AT_ONCE])
            for row in rows.select(["key", "weight_index", "image"]).to_pylist():
                image = (row["image"] or {}).get("bytes")
                if image is None:
                    raise ReportError(no_image(run.path))
                small[row["key"], row["weight_index"]] = rgb16(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ReportError(
            f"{run.path}: an image in samples/ cannot be read ({error}). `srsoup verify {run.path}` names every "
            "damaged file and its fix."
        ) from error
    return small


def _mean_of_groups(points: pd.DataFrame, names: list[str], small: dict[tuple[str, int], NDArray[np.float64]]) -> float:
    """Returns the mean over groups of the mean distance within the group, or NaN if no group has two images."""
    pairs = points.groupby(names)[["key", "weight_index"]]
    groups = [[small[tuple(row)] for row in group.itertuples(index=False)] for _, group in pairs]
    means = [mean_distance(np.stack(group)) for group in groups if len(group) > 1]
    return float(np.mean(means)) if means else float("nan")
