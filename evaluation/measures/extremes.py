"""The extremes of a front: the score of each guided reward when it has all the weight, and the unguided mean."""

import pandas as pd

from evaluation.measures.fronts import one_hot_reward
from evaluation.reading.comparison import UNGUIDED, Comparison

COLUMNS = ["label", "prompt_id", "prompt", "reward", "value", "unguided", "gain"]


def extremes(comparison: Comparison) -> pd.DataFrame:
    """Returns one row for each guided label, prompt, and guided reward whose one-hot weighting was run.

    `value` is the score of that reward at its one-hot weighting, `unguided` is the mean score of the unguided model's
    samples of the same prompt, and `gain` is their difference. A prompt without samples of the unguided model has no
    row.
    """
    rows = []
    for label in comparison.labels:
        base = comparison.unguided_label(label)
        if base is None or comparison.method_of(label) == UNGUIDED:
            continue
        means = comparison.points_of(base).groupby("prompt_id")[list(comparison.guided)].mean()
        own = comparison.points_of(label)
        for number, reward in enumerate(comparison.guided):
            found = own[[one_hot_reward(weights) == number for weights in own["weights"]]]
            for row in found.drop_duplicates("prompt_id").to_dict("records"):
                if row["prompt_id"] in means.index:
                    value, base_value = float(row[reward]), float(means.loc[row["prompt_id"], reward])
                    names = (label, row["prompt_id"], row["prompt"], reward)
                    rows.append((*names, value, base_value, value - base_value))
    return pd.DataFrame(rows, columns=COLUMNS)
