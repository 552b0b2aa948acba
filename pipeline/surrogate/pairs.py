"""The training pairs of one front: collected while it is guided, and their file."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from actors.protocol import Doubles, Halves
from diffusion.surrogate.network import STEP_BINS
from pipeline.surrogate.training import Pairs


@dataclass
class PairCollector:
    """Collects the kept candidates of one front.

    Args:
        keep: K, the number of candidates of each row and step that are kept.
        rewards: M.
        steps: T.
    """

    keep: int
    rewards: int
    steps: int
    _groups: list[tuple[int, Halves, NDArray[np.float32]]] = field(default_factory=list)

    def add(self, step: int, latents: Halves, rewards: tuple[int, ...], scores: Doubles) -> None:
        """Add one row's candidates of a step. Only the first K are kept.

        Args:
            latents: the look-ahead latents of the first candidates.
            rewards: the indices of the rewards that were queried, in the order of the columns of `scores`.
            scores: float64 (N, R).
        """
        k = min(self.keep, len(latents), len(scores))
        known = np.full((k, self.rewards), np.nan, dtype=np.float32)
        known[:, list(rewards)] = scores[:k]
        self._groups.append((step, latents[:k], known))

    def to_bytes(self, text: NDArray[np.float32]) -> bytes:
        """Return the content of the file of the pairs, safetensors. The order of arrival does not matter.

        The calls of a step may return in any order, so groups are ordered by their content.
        """
        groups = sorted(self._groups, key=lambda group: (group[0], group[1].tobytes()))
        tensors = {
            "x0": np.stack([latents for _, latents, _ in groups]),
            "scores": np.stack([scores for _, _, scores in groups]),
            "progress": np.array([step * STEP_BINS // self.steps for step, _, _ in groups], dtype=np.int64),
            "text": text.astype(np.float32),
        }
        return save({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()})


def pairs_from_bytes(content: bytes) -> Pairs:
    """Read the content of the file of one front's pairs.

    Raises:
        ValueError: it is damaged.
    """
    try:
        tensors = load(content)
        return Pairs(tensors["x0"], tensors["scores"], tensors["progress"], tensors["text"])
    except (SafetensorError, KeyError) as error:
        raise ValueError("it is no whole file of training pairs") from error
