"""Trains a surrogate on the candidates that guidance has paid for. The same pairs give the same bits.

Legend of the shape suffixes: P pairs, G groups of K pairs, M rewards, B parts of the denoising steps, C channels,
H height, W width, E width of the text embedding.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffusion.surrogate.network import STEP_BINS, Surrogate, SurrogateNetwork

# The number of passes over all groups, within these limits of the number of updates.
PASSES, FEWEST_UPDATES, MOST_UPDATES = 15, 300, 1500
GROUPS_PER_BATCH = 16
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.3
# The standard deviation of the noise on the latents, which have one of about 1. It makes the gradient of r^ smooth.
INPUT_NOISE = 0.1
# The standard deviation of a reward that does not vary at all counts as this, so that nothing is divided by 0.
_SMALLEST_STD = 1e-8


@dataclass(frozen=True)
class Pairs:
    """The training pairs of one front: K candidates of each row and step that was queried.

    Attributes:
        x0_GKCHW: look-ahead latents, float16.
        scores_GKM: their rewards, float32; NaN for a reward that was not queried.
        progress_G: the part of the denoising steps of each group, 0..STEP_BINS-1, int64.
        text_E: the text embedding of the prompt, float32.
    """

    x0_GKCHW: Tensor
    scores_GKM: Tensor
    progress_G: Tensor
    text_E: Tensor

    @property
    def count(self) -> int:
        """The number of pairs."""
        return self.scores_GKM.shape[0] * self.scores_GKM.shape[1]


@dataclass(frozen=True)
class Fit:
    """A trained surrogate and how well it fits the pairs that it was trained on.

    Attributes:
        correlation_M: the correlation within a row and step of each reward with its prediction.
        losses: the mean loss of each tenth of the updates.
    """

    surrogate: Surrogate
    correlation_M: tuple[float, ...]
    losses: tuple[float, ...]


def train(
    pairs: Sequence[Pairs], rewards: Sequence[str], reads_prompt: bool, seed: int, record: Mapping[str, Any]
) -> Fit:
    """Fit a `SurrogateNetwork` to the pairs of several fronts, in one thread on the CPU.

    The loss of a batch of whole groups is the mean squared error of the standardised rewards, plus the mean squared
    error of their differences to the mean of their group, in units of the deviation within groups. Only the second
    part decides the direction of a guided step.

    Args:
        pairs: the pairs of each front, in an order that does not depend on the order of arrival.
        rewards: the names of the M rewards.
        reads_prompt: whether some reward reads the prompt, so that the network gets its text embedding.
        seed: the seed of the initial weights and of the batches.
        record: what is written into the surrogate's file.
    """
    pairs = _equally_large(pairs)
    scores_GKM = torch.cat([one.scores_GKM for one in pairs]).double()
    progress_G = torch.cat([one.progress_G for one in pairs])
    known_PM = scores_GKM.flatten(0, 1)
    mean_M = known_PM.nanmean(0)
    std_M = ((known_PM - mean_M) ** 2).nanmean(0).sqrt().clamp(min=_SMALLEST_STD)
    deviation_BM = _deviations(scores_GKM, progress_G, std_M)
    owner_G = torch.cat([torch.full((len(one.progress_G),), index) for index, one in enumerate(pairs)])
    text_FE = torch.stack([one.text_E for one in pairs])
    x0_GKCHW = torch.cat([one.x0_GKCHW for one in pairs])

    target_GKM = ((scores_GKM - mean_M) / std_M).float()
    unit_GM = (deviation_BM / std_M).float()[progress_G]
    with _one_thread():
        generator = torch.Generator().manual_seed(seed)
        network = _new_network(x0_GKCHW.shape[2], len(rewards), text_FE.shape[1] if reads_prompt else 0, generator)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        updates = min(max(PASSES * len(x0_GKCHW) // GROUPS_PER_BATCH, FEWEST_UPDATES), MOST_UPDATES)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, updates, pct_start=0.1)
        losses = list[float]()
        for batch_g in _batches(len(x0_GKCHW), updates, generator):
            x0_gKCHW = x0_GKCHW[batch_g].float()
            x0_gKCHW += INPUT_NOISE * torch.randn(x0_gKCHW.shape, generator=generator)
            predicted_gKM = _predicted(network, x0_gKCHW, text_FE[owner_G[batch_g]])
            loss = _loss(predicted_gKM, target_GKM[batch_g], unit_GM[batch_g])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        network.requires_grad_(False)
        correlation_M = _correlations(network, x0_GKCHW, target_GKM, text_FE[owner_G])
    surrogate = Surrogate(network, tuple(rewards), mean_M, std_M, deviation_BM, dict(record))
    tenth = max(1, updates // 10)
    means = tuple(sum(part) / len(part) for part in (losses[i : i + tenth] for i in range(0, len(losses), tenth)))
    return Fit(surrogate, correlation_M, means)


def _equally_large(pairs: Sequence[Pairs]) -> list[Pairs]:
    """Fill up groups with latents of 0 whose scores are unknown, because rounds may differ in K."""
    most = max(one.scores_GKM.shape[1] for one in pairs)

    def filled(one: Pairs) -> Pairs:
        missing = most - one.scores_GKM.shape[1]
        x0 = torch.nn.functional.pad(one.x0_GKCHW, (0, 0, 0, 0, 0, 0, 0, missing))
        scores = torch.nn.functional.pad(one.scores_GKM, (0, 0, 0, missing), value=torch.nan)
        return replace(one, x0_GKCHW=x0, scores_GKM=scores)

    return [filled(one) for one in pairs]


def _predicted(network: SurrogateNetwork, x0_gKCHW: Tensor, text_gE: Tensor) -> Tensor:
    g, k = x0_gKCHW.shape[:2]
    predicted: Tensor = network(x0_gKCHW.flatten(0, 1).float(), text_gE.repeat_interleave(k, 0))
    return predicted.view(g, k, -1)


def _loss(predicted_gKM: Tensor, target_gKM: Tensor, unit_gM: Tensor) -> Tensor:
    known_gKM = target_gKM.isfinite()
    error_gKM = torch.where(known_gKM, predicted_gKM - target_gKM.nan_to_num(), 0.0)
    count_g1M = known_gKM.sum(1, keepdim=True)
    centred_gKM = torch.where(known_gKM, error_gKM - error_gKM.sum(1, keepdim=True) / count_g1M.clamp(min=1), 0.0)
    total = known_gKM.sum().clamp(min=1)
    return ((error_gKM**2).sum() + ((centred_gKM / unit_gM[:, None]) ** 2).sum()) / total


def _deviations(scores_GKM: Tensor, progress_G: Tensor, std_M: Tensor) -> Tensor:
    """Return the pooled deviation within groups for each part of the steps; a part without pairs gets that of all."""
    known_GKM = scores_GKM.isfinite()
    # Unbiased within a group: of two known scores or more.
    freedom_GM = (known_GKM.sum(1) - 1).double()
    squares_GM = (_centred(scores_GKM, known_GKM) ** 2).sum(1)
    variance_GM = torch.where(freedom_GM > 0, squares_GM / freedom_GM.clamp(min=1), torch.nan)
    overall_M = variance_GM.nanmean(0).sqrt().nan_to_num(0.0)
    overall_M = overall_M.where(overall_M > 0, std_M)
    rows = [variance_GM[progress_G == part].nanmean(0).sqrt() for part in range(STEP_BINS)]
    return torch.stack([row.where(row.isfinite() & (row > 1e-3 * overall_M), overall_M) for row in rows])


def _correlations(
    network: SurrogateNetwork, x0_GKCHW: Tensor, target_GKM: Tensor, text_GE: Tensor
) -> tuple[float, ...]:
    """Return, for each reward, the correlation of centred scores and centred predictions over all groups."""
    with torch.no_grad():
        parts = [_predicted(network, x0_GKCHW[i : i + 64], text_GE[i : i + 64]) for i in range(0, len(x0_GKCHW), 64)]
    a, b = (_centred(values.double(), target_GKM.isfinite()) for values in (torch.cat(parts), target_GKM))
    products = (a * b).sum((0, 1)) / ((a**2).sum((0, 1)) * (b**2).sum((0, 1))).sqrt()
    return tuple(products.nan_to_num(0.0).tolist())


def _centred(values_GKM: Tensor, known_GKM: Tensor) -> Tensor:
    values_GKM = torch.where(known_GKM, values_GKM, 0.0)
    mean_G1M = values_GKM.sum(1, keepdim=True) / known_GKM.sum(1, keepdim=True).clamp(min=1)
    return torch.where(known_GKM, values_GKM - mean_G1M, 0.0)


def _batches(groups: int, updates: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the groups of each update: passes over all of them in random orders."""
    order = torch.empty(0, dtype=torch.int64)
    size = min(GROUPS_PER_BATCH, groups)
    for _ in range(updates):
        if len(order) < size:
            order = torch.cat([order, torch.randperm(groups, generator=generator)])
        yield order[:size]
        order = order[size:]


def _new_network(channels: int, rewards: int, text: int, generator: torch.Generator) -> SurrogateNetwork:
    """Return a network whose weights are drawn from the generator alone: He's for the layers, 0 for FiLM and biases."""
    network = SurrogateNetwork(channels, rewards, text)
    for name, weight in network.named_parameters():
        with torch.no_grad():
            if weight.dim() == 1 or name.startswith("film"):
                weight.zero_()
            else:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn * (2 / weight[0].numel()) ** 0.5)
    return network


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread and with denormals flushed, because the number of threads decides the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
