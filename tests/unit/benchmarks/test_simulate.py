"""The pool and the cell keep simulated actors busy; the full size is `benchmarks/simulate.py`."""

import pytest

from benchmarks.simulate import Case, simulate
from tests.support.virtual_time import run


@pytest.mark.parametrize("seconds", [0.18, 0.01])
def test_simulated_actors_are_busy(seconds: float) -> None:
    figures = run(simulate(Case(cells=2, actors=8, seconds=seconds, prompts=100, steps=5)))
    assert figures["simulated_actors"] == 16 and figures["busy_share"] >= 0.95


def test_every_call_of_a_prompt_is_computed_once() -> None:
    figures = run(simulate(Case(cells=1, actors=4, seconds=0.18, prompts=10, steps=5)))
    # Encode; a reverse step; 2 chunks of one reward, or 2 of one and 4 of two; the last images (two answers).
    assert figures["calls"] == 10 * (1 + 5 + 2 * 4 + 3 * (6 + 10) + 2 + 2)
