"""The ends of a front: each guided reward where it has all the weight, beside the unguided model's mean."""

import pandas as pd

from evaluation.run_data import UNGUIDED, Comparison

COLUMNS = ["label", "prompt_id", "prompt", "reward", "value", "unguided", "gain"]


def ends(comparison: Comparison) -> pd.DataFrame:
    """One row for each guided label, prompt and guided reward whose one-hot weight was run.

    `value` is that reward at its one-hot weight, `unguided` the mean over the unguided model's samples of
    the same prompt, `gain` their difference. A prompt that the unguided model lacks has no row.
    """
    rows = []
    for label in comparison.labels:
        base = comparison.base_label(label)
        if base is None or comparison.method(label) == UNGUIDED:
            continue
        means = comparison.of(base).groupby("prompt_id")[list(comparison.guided)].mean()
        own = comparison.of(label)
        for number, reward in enumerate(comparison.guided):
            one_hot = [float(i == number) for i in range(len(comparison.guided))]
            found = own[[weights == one_hot for weights in own["weights"]]]
            for row in found.drop_duplicates("prompt_id").to_dict("records"):
                if row["prompt_id"] in means.index:
                    below = float(means.loc[row["prompt_id"], reward])
                    rows.append(_row(label, row, reward, float(row[reward]), below))
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(label: str, row: dict, reward: str, value: float, below: float) -> tuple:
    return (label, row["prompt_id"], row["prompt"], reward, value, below, value - below)
