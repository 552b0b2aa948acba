"""The hypervolume of fronts, always together with its reference point; higher rewards are better.

There are two hypervolumes of many prompts, and they are different numbers. The *mean over prompts* is the mean of the
hypervolumes of the prompts' fronts. The hypervolume *of the mean front* is that of the front whose points are the means
of the rewards over prompts. Either can be the larger one. The paper's Figures 1 and 10 very probably show the second,
because its reference points are just below its means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.measures.fronts import split
from evaluation.reading.comparison import Comparison, RunData
from evaluation.statistics.bootstrap import interval_of, mean_interval

# The derived reference point is below the worst value of each reward, by this share of the range of its values.
MARGIN = 0.05


@dataclass(frozen=True)
class ReferencePoint:
    """The corner from which hypervolume is measured: one value for each guided reward, and the source of the values."""

    values: Mapping[str, float]
    origin: str

    def array(self, rewards: Sequence[str]) -> NDArray[np.float64]:
        """Returns the values in the order of these rewards."""
        return np.array([self.values[reward] for reward in rewards], dtype=np.float64)


@dataclass(frozen=True)
class Hypervolume:
    """The hypervolume of one front.

    Attributes:
        value: volume of the region between the reference point and the points.
        outside: number of points that do not exceed the reference point in every reward; they add no volume.
    """

    value: float
    outside: int


@dataclass(frozen=True)
class HypervolumeTable:
    """The hypervolume of each prompt and of each label.

    Attributes:
        reference: the reference point of all volumes.
        by_prompt: label, prompt_id, prompt, text_id (the prompt_id without its seed), hypervolume, outside.
        by_label: label; hypervolume, the mean over fronts; low and high, the 95 % interval of that mean, cut off at 0
            (NaN if it is not known, see `mean_interval`); std; prompts, the number of fronts; texts, the number of
            different prompts; ratio to the unguided model (NaN if there is none or its volume is 0); of_mean_front,
            with its interval mean_front_low and mean_front_high (`interval_of`), and mean_front_outside, the number of
            its points that do not exceed the reference point; images; outside; empty, the number of fronts with
            volume 0.
    """

    reference: ReferencePoint
    by_prompt: pd.DataFrame
    by_label: pd.DataFrame


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> Hypervolume:
    """Returns the hypervolume of points (n, M) above a reference point (M,), M >= 1.

    Points that do not exceed the reference point in every reward are left out and counted. moocore minimises, so both
    arguments are negated for it.
    """
    values = np.asarray(points, dtype=np.float64)
    inside = (values > reference).all(axis=1)
    outside = int((~inside).sum())
    if outside == len(values):
        return Hypervolume(0.0, outside)
    if values.shape[1] == 1:
        return Hypervolume(float(values.max() - reference[0]), outside)
    return Hypervolume(float(moocore.hypervolume(-values[inside], ref=-reference)), outside)


def reference_point(comparison: Comparison) -> ReferencePoint:
    """Returns the first `report.reference_point` in the configurations of the runs, or else the derived point."""
    configured = {run.name: _configured(comparison, run) for run in comparison.runs}
    for name, values in configured.items():
        if values:
            others = [other for other, point in configured.items() if point and point != values]
            note = f"; another point, in the configuration of {', '.join(others)}, is not used" if others else ""
            return ReferencePoint(values, f"set in the configuration of {name}{note}")
    return derived_point(comparison)


def derived_point(comparison: Comparison) -> ReferencePoint:
    """Returns a reference point below every sample, so that every sample adds volume or is dominated.

    For each reward it is the worst value over all runs, methods, prompts and weightings, minus 5 % of the range of
    these values. If the range is 0, 5 % of the absolute value are subtracted, or 0.05 if that is 0 too.
    """
    derived = {}
    for reward in comparison.guided:
        low, high = float(comparison.points[reward].min()), float(comparison.points[reward].max())
        derived[reward] = low - MARGIN * ((high - low) or abs(low) or 1.0)
    return ReferencePoint(derived, "derived from the samples: the worst value, minus 5 % of the range of values")


def _configured(comparison: Comparison, run: RunData) -> dict[str, float] | None:
    point = (run.config.get("report") or {}).get("reference_point")
    return {reward: float(point[reward]) for reward in comparison.guided} if point else None


def hypervolume_table(comparison: Comparison, reference: ReferencePoint) -> HypervolumeTable:
    """Returns the hypervolume of each prompt's front, the means over prompts, and the hypervolume of the mean front."""
    rewards = list(comparison.guided)
    corner = reference.array(rewards)
    names = comparison.points[["label", "prompt_id", "prompt", "text_id"]]
    fronts = [
        (first, hypervolume(values, corner))
        for first, _, values in split(comparison.points, ["label", "prompt_id"], rewards)
    ]
    by_prompt = names.iloc[[first for first, _ in fronts]].reset_index(drop=True)
    by_prompt["hypervolume"] = [volume.value for _, volume in fronts]
    by_prompt["outside"] = [volume.outside for _, volume in fronts]
    by_label = pd.DataFrame([_summary(comparison, label, by_prompt, corner) for label in comparison.labels])
    return HypervolumeTable(reference, by_prompt, by_label)


def fronts_of(comparison: Comparison, label: str) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Returns the guided rewards of a label's fronts, shape (fronts, L * M), and the prompt of each, shape (fronts,).

    The fronts are in the order of their prompt_id, which is the same for every label.
    """
    own = comparison.points_of(label).sort_values(["prompt_id", "weight_index"])
    fronts = own.groupby("prompt_id", sort=False)["text_id"].first()
    values = own[list(comparison.guided)].to_numpy(dtype=np.float64)
    return values.reshape(len(fronts), -1), fronts.to_numpy(dtype=str)


def _summary(
    comparison: Comparison, label: str, by_prompt: pd.DataFrame, corner: NDArray[np.float64]
) -> dict[str, object]:
    own = by_prompt[by_prompt["label"] == label]
    values, texts = fronts_of(comparison, label)
    of_mean_front = hypervolume(values.mean(axis=0).reshape(-1, len(corner)), corner)
    low, high = mean_interval(own["hypervolume"].to_numpy(), own["text_id"].to_numpy(dtype=str))
    front_low, front_high = interval_of(
        lambda mean: hypervolume(mean.reshape(-1, len(corner)), corner).value, values, texts
    )
    # No volume is negative, so what lies below 0 tells nothing.
    low, front_low = (max(end, 0.0) if end == end else end for end in (low, front_low))
    return {
        "label": label,
        "hypervolume": float(own["hypervolume"].mean()),
        "low": low,
        "high": high,
        "std": float(own["hypervolume"].std(ddof=0)),
        "prompts": len(own),
        "texts": own["text_id"].nunique(),
        "ratio": _ratio(by_prompt, label, comparison.unguided_label(label)),
        "of_mean_front": of_mean_front.value,
        "mean_front_low": front_low,
        "mean_front_high": front_high,
        "mean_front_outside": of_mean_front.outside,
        "images": len(comparison.points_of(label)),
        "outside": int(own["outside"].sum()),
        "empty": int((own["hypervolume"] == 0).sum()),
    }


def _ratio(by_prompt: pd.DataFrame, label: str, base: str | None) -> float:
    """Returns the mean over prompts, divided by the unguided model's mean over the same prompts."""
    if base is None:
        return float("nan")
    volumes = by_prompt.pivot(index="prompt_id", columns="label", values="hypervolume")
    base_mean = float(volumes[base].mean())
    return float(volumes[label].mean()) / base_mean if base_mean > 0 else float("nan")


def reference_warnings(comparison: Comparison, reference: ReferencePoint) -> list[str]:
    """Returns a sentence for everything about a reference point and the fronts that makes a hypervolume misleading."""
    found = []
    for reward in comparison.guided:
        value, best = reference.values[reward], float(comparison.points[reward].max())
        if value >= best:
            found.append(
                f"The reference point's {reward} = {value:g} is not below any image (the best has {best:g}), so every "
                "hypervolume is 0. Higher is better for every reward: is the sign of the reference point right?"
            )
    corner = reference.array(comparison.guided)
    images = comparison.points[list(comparison.guided)].to_numpy(dtype=np.float64)
    outside = len(images) - int((images > corner).all(axis=1).sum())
    if outside:
        found.append(
            f"{outside:,} of {len(images):,} images do not exceed the reference point in every reward; they "
            "add no hypervolume."
        )
    for row in comparison.fronts.to_dict("records"):
        if row["left_out"]:
            found.append(
                f"{row['left_out']:,} of {row['finished']:,} fronts of {row['label']} are left out, because another "
                "method or run lacks them."
            )
    return found
