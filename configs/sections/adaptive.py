"""The section `adaptive`: weights that are re-spaced from round to round, so that images are evenly spread."""

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel

LARGEST_ADAPTIVE = 200


class AdaptiveConfig(StrictModel):
    """How many fronts lie between one spacing of the weights and the next. `weights: {adaptive: L}` sets it."""

    rounds: int = Field(
        4, ge=2, le=20, description="number of rounds; each has twice as many fronts as the one before it, and the "
        "last one has all that are left",
    )  # fmt: skip
    first_round: int = Field(
        8, ge=1, le=1_000_000, description="number of fronts in the first round, whose weights are evenly spaced"
    )


def check_adaptive(
    weights: Sequence[Sequence[float]], methods: Sequence[str], adapting: Sequence[str], trains: bool = False
) -> None:
    """Check that the weights of a run can be re-spaced.

    Args:
        weights: the rows of the first round.
        methods: the methods of the run.
        adapting: the methods whose weights can be re-spaced.
        trains: whether the run trains a surrogate, in rounds of its own.

    Raises:
        InvalidValueError: there are not two rewards, or not three ascending rows from (0, 1) to (1, 0), or no method
            whose fronts have the weights of its round; or a surrogate is trained in the same run.
    """
    if trains:
        raise InvalidValueError(
            "a surrogate that is trained in this run and adaptive weights would both divide its fronts into rounds",
            "name a trained surrogate by surrogate.file, or give weights by another rule",
            "weights",
        )
    if not set(methods) & set(adapting):
        raise InvalidValueError(
            f"no method of this run is guided by weights of its round: {', '.join(methods)}",
            f"add one of the methods {' and '.join(sorted(adapting))}, or give weights by another rule",
            "weights",
        )
    first = [row[0] for row in weights]
    ascending = all(one < other for one, other in pairwise(first))
    if len(weights[0]) != 2 or len(weights) < 3 or not ascending or (first[0], first[-1]) != (0, 1):
        raise InvalidValueError(
            "weights are re-spaced between (0, 1) and (1, 0), for two rewards and at least three rows in order",
            "give {adaptive: 6}, or leave the section adaptive out",
            "weights",
        )
