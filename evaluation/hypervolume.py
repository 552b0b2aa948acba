"""Hypervolume of fronts (higher rewards are better), always kept with its reference point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymoo.indicators.hv import HV

from evaluation.bootstrap import mean_interval
from evaluation.fronts import mean_over_prompts
from evaluation.run_data import Comparison, RunData

# The derived reference point lies this share of the observed range below the worst value of each reward.
MARGIN = 0.05


@dataclass(frozen=True)
class ReferencePoint:
    """The corner that hypervolume is measured from: one value per guided reward, and where it came from."""

    values: Mapping[str, float]
    origin: str

    def array(self, rewards: Sequence[str]) -> NDArray[np.float64]:
        """The values in the order of these rewards."""
        return np.array([self.values[reward] for reward in rewards], dtype=np.float64)


@dataclass(frozen=True)
class Hypervolume:
    """Volume dominated by the points and dominating the reference; `outside` counts points that do not
    exceed the reference in every reward and so add nothing."""

    value: float
    outside: int


@dataclass(frozen=True)
class HypervolumeTable:
    """Hypervolume by prompt and by label.

    `by_prompt`: label, prompt_id, prompt, text_id (the prompt_id without its seed), hypervolume, outside.
    `by_label`: label, hypervolume (mean over prompts), low and high (95 % of it by bootstrap), std, prompts,
    ratio (to the unguided model over the prompts that both have; NaN where there is none or its volume is 0),
    of_mean_front, images, outside, empty (prompts without any volume).
    """

    reference: ReferencePoint
    by_prompt: pd.DataFrame
    by_label: pd.DataFrame


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> Hypervolume:
    """Hypervolume of points (n, M) above a reference (M,), M >= 1.

    pymoo minimises, so both are negated. Points that do not exceed the reference everywhere are left out
    and counted.
    """
    values = np.asarray(points, dtype=np.float64)
    inside = (values > reference).all(axis=1)
    outside = int((~inside).sum())
    if outside == len(values):
        return Hypervolume(0.0, outside)
    if values.shape[1] == 1:
        return Hypervolume(float(values.max() - reference[0]), outside)
    return Hypervolume(float(HV(ref_point=-reference)(-values[inside])), outside)


def reference_point(comparison: Comparison) -> ReferencePoint:
    """The first `report.reference_point` that a run's configuration states, else the derived one."""
    stated = {run.name: _stated(comparison, run) for run in comparison.runs}
    for name, values in stated.items():
        if values:
            others = [other for other, point in stated.items() if point and point != values]
            note = f"; {', '.join(others)} states another, not used here" if others else ""
            return ReferencePoint(values, f"stated in the configuration of {name}{note}")
    return derived_point(comparison)


def derived_point(comparison: Comparison) -> ReferencePoint:
    """A point below every sample: all of them count, whatever a configuration states.

    Per reward: the worst value over all runs, methods, prompts and weights, less 5 % of the range of these
    values (less 5 % of the value's size, or 0.05, where the range is 0).
    """
    derived = {}
    for reward in comparison.guided:
        low, high = float(comparison.points[reward].min()), float(comparison.points[reward].max())
        derived[reward] = low - MARGIN * ((high - low) or abs(low) or 1.0)
    return ReferencePoint(derived, "derived: the worst value of all samples, less 5 % of their range")


def _stated(comparison: Comparison, run: RunData) -> dict[str, float] | None:
    point = (run.config.get("report") or {}).get("reference_point")
    return {reward: float(point[reward]) for reward in comparison.guided} if point else None


def hypervolume_table(comparison: Comparison, reference: ReferencePoint) -> HypervolumeTable:
    """Hypervolume of every prompt's front, the mean over prompts, and that of the mean front."""
    rewards = list(comparison.guided)
    corner = reference.array(rewards)
    rows = []
    for (label, prompt_id), group in comparison.points.groupby(["label", "prompt_id"], sort=False):
        volume = hypervolume(group[rewards].to_numpy(dtype=np.float64), corner)
        names = group[["prompt", "text_id"]].iloc[0]
        rows.append((label, prompt_id, *names, volume.value, volume.outside))
    columns = ["label", "prompt_id", "prompt", "text_id", "hypervolume", "outside"]
    by_prompt = pd.DataFrame(rows, columns=columns)
    means = mean_over_prompts(comparison.points, rewards)
    by_label = pd.DataFrame([_summary(comparison, label, by_prompt, means, corner) for label in comparison.labels])
    return HypervolumeTable(reference, by_prompt, by_label)


def _summary(
    comparison: Comparison,
    label: str,
    by_prompt: pd.DataFrame,
    means: pd.DataFrame,
    corner: NDArray[np.float64],
) -> dict[str, object]:
    own = by_prompt[by_prompt["label"] == label]
    front = means.loc[means["label"] == label, list(comparison.guided)].to_numpy(dtype=np.float64)
    low, high = mean_interval(own["hypervolume"].to_numpy(), own["text_id"].to_numpy(dtype=str))
    return {
        "label": label,
        "hypervolume": float(own["hypervolume"].mean()),
        "low": low,
        "high": high,
        "std": float(own["hypervolume"].std(ddof=0)),
        "prompts": len(own),
        "ratio": _ratio(by_prompt, label, comparison.base_label(label)),
        "of_mean_front": hypervolume(front, corner).value,
        "images": len(comparison.of(label)),
        "outside": int(own["outside"].sum()),
        "empty": int((own["hypervolume"] == 0).sum()),
    }


def _ratio(by_prompt: pd.DataFrame, label: str, base: str | None) -> float:
    """Mean over the shared prompts, divided by the base model's mean over the same prompts."""
    if base is None:
        return float("nan")
    volumes = by_prompt.pivot(index="prompt_id", columns="label", values="hypervolume")
    shared = volumes[[base] if label == base else [label, base]].dropna()
    below = float(shared[base].mean())
    return float(shared[label].mean()) / below if below > 0 else float("nan")
