"""Smooth Tchebycheff weights and PCGrad, against finite differences, closed forms and NumPy."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from pipeline.guidance.combining.options import Combining
from pipeline.guidance.combining.pcgrad import pcgrad_factors
from pipeline.guidance.combining.tchebycheff import tchebycheff_weights
from pipeline.guidance.noise import step_noise
from pipeline.guidance.runner import Guidance
from pipeline.guidance.sharing.auto_step import Sharing
from pipeline.planning.method.options import guidance_of
from tests.support import reference
from tests.support.fakes import SHAPE, FakeQuery, Run, fake_query

SIGMAS = [0.5, 0.6, 0.4]
GRID = np.array([[0.0, 1.0], [0.3, 0.7], [0.5, 0.5], [1.0, 0.0]])


def statistics(w: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=w.shape) * (1, 50)[: w.shape[1]], rng.uniform(0.1, 0.5, w.shape)
    mean[w == 0], std[w == 0] = np.nan, np.nan
    return mean, std


def as_numpy(w: np.ndarray, mean: np.ndarray, std: np.ndarray, smoothing: float) -> np.ndarray:
    """The docstring once more, row after row: the gradient of -mu log sum exp by central differences."""
    best, worst = np.nanmax(mean, axis=0), np.nanmin(mean, axis=0)
    unit = np.nanmean(std, axis=0)
    unit = unit * max(1, ((best - worst) / unit).max())
    out = np.zeros_like(w)
    for row in range(len(w)):
        used = [m for m in range(w.shape[1]) if w[row, m] > 0]

        def scalar(r: np.ndarray, row: int = row, used: list[int] = used) -> float:
            terms = [math.exp(w[row, m] * (best[m] - r[m]) / unit[m] / smoothing) for m in used]
            return -smoothing * math.log(sum(terms))

        for m in used:
            up, down = mean[row].copy(), mean[row].copy()
            up[m] += 1e-5 * unit[m]
            down[m] -= 1e-5 * unit[m]
            out[row, m] = (scalar(up) - scalar(down)) / 2e-5
        out[row] /= out[row].sum()
    return out


@pytest.mark.parametrize("smoothing", [0.05, 0.3, 5.0])
def test_the_weights_are_the_gradient_of_the_smooth_tchebycheff_distance(smoothing: float) -> None:
    mean, std = statistics(GRID)
    w, means, stds = (torch.from_numpy(one) for one in (GRID, mean, std))
    got = tchebycheff_weights(w, means, stds, smoothing)
    np.testing.assert_allclose(got, as_numpy(GRID, mean, std, smoothing), rtol=1e-6, atol=1e-9)


def test_its_limits() -> None:
    mean, std = statistics(GRID)
    w, means, stds = (torch.from_numpy(one) for one in (GRID, mean, std))
    np.testing.assert_allclose(tchebycheff_weights(w, means, stds, 1e6), GRID, atol=1e-6)
    sharp = tchebycheff_weights(w, means, stds, 1e-5).numpy()
    assert np.allclose(np.sort(sharp, axis=1), [0, 1], atol=1e-6), "only the reward that is farthest behind counts"
    equal, zero = (torch.where(means.isnan(), torch.nan, value) for value in (3.0, 0.0))
    np.testing.assert_allclose(tchebycheff_weights(w, equal, stds, 0.1), GRID, rtol=1e-12)
    np.testing.assert_allclose(tchebycheff_weights(w, zero, zero, 0.1), GRID, rtol=1e-12)


def test_it_reaches_the_middle_of_a_hollow_front_and_the_weighted_sum_does_not() -> None:
    """r_1 = exp(-(x-1)^2), r_2 = exp(-(x+1)^2) scaled: between far peaks the sum has its maxima at the ends alone."""
    w = torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]).double()

    def climbed(linear: bool) -> torch.Tensor:
        x = torch.tensor([-0.1, 0.1, 0.1]).double()
        for _ in range(4000):
            r = torch.stack([torch.exp(-2 * (x - 1) ** 2), torch.exp(-2 * (x + 1) ** 2)], 1)
            slope = torch.stack([-4 * (x - 1) * r[:, 0], -4 * (x + 1) * r[:, 1]], 1)
            mean = r.where(w > 0, torch.nan)
            weights = (
                w if linear else tchebycheff_weights(w, mean, torch.full_like(w, 0.01).where(w > 0, torch.nan), 0.02)
            )
            x = x + 0.01 * (weights * slope).sum(1)
        return x

    assert climbed(True)[1] > 0.9
    middle = climbed(False)
    assert middle[1].abs() < 0.05 and middle[[0, 2]].abs().min() > 0.95


def opposed() -> FakeQuery:
    """Two rewards whose linear parts point apart."""
    query = fake_query(2)
    query.rewards[1].a = 0.4 * query.rewards[1].a - 3 * query.rewards[0].a
    return query


def project(g: np.ndarray) -> np.ndarray:
    """PCGrad's Algorithm 1, with the other rewards in order."""
    total = np.zeros(g.shape[1])
    for i in range(len(g)):
        own = g[i].copy()
        for j in range(len(g)):
            if i != j and own @ g[j] < 0:
                own -= (own @ g[j]) / (g[j] @ g[j]) * g[j]
        total += own
    return total


@pytest.mark.parametrize("m", [2, 3, 4])
def test_pcgrad_from_inner_products_is_pcgrad_from_gradients(m: int) -> None:
    g = np.random.default_rng(m).normal(size=(40, m, 5)) * np.arange(1, m + 1)[:, None]
    gram = torch.from_numpy(g @ g.transpose(0, 2, 1))
    factors = pcgrad_factors(gram).numpy()
    np.testing.assert_allclose(np.einsum("rm,rmd->rd", factors, g), [project(one) for one in g], atol=1e-9)
    apart = (gram < 0).any(2).any(1).numpy()
    assert apart.any() and (factors[~apart] == 1).all() and (factors[apart] != 1).any(1).all()


def test_two_rewards_that_oppose_each_other_both_gain_and_a_reward_without_direction_changes_nothing() -> None:
    g = np.array([[1.0, 0.0], [-0.8, 0.6]])
    factors = pcgrad_factors(torch.from_numpy(g @ g.T)[None])[0].numpy()
    assert ((factors @ g) @ g.T > 0).all() and not (g.sum(0) @ g.T > 0.3).all()
    g[1] = 0
    assert pcgrad_factors(torch.from_numpy(g @ g.T)[None]).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("kind", ["tchebycheff", "pcgrad"])
def test_a_weighted_sum_step_with_it_is_that_of_the_equations(kind: str) -> None:
    combining = Combining("tchebycheff") if kind == "tchebycheff" else Combining(conflict="pcgrad")
    run = Run(GRID, Guidance(6, 0, combining=combining), SIGMAS, opposed())
    plain = Run(GRID, Guidance(6, 0), SIGMAS, opposed())
    assert not torch.equal(run.x, plain.x) and run.ledger == plain.ledger
    z = {step: step_noise(7, step, 6, SHAPE).flatten(1).numpy() for step in range(3)}
    for step, sigma in enumerate(SIGMAS[:-1]):
        mu = run.denoiser.mean(run.denoiser.seen[step]).flatten(1)
        x = [(np.float32(sigma) * z[step] + one).astype(np.float32) for one in mu.numpy()]
        r = np.array([[run.query.rewards[m].values(one) for m in range(2)] for one in x])
        mean, std = (np.where(GRID > 0, one, np.nan) for one in (r.mean(2), r.std(2)))
        w = as_numpy(GRID, mean, std, 0.1) if kind == "tchebycheff" else GRID
        for row in range(4):
            g = np.stack(
                [w[row, m] * reference.search_gradient(reference.normalise(r[row, m]), z[step]) for m in (0, 1)]
            )
            g_D = project(g) if kind == "pcgrad" else g.sum(0)
            want = mu[row].numpy() + sigma * reference.move(g_D, "sphere")
            np.testing.assert_allclose(run.denoiser.seen[step + 1][row].flatten(), want, atol=2e-5)


@pytest.mark.parametrize("soup", [Guidance(6, 3), Guidance(6, 3, sharing=Sharing(0.3))])
def test_soup_steps_take_pcgrad_too_and_leave_exemplars_alone(soup: Guidance) -> None:

    with_conflict = replace(soup, combining=Combining(conflict="pcgrad"))
    plain, with_it = (Run(GRID, guidance, SIGMAS, opposed()) for guidance in (soup, with_conflict))
    one_hot = [0, 3]
    first, other = (run.denoiser.seen[1] for run in (plain, with_it))
    assert torch.equal(first[one_hot], other[one_hot])
    guided = plain.trajectory.steps[0].guided
    assert guided is not None and (guided.cosine_RMM[1:3, 0, 1] < 0).all()
    assert not torch.equal(first[1], other[1]) and not torch.equal(first[2], other[2])


TEXT = """
name: options
method: weighted_sum
weights: {grid: 3}
prompts: {list: [snail]}
rewards: {guided: [colorfulness, compressibility]}
"""


def loaded(folder: Path, *overrides: str) -> RunConfig:
    (folder / "run.yaml").write_text(TEXT)
    return load_config(folder / "run.yaml", overrides)


def test_the_keys_reach_the_method_and_only_keys_with_an_effect_are_recorded(tmp_path: Path) -> None:
    config = loaded(tmp_path, "guidance={scalarisation: tchebycheff, smoothing: 0.2, conflict: pcgrad}")
    assert guidance_of(config, "weighted_sum").combining == Combining("tchebycheff", 0.2, "pcgrad")
    assert {"scalarisation", "smoothing", "conflict"} <= config.model_dump(mode="json")["guidance"].keys()
    assert not {"scalarisation", "smoothing", "conflict"} & loaded(tmp_path).model_dump(mode="json")["guidance"].keys()


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("guidance.scalarisation=tchebycheff", "method=srsoup"), "guidance.scalarisation"),
        (("guidance.scalarisation=tchebycheff", "surrogate={}"), "guidance.scalarisation"),
        (("guidance.conflict=pcgrad", "surrogate={}"), "guidance.conflict"),
        (("guidance.conflict=pcgrad", "rewards.guided=[colorfulness]", "weights=[[1.0]]"), "guidance.conflict"),
        (("guidance.smoothing=0.2",), "guidance.smoothing"),
        (("guidance={scalarisation: tchebycheff, smoothing: 0}",), "guidance.smoothing"),
        (("guidance.conflict=cagrad",), "guidance.conflict"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(tmp_path: Path, overrides: tuple[str, ...], key: str) -> None:
    with pytest.raises(RequestError) as refused:
        loaded(tmp_path, *overrides)
    assert refused.value.key == key and refused.value.fix
