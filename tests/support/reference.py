"""The method once more, in float64 NumPy, written from the equations and from nothing else.

Sample Reward Soups (Yao et al., ICLR 2026) and DDIM (Song et al. 2021). It is as slow and as literal as can
be, row after row and candidate after candidate, so that it can be read beside the paper; the tests compare
the package with it.

Legend: L weights, N candidates, M rewards, D entries of a latent; `mu_LD` the denoised means mu^l_{t-1},
`c_m` the mean of exemplar m, `z_ND` the noises z^n that all of them share, `sigma` the paper's sqrt(beta_t).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

Array = np.ndarray
Reward = Callable[[Array], Array]
# Maps the rewards r_N of reward m to r~_N, in a row of that reward alone in a soup step (True) or in any other row.
Factors = Callable[[Array, int, bool], Array]


def normalise(r_N: Array) -> Array:
    """r~ = (r - mean) / (std + 1e-8) with the population std; equal rewards say nothing."""
    r_N = np.asarray(r_N, np.float64)
    if np.all(r_N == r_N[0]):
        return np.zeros_like(r_N)
    std = np.sqrt(np.mean((r_N - r_N.mean()) ** 2))
    return (r_N - r_N.mean()) / (std + 1e-8)


def factors(r_N: Array, target: float | None = None, parts: int = 1) -> Array:
    """r~ with the released code's options: a target, and the elite of the best N // parts candidates.

    Mean and std are those of the candidates that are not past the target. Of those, the elite keeps its r~, and every
    other candidate counts 0. With one such candidate r~ is its unit vector, and with none it is (1, 0, ..., 0).
    """
    r_N = np.asarray(r_N, np.float64)
    left = [n for n, r in enumerate(r_N) if target is None or r <= target]
    r_tilde_N = np.zeros_like(r_N)
    if target is not None and len(left) < 2:
        r_tilde_N[left[0] if left else 0] = 1
        return r_tilde_N
    for n, r in zip(left, normalise(r_N[left]), strict=True):
        better = [k for k in left if r_N[k] > r_N[n] or (r_N[k] == r_N[n] and k < n)]
        if len(better) < max(1, len(r_N) // parts):
            r_tilde_N[n] = r
    return r_tilde_N


def search_gradient(r_N: Array, z_ND: Array) -> Array:
    """Equation 6 by Monte Carlo (Algorithm 1, line 4), in units of the noise: (1/N) sum_n r^n z^n."""
    return sum(r * z for r, z in zip(r_N, z_ND, strict=True)) / len(r_N)


def move(g_D: Array, kind: str) -> Array:
    """s(g): Equation 7 with tau_t = beta_t (`gradient`), or as long as a noise draw (`sphere`)."""
    length = np.sqrt(np.sum(g_D**2))
    if kind == "gradient" or length == 0:
        return g_D
    return np.sqrt(g_D.size) * g_D / length


def correction(r_N: Array, z_ND: Array, c_D: Array, mu_D: Array, sigma: float, kind: str) -> Array:
    """What Equation 11 adds to g_m because the row stands at mu and not at c_m."""
    if kind == "none":
        return np.zeros_like(mu_D)
    if kind == "mean-shift":
        return np.mean(r_N) * (c_D - mu_D) / sigma
    # Appendix A.3: zbar^n = z^n + c_m - mu; the released code scales each to the length of a noise draw.
    zbar_ND = [z + c_D - mu_D for z in z_ND]
    scaled_ND = [np.sqrt(z.size) * z / np.sqrt(np.sum(z**2)) for z in zbar_ND]
    return search_gradient(r_N, np.array(scaled_ND)) - search_gradient(r_N, z_ND)


def plain_factors(r_N: Array, reward: int, own_exemplar: bool) -> Array:
    return normalise(r_N)


def soup_step(
    mu_LD: Array,
    sigma: float,
    z_ND: Array,
    w_LM: Array,
    rewards: Sequence[Reward],
    corrected: str,
    kind: str,
    shape: Factors = plain_factors,
) -> Array:
    """Algorithm 2 with Equation 11: x_{t-1} of all weights, of which the M one-hot ones must be listed."""
    exemplars = [next(row for row, w in enumerate(w_LM) if w[m] == 1) for m in range(len(rewards))]
    r_MN = [f(np.array([mu_LD[row] + sigma * z for z in z_ND])) for f, row in zip(rewards, exemplars, strict=True)]
    x_LD = np.empty_like(mu_LD)
    for row, w in enumerate(w_LM):
        g_D = np.zeros(mu_LD.shape[1])
        for m in range(len(rewards)):
            one_hot = w[m] == 1
            r_N = shape(r_MN[m], m, bool(one_hot))
            shift = 0 if one_hot else correction(r_N, z_ND, mu_LD[exemplars[m]], mu_LD[row], sigma, corrected)
            g_D = g_D + w[m] * (search_gradient(r_N, z_ND) + shift)
        x_LD[row] = mu_LD[row] + sigma * move(g_D, kind)
    return x_LD


def weighted_sum_step(
    mu_LD: Array,
    sigma: float,
    z_ND: Array,
    w_LM: Array,
    rewards: Sequence[Reward],
    kind: str,
    shape: Factors = plain_factors,
) -> Array:
    """Equation 9 for each weight by itself: x_{t-1} of all weights."""
    x_LD = np.empty_like(mu_LD)
    for row, w in enumerate(w_LM):
        candidates_ND = np.array([mu_LD[row] + sigma * z for z in z_ND])
        g_D = np.zeros(mu_LD.shape[1])
        for m, (w_m, f) in enumerate(zip(w, rewards, strict=True)):
            if w_m > 0:
                g_D = g_D + w_m * search_gradient(shape(f(candidates_ND), m, False), z_ND)
        x_LD[row] = mu_LD[row] + sigma * move(g_D, kind)
    return x_LD


def overlap(mu_D: Array, c_D: Array, sigma: float) -> Array:
    """Equation 14: the Bhattacharyya coefficient of two Gaussians, dimension by dimension."""
    return np.exp(-((mu_D - c_D) ** 2) / (8 * sigma**2))


class ReverseMoments(NamedTuple):
    """x_{t-1} ~ N(mean, sigma^2 I) and the denoised estimate x0 that it rests on."""

    mean: Array
    sigma: float
    x0: Array


def scaled_linear_alphas_cumprod(start: float, end: float, steps: int) -> Array:
    """Stable Diffusion's schedule: sqrt(beta) rises evenly; a_t is the running product of 1 - beta."""
    beta = np.linspace(np.sqrt(start), np.sqrt(end), steps, dtype=np.float64) ** 2
    return np.cumprod(1 - beta)


def spaced_timesteps(spacing: str, steps: int, trained: int = 1000, offset: int = 1) -> list[Fraction]:
    """Table 2 of Lin et al. 2024 before it is rounded, with Stable Diffusion's offset for `leading`."""
    if spacing == "linspace":
        # A single step is at timestep 0, as in NumPy's linspace.
        return [Fraction((trained - 1) * i, max(steps - 1, 1)) for i in reversed(range(steps))]
    if spacing == "trailing":
        return [Fraction(trained * (i + 1), steps) - 1 for i in reversed(range(steps))]
    return [Fraction(i * (trained // steps) + offset) for i in reversed(range(steps))]


def alphas_cumprod(schedule: str, start: float, end: float, trained: int = 1000) -> Array:
    """a_t of the schedules that diffusers names: evenly rising beta or sqrt(beta), or the cosine of Nichol 2021."""
    if schedule == "scaled_linear":
        return scaled_linear_alphas_cumprod(start, end, trained)
    if schedule == "linear":
        return np.cumprod(1 - np.linspace(start, end, trained, dtype=np.float64))
    assert schedule == "squaredcos_cap_v2"
    bar = np.cos((np.arange(trained + 1) / trained + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))


def estimate(x: Array, prediction: Array, a_t: float, prediction_type: str) -> tuple[Array, Array]:
    """x0 and eps of x_t = sqrt(a_t) x0 + sqrt(1 - a_t) eps; v = sqrt(a_t) eps - sqrt(1 - a_t) x0."""
    if prediction_type == "epsilon":
        return (x - np.sqrt(1 - a_t) * prediction) / np.sqrt(a_t), prediction
    if prediction_type == "v_prediction":
        x0 = np.sqrt(a_t) * x - np.sqrt(1 - a_t) * prediction
        return x0, (x - np.sqrt(a_t) * x0) / np.sqrt(1 - a_t)
    assert prediction_type == "sample"
    return prediction, (x - np.sqrt(a_t) * prediction) / np.sqrt(1 - a_t)


def ddim(x: Array, prediction: Array, a_t: float, a_p: float, eta: float, prediction_type: str) -> ReverseMoments:
    """DDIM, Equations 12 and 16, from a_t = alphas_cumprod[t] to a_p of the timestep before."""
    x0, eps = estimate(x, prediction, a_t, prediction_type)
    sigma = eta * np.sqrt((1 - a_p) / (1 - a_t)) * np.sqrt(1 - a_t / a_p)
    # Without signal at t, a_t = 0, the difference is 0 but for rounding.
    return ReverseMoments(np.sqrt(a_p) * x0 + np.sqrt(np.maximum(1 - a_p - sigma**2, 0)) * eps, float(sigma), x0)


def shifted_sigmas(steps: int, shift: float, trained: int = 1000) -> Array:
    """A flow's noise shares: even from 1 to the least trained one, s -> shift s / (1 + (shift - 1) s), then 0."""
    least = shift / trained / (1 + (shift - 1) / trained)
    s = np.linspace(1, least, steps, dtype=np.float64)
    return np.append(shift * s / (1 + (shift - 1) * s), 0.0)


def flow_sde(x: Array, v: Array, sigmas: Array, step: int, noise_level: float) -> ReverseMoments:
    """One step of the SDE that has a rectified flow's marginals (Flow-GRPO, Equation 9), x_s = (1 - s) x0 + s eps."""
    s, d = sigmas[step], sigmas[step + 1] - sigmas[step]
    g = noise_level * np.sqrt(s / (1 - (sigmas[1] if step == 0 else s)))
    mean = x * (1 + g**2 * d / (2 * s)) + v * (1 + g**2 * (1 - s) / (2 * s)) * d
    return ReverseMoments(mean, float(g * np.sqrt(-d)), x - s * v)
