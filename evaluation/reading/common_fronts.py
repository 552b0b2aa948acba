"""Finds the fronts that every compared method has, because means over different prompts cannot be compared."""

import pandas as pd

Pairs = set[tuple[str, int]]


def mark_compared(points: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Marks the points of the fronts that are compared, and names the fronts of several seeds of one prompt.

    A front is compared if every label has a front of the same prompt and seed. If the runs have no seed in common,
    because their configurations have different seeds, the fronts of each prompt are numbered in each run, and the
    numbers are compared instead of the seeds.

    Args:
        points: label, run, text_id, text, front_seed (the seed of the prompt, not that of a sample), ...

    Returns:
        The points with prompt_id, prompt and one more column, compared. The second value is true if the numbers were
        compared instead of the seeds.
    """
    by_number = False
    numbers = points.groupby("text_id")["front_seed"].rank(method="dense").astype(int)
    common = _common(points.assign(pair=numbers))
    if not common and points["run"].nunique() > 1:
        by_number = True
        numbers = _numbers_in_each_run(points, numbers)
        common = _common(points.assign(pair=numbers))
    compared = [pair in common for pair in zip(points["text_id"], numbers, strict=True)]
    return name_seeds(points.assign(compared=compared, prompt=points["text"]), numbers), by_number


def _common(points: pd.DataFrame) -> Pairs:
    """Returns the (text_id, pair) that every label has."""
    each = [set(zip(own["text_id"], own["pair"], strict=True)) for _, own in points.groupby("label", sort=False)]
    return set.intersection(*each)


def _numbers_in_each_run(points: pd.DataFrame, numbers: pd.Series) -> pd.Series:
    """Numbers the seeds of each prompt in each run, first those that every method of the run has."""
    found = pd.Series(0, index=points.index)
    for _, own in points.assign(pair=numbers).groupby("run", sort=False):
        common = _common(own)
        lacking = [pair not in common for pair in zip(own["text_id"], own["pair"], strict=True)]
        order = own["pair"] + numbers.max() * pd.Series(lacking, index=own.index)
        found.loc[own.index] = order.groupby(own["text_id"]).rank(method="dense").astype(int)
    return found


def name_seeds(points: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """Sets prompt_id to text_id, and adds the number of the seed to prompt_id and prompt if a prompt has several."""
    number = numbers.astype(str)
    several = numbers.groupby(points["text_id"]).transform("max") > 1
    return points.assign(
        prompt_id=points["text_id"].where(~several, points["text_id"] + "-" + number),
        prompt=points["prompt"].where(~several, points["prompt"] + " (seed " + number + ")"),
    )


def count_fronts(points: pd.DataFrame, wanted: pd.DataFrame) -> pd.DataFrame:
    """Returns the number of fronts of each method of each run.

    Args:
        points: label, run, key, compared.
        wanted: label, run and wanted, for every method in the configuration of each run: the number of its fronts when
            the run is finished, or NaN if that is not known.

    Returns:
        One row for each label, also for one without fronts: label, run, wanted, finished, compared, left_out.
    """
    fronts = points.drop_duplicates(["label", "key"]).groupby(["label", "run"], sort=False)["compared"]
    counts = pd.DataFrame({"finished": fronts.size(), "compared": fronts.sum()}).reset_index()
    counts = wanted.merge(counts, on=["label", "run"], how="outer", sort=False)
    counts[["finished", "compared"]] = counts[["finished", "compared"]].fillna(0).astype(int)
    return counts.assign(left_out=counts["finished"] - counts["compared"])
