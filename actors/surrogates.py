"""What a diffusion worker computes with a surrogate: its predictions for candidates, and its gradient."""

from collections.abc import Callable

import torch

from actors.protocol import Doubles, Looks
from diffusion.base import Conditioning
from diffusion.surrogate.network import Surrogate, from_bytes, text_embedding


class SurrogateReader:
    """Reads surrogates from the contents of their files. The last one is kept, so that it is not read for every call.

    Args:
        device: where the surrogate computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: tuple[bytes, Surrogate] | None = None

    def read(self, content: bytes) -> Surrogate:
        if self._last is None or self._last[0] != content:
            # Outside the inference mode, because its weights enter a backward pass.
            with torch.inference_mode(False):
                surrogate = from_bytes(content)
                surrogate.network.to(self._device)
            self._last = content, surrogate
        return self._last[1]

    def looks(self, x0: torch.Tensor, n: int, conditioning: Conditioning, surrogate: bytes | None, keep: int) -> Looks:
        """Return the predictions for the first n estimates, and the first `keep` of them."""
        predicted = None
        if surrogate is not None:
            with torch.inference_mode():
                text = text_embedding(conditioning.embeds).to(x0.device)
                predicted = self.read(surrogate).predict(x0, text)[:n].double().cpu().numpy()
        return Looks(predicted, x0[: min(keep, n)].half().cpu().numpy())

    def value(
        self, content: bytes, conditioning: Conditioning, factors: Doubles
    ) -> Callable[[torch.Tensor, int], torch.Tensor]:
        """Return the function whose gradient guides, of the x0 of some rows and of the number of the first of them.

        It is the sum over these rows of sum_m factors_m r^_m(x0).
        """
        surrogate, text = self.read(content), text_embedding(conditioning.embeds)

        def value(x0: torch.Tensor, first: int) -> torch.Tensor:
            predicted = surrogate.predict(x0, text.to(x0.device))
            return (predicted * torch.from_numpy(factors[first : first + len(x0)].copy()).to(predicted)).sum()

        return value
