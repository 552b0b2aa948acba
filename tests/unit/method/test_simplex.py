"""Weightings on the simplex, and the exemplars among them (Definition 2)."""

import math
import re

import numpy as np
import pytest
import torch

from pipeline.guidance.simplex import as_weights, with_exemplars

GOOD = [[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]]
# Weightings of three rewards with thirds and tenths, which do not sum to 1 in floats; Appendix D has such ones.
UNEVEN = [[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [0.6, 0.3, 0.1]]


@pytest.mark.parametrize("rows", [GOOD, UNEVEN, [[1.0]], [[1], [1]], [[0, 1], [1, 0]]])
def test_weights_on_the_simplex_are_returned_unchanged_in_float64(rows: list[list[float]]) -> None:
    w = as_weights(rows)
    assert w.dtype == torch.float64
    assert np.array_equal(w.numpy(), np.array(rows, dtype=np.float64))


@pytest.mark.parametrize("error", [0.9e-6, -0.9e-6])
def test_a_sum_within_1e_6_of_1_is_accepted(error: float) -> None:
    assert as_weights([[0.5, 0.5 + error]]).shape == (1, 2)


BAD = {
    "sum above 1": [0.5, 0.5 + 1.1e-6],
    "sum below 1": [0.5, 0.5 - 1.1e-6],
    "sum 2": [1.0, 1.0],
    "zero": [0.0, 0.0],
    "negative": [-0.1, 1.1],
    "barely negative": [-1e-9, 1.0],
    "NaN": [math.nan, 1.0],
    "NaN alone": [math.nan, math.nan],
    "infinite": [math.inf, 0.0],
    "infinities": [math.inf, -math.inf],
    "ragged, short": [1.0],
    "ragged, long": [0.5, 0.5, 0.0],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("index", [1, 3])
def test_a_row_off_the_simplex_is_refused_by_its_number(bad: list[float], index: int) -> None:
    """The message names the row, counted from 0 as in all files of a run."""
    rows = [*GOOD[:index], bad, *GOOD[index:]]
    with pytest.raises(ValueError, match=rf"\brow {index}\b"):
        as_weights(rows)


def test_the_first_of_several_bad_rows_is_named_with_its_values() -> None:
    with pytest.raises(ValueError, match=re.escape("row 1 ") + ".*0.5.*0.6"):
        as_weights([[1.0, 0.0], [0.5, 0.6], [0.7, 0.7]])


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_an_empty_list_of_weights_and_empty_rows_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"weights"):
        as_weights(rows)


def test_listed_exemplars_are_found_in_any_position() -> None:
    w = as_weights([[0.2, 0.3, 0.5], [0, 0, 1], [0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]])
    soup = with_exemplars(w)
    assert soup.exemplars == (3, 4, 1)
    assert soup.visible == 5
    assert torch.equal(soup.w_RM, w)


@pytest.mark.parametrize("listed", [(), (0,), (1,), (2,), (0, 2), (2, 1), (2, 0, 1)])
def test_exemplars_that_are_not_listed_are_appended_as_hidden_rows(listed: tuple[int, ...]) -> None:
    w = as_weights([[0.2, 0.3, 0.5], *np.eye(3)[list(listed)].tolist(), [0.5, 0.5, 0.0]])
    soup = with_exemplars(w)
    assert soup.visible == len(w)
    assert torch.equal(soup.w_RM[: len(w)], w)
    assert len(soup.w_RM) == len(w) + 3 - len(listed)
    for m, row in enumerate(soup.exemplars):
        assert torch.equal(soup.w_RM[row], torch.eye(3, dtype=torch.float64)[m])
        assert (row < soup.visible) == (m in listed)


def test_a_weighting_that_is_almost_one_hot_is_no_exemplar() -> None:
    soup = with_exemplars(as_weights([[0.9999, 0.0001], [0.0, 1.0]]))
    assert soup.exemplars == (2, 1)


def test_with_one_reward_every_weighting_is_one_hot_and_no_exemplar_is_hidden() -> None:
    soup = with_exemplars(as_weights([[1.0], [1.0]]))
    assert (len(soup.w_RM), soup.visible) == (2, 2)
    assert soup.exemplars in ((0,), (1,))
