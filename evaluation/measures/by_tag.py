"""Scores and hypervolume by tag: the categories of a benchmark, such as `counting` or `color_attr` of GenEval."""

import pandas as pd

from evaluation.measures.hypervolume import HypervolumeTable
from evaluation.reading.comparison import Comparison
from evaluation.statistics.bootstrap import mean_interval


def by_tag(comparison: Comparison, volumes: HypervolumeTable) -> pd.DataFrame:
    """Returns one row for each label and tag, in the order of the labels and of the first prompt with the tag.

    A prompt with several tags counts for each of them, and a prompt without tags for none.

    Returns:
        label; tag; prompts, the number of different prompts; fronts; hypervolume, the mean over fronts from the
        reference point of `volumes`; low and high, the 95 % interval of that mean; and for each reward the mean over
        all images. No rows if no prompt has a tag.
    """
    tagged, rows = _tagged(comparison), []
    for (label, tag), own in _groups(comparison, tagged):
        found = volumes.by_prompt[volumes.by_prompt["label"] == label]
        found = found[found["prompt_id"].isin(own["prompt_id"])]
        low, high = mean_interval(found["hypervolume"].to_numpy(), found["text_id"].to_numpy(dtype=str))
        means = own[list(comparison.rewards)].mean()
        mean = float(found["hypervolume"].mean())
        rows.append((label, tag, own["text_id"].nunique(), len(found), mean, low, high, *means))
    columns = ["label", "tag", "prompts", "fronts", "hypervolume", "low", "high", *comparison.rewards]
    return pd.DataFrame(rows, columns=columns)


def by_tag_and_weight(comparison: Comparison) -> pd.DataFrame:
    """Returns one row for each label, tag and weighting: these, weights, fronts, and the mean of each reward."""
    rows = []
    for (label, tag), own in _groups(comparison, _tagged(comparison)):
        for index, some in own.groupby("weight_index", sort=True):
            means = some[list(comparison.rewards)].mean()
            rows.append((label, tag, index, some["weights"].iloc[0], len(some), *means))
    columns = ["label", "tag", "weight_index", "weights", "fronts", *comparison.rewards]
    return pd.DataFrame(rows, columns=columns)


def _tagged(comparison: Comparison) -> pd.DataFrame:
    """Returns label, key and tag: one row for each tag of each compared front."""
    costs = comparison.costs
    if "tags" not in costs.columns:
        return pd.DataFrame(columns=["label", "key", "tag"])
    exploded = costs[["label", "key", "tags"]].rename(columns={"tags": "tag"}).explode("tag")
    return exploded.dropna(subset=["tag"]).reset_index(drop=True)


def _groups(comparison: Comparison, tagged: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    points = comparison.points.merge(tagged, on=["label", "key"])
    tags = list(dict.fromkeys(points.sort_values("prompt", kind="stable")["tag"]))
    groups = {pair: own for pair, own in points.groupby(["label", "tag"], sort=False)}
    order = [(label, tag) for label in comparison.labels for tag in tags]
    return [(pair, groups[pair]) for pair in order if pair in groups]
