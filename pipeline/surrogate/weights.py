"""Re-spaces the weights of a run between its rounds, so that the images lie evenly along the front.

weights/METHOD-round-K.json   the weights of round K, and the fronts of the rounds before it that they came from

Legend of the shape suffixes: L weightings, K knots.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.protocol import RunStopped
from configs.errors import InvalidValueError, RequestError
from configs.sections.adaptive import check_adaptive
from pipeline.planning.plan import Plan
from pipeline.planning.task import PromptTask
from pipeline.records import finished_keys, has_file, read_file, read_table, write_atomically

# The share of even spacing that stays, so that an interval of weights that seemed to have no length keeps a row near.
EVEN = 0.1
# The weights of a run are written with so many decimals.
DECIMALS = 6

Array = NDArray[np.float64]


class Spread(NamedTuple):
    """The mean front of some fronts with the same weights.

    Attributes:
        w_L: the weight of the first reward, ascending from 0 to 1.
        points_L2: the mean of both rewards for each weighting.
        fronts: the number of fronts.
    """

    w_L: Array
    points_L2: Array
    fronts: int


def respaced(spreads: Sequence[Spread], n: int) -> Array:
    """Return n weights of the first reward, from 0 to 1, that are expected to divide the front into equal lengths.

    With s(w) the length of the mean front up to weight w, in units of the difference of each reward between the two
    ends, the weights are the solution of

        (1 - e) s(w_l) / s(1) + e w_l = l / (n - 1),   l = 0..n-1,   e = 1/10.

    s / s(1) is linear between the weights that were run, and the mean over the rounds, by their numbers of fronts. The
    same rule places the knots of a curve at equal arc length; adaptive weighted sums do it for fronts (Kim and de Weck
    2005, Struct. Multidisc. Optim. 29). If the ends do not differ in any reward, the weights are evenly spaced.
    """
    fronts_J = np.array([one.fronts for one in spreads], dtype=np.float64)
    ends_J2 = np.array([one.points_L2[-1] - one.points_L2[0] for one in spreads])
    span_2 = np.abs(fronts_J @ ends_J2) / fronts_J.sum()
    even_n = np.linspace(0.0, 1.0, n)
    if not span_2.any():
        return even_n
    w_K = np.unique(np.concatenate([one.w_L for one in spreads]))
    s_K = np.zeros_like(w_K)
    for one in spreads:
        steps = np.diff(one.points_L2, axis=0)[:, span_2 > 0] / span_2[span_2 > 0]
        length_L = np.concatenate([[0.0], np.cumsum(np.sqrt((steps**2).sum(1)))])
        share_L = length_L / length_L[-1] if length_L[-1] > 0 else one.w_L
        s_K += one.fronts / fronts_J.sum() * np.interp(w_K, one.w_L, share_L)
    s_K = (1 - EVEN) * s_K + EVEN * w_K
    w_n: Array = np.interp(even_n, s_K / s_K[-1], w_K).round(DECIMALS)
    w_n[0], w_n[-1] = 0.0, 1.0
    return w_n


def weight_rounds(plan: Plan, tasks: Sequence[PromptTask], stop_requested: Event) -> Iterator[list[PromptTask]]:
    """Yield the open tasks of a plan whose weights are re-spaced, round by round, with their weights.

    The next round may be taken only after the results of the last one are written. After `stop_requested` nothing is
    computed any more.

    Raises:
        RequestError: a file in the folder `weights` is damaged, or of another run.
        RunStopped: no front of the earlier rounds has finished.
    """
    by_round: dict[int, list[PromptTask]] = {}
    for task in tasks:
        by_round.setdefault(task.weights_round or 0, []).append(task)
    for number, members in sorted(by_round.items()):
        if stop_requested.is_set():
            return
        weights = {method: _weights_of(plan, method, number) for method in sorted({task.method for task in members})}
        yield [replace(task, weights=weights[task.method]) for task in members]


def _weights_of(plan: Plan, method: str, number: int) -> tuple[tuple[float, ...], ...]:
    """Return the weights of a round, which are computed if the folder does not hold them."""
    name = f"weights/{method}-round-{number}.json"
    if not has_file(plan.folder, name):
        write_atomically(plan.folder / name, json.dumps(_computed(plan, method, number), indent=1).encode())
    try:
        rows = json.loads(read_file(plan.folder, name))["weights"]
        found = tuple(tuple(float(w) for w in row) for row in rows)
        check_adaptive(found, [method], [method])
        if len(found) != len(plan.config.weights) or any(abs(sum(row) - 1) > 1e-6 or min(row) < 0 for row in found):
            raise ValueError("the rows are not those of this run")
        return found
    except (ValueError, KeyError, TypeError, IndexError, InvalidValueError) as error:
        problem = error.problem if isinstance(error, InvalidValueError) else str(error)
        raise RequestError(
            file=str(plan.folder / name), key="weights", value=str(plan.folder),
            problem=f"the weights of the round cannot be used: {problem}",
            allowed="the file as this run has written it",
            fix="put the content of the file back; or set output=... to a new folder",
        ) from error  # fmt: skip


def _computed(plan: Plan, method: str, number: int) -> dict[str, object]:
    """Return the record of a round: its weights, from all finished fronts of the rounds before it."""
    finished = finished_keys(plan.folder)
    before: dict[int, list[str]] = {}
    for task in plan.tasks:
        if task.method == method and task.weights_round is not None and task.weights_round < number:
            before.setdefault(task.weights_round, []).append(task.key)
    keys = {earlier: sorted(key for key in members if key in finished) for earlier, members in sorted(before.items())}
    spreads = [_spread(plan, members) for members in keys.values() if members]
    if not spreads:
        raise RunStopped(f"no front of the rounds before round {number} has finished, so no weights can be re-spaced")
    w_L = respaced(spreads, len(plan.config.weights))
    rows = [[w, round(1 - w, DECIMALS)] for w in w_L.tolist()]
    return {"weights": rows, "keys": [key for members in keys.values() for key in members]}


def _spread(plan: Plan, keys: Sequence[str]) -> Spread:
    """Return the mean front of finished fronts of one round, from their rows."""
    samples = read_table(plan.folder, "samples", keys, ["key", "weight_index", "weights"]).to_pylist()
    scores = read_table(plan.folder, "scores", keys, ["key", "weight_index", "reward", "value"]).to_pylist()
    w_L = np.zeros(len(plan.config.weights))
    for row in samples:
        w_L[row["weight_index"]] = row["weights"][0]
    points_L2 = np.zeros((len(w_L), 2))
    guided = plan.config.rewards.guided
    for row in sorted(scores, key=lambda one: (one["key"], one["weight_index"], one["reward"])):
        if row["reward"] in guided:
            points_L2[row["weight_index"], guided.index(row["reward"])] += row["value"] / len(keys)
    return Spread(w_L, points_L2, len(keys))
