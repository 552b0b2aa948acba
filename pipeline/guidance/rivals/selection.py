"""Rules that make one noise of the candidates' noises without an estimate of a gradient.

Legend of the shape suffixes: R rows of latents, N candidates, M rewards, C channels, H height, W width, D = C*H*W.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.guidance.ports import Query
from pipeline.guidance.row_gradients import Gradients
from pipeline.guidance.search_gradient import Move, normalise
from pipeline.guidance.shaping import PLAIN, Shaping
from pipeline.guidance.soup import Guided, moved, row_rewards

Kind = Literal["best", "tanh", "boltzmann"]


@dataclass(frozen=True)
class Selection:
    """How the weighted sums of a row's candidates become one noise.

    Attributes:
        kind: `best` takes the noise of the best candidate; `tanh` and `boltzmann` are the two Demons.
        temperature: tau > 0 of the Demons, in standard deviations of the weighted sum over the row's candidates.
    """

    kind: Kind
    temperature: float = 1.0

    def factors(self, s_N: Tensor) -> Tensor:
        """Return the factors b (N,), float64, of the noises of one row's candidates.

        With s~ = (s - mean) / std over the candidates (`search_gradient.normalise`):

        - `best`: 1 for the candidate with the largest s, the first one on a tie, and 0 for all others.
        - `tanh`: tanh(s~ / tau).
        - `boltzmann`: exp(s~ / tau), up to a factor that the move takes out.

        If all s are equal, `tanh` has no direction (all factors are 0), and `boltzmann` takes all noises alike.

        Args:
            s_N: the weighted sum of the normalised rewards of each candidate.
        """
        if self.kind == "best":
            return torch.nn.functional.one_hot(s_N.argmax(), len(s_N)).double()
        scaled_N = normalise(s_N) / self.temperature
        return scaled_N.tanh() if self.kind == "tanh" else (scaled_N - scaled_N.max()).exp()


async def selection_step(
    mu_RCHW: Tensor,
    sigma: float,
    z_NCHW: Tensor,
    w_RM: Tensor,
    query: Query,
    step: int,
    selection: Selection,
    shaping: Shaping = PLAIN,
) -> Guided:
    """Move every row along one noise that is made of its candidates' noises. It costs what a weighted-sum step costs.

    x_{t-1} = mu + sigma s, where s is the noise of the best candidate itself, or sum_n b_n z^n scaled to length
    sqrt(D), that of a typical noise draw. The row's value of a candidate is s_n = sum_m w_m r~_mn, as in Equation 9.

    The Demons are those of Yeh, Lee and Chen, "Training-free Diffusion Model Alignment with Sampling Demons" (ICLR
    2025, arXiv 2410.05760). Two things are different here, so that all methods of a comparison pay the same and differ
    in one thing only: a candidate's reward is that of the one-step look-ahead, where the Demons solve the probability
    flow ODE from it; and tau is in standard deviations of the row's own candidates, where the authors give it in units
    of the reward.

    Args:
        mu_RCHW, sigma: the mean of each row, and the standard deviation of the step, > 0.
        z_NCHW: the noises of the candidates, the same for all rows.
        w_RM: the weights.
        selection: the rule.
    """
    r_RMN, mean_RM, std_RM = await row_rewards(mu_RCHW, sigma, z_NCHW, w_RM, query, step, shaping)
    s_RN = (r_RMN * w_RM[:, :, None]).sum(1)
    b_RN = torch.stack([selection.factors(s_N) for s_N in s_RN])
    g_RD = b_RN @ z_NCHW.flatten(1).double()
    move = Move("gradient" if selection.kind == "best" else "sphere")
    # There are no gradients of single rewards, whose cosines are then NaN.
    gram_RMM = torch.zeros(*w_RM.shape, w_RM.shape[1], dtype=torch.float64)
    return moved(mu_RCHW, sigma, Gradients(g_RD, gram_RMM), move, mean_RM, std_RM)
