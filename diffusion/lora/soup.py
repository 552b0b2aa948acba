"""Mixes the LoRAs of several rewards anew for each prediction: soups of fine-tuned models.

Legend of the shape suffixes: M rewards.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion.base import AdapterSoup
from diffusion.checks.tensor_file import read_tensor_file
from diffusion.errors import ModelError, for_key
from diffusion.families import Family
from diffusion.loading import only_model_errors
from diffusion.lora.check import Change, check_adapter
from diffusion.lora.load import alpha_of, load_adapter
from diffusion.lora.scaling import scalings
from diffusion.source import Adapter, adapter_file

KEY = "model.adapters_by_reward"
# peft's name of the adapter whose matrices are sums of those of the rewards.
_SUM = "sum_of_factors"


def check_by_reward(
    by_reward: Sequence[tuple[str, Adapter]], folder: Path, family: Family, mix: str, fetch: bool = True
) -> dict[str, list[Change]]:
    """Check that the adapters of rewards fit a model and can be mixed, and return what each of them changes.

    Args:
        by_reward: the names of rewards, each with its adapter.
        folder: folder of the model, or of its configuration files alone.
        family: family of the model.
        mix: `deltas` or `factors`; see `AdapterSoup`.
        fetch: whether adapters of the hub are downloaded.

    Raises:
        NotHereError: an adapter is not on this machine, and `fetch` is False.
        ModelError: an adapter does not fit the model, changes more than its denoiser, is a DoRA, whose change is not a
            sum, or has other layers, ranks or alphas than the first one and `mix` is `factors`.
    """
    changes = dict[str, list[Change]]()
    for reward, adapter in by_reward:
        with for_key(KEY):
            changes[reward] = check_adapter(adapter_file(adapter, fetch), folder, family)
        if others := sorted({one.part for one in changes[reward]} - {family.denoiser}):
            raise _refused(f"the adapter of {reward} changes the {others[0]}, which is the same for all weightings")
        if any(one.names.magnitude is not None for one in changes[reward]):
            raise _refused(f"the adapter of {reward} is a DoRA, and its change of the weights is not a sum")
    if mix != "factors":
        return changes
    scales = {reward: _scales(adapter_file(adapter, fetch), changes[reward]) for reward, adapter in by_reward}
    first = next(iter(scales))
    for reward, own in scales.items():
        if own != scales[first]:
            raise _refused(
                f"the adapter of {reward} has other layers, ranks or alphas than that of {first}, so there is no sum",
                "set model.mix=deltas, or train both with the same lora",
            )
    return changes


class MixedAdapters:
    """The adapters of M rewards in one denoiser, of which each prediction takes a mix.

    Args:
        pipe: the pipeline.
        denoiser: its part that predicts.
        by_reward: the names of rewards, each with its adapter.
        fixed: peft's names and the weights of adapters that always act.
        folder: folder of the model.
        family: family of the model.

    Raises:
        ModelError: an adapter cannot be mixed; see `check_by_reward`.
    """

    def __init__(
        self,
        pipe: Any,
        denoiser: Any,
        by_reward: Sequence[tuple[str, Adapter]],
        fixed: Mapping[str, float],
        folder: Path,
        family: Family,
    ) -> None:
        self._denoiser, self._fixed = denoiser, dict(fixed)
        self._names = {reward: f"reward_{index}" for index, (reward, _) in enumerate(by_reward)}
        changes = check_by_reward(by_reward, folder, family, "deltas")
        for reward, adapter in by_reward:
            path = adapter_file(adapter)
            with only_model_errors(path, KEY):
                load_adapter(pipe, self._names[reward], path, changes[reward])
        reward, adapter = by_reward[0]
        with only_model_errors(adapter_file(adapter), KEY):
            load_adapter(pipe, _SUM, adapter_file(adapter), changes[reward])
        self._activate({})

    def predicted(self, soup: AdapterSoup, w_M: Sequence[float], predict: Callable[[], Tensor]) -> Tensor:
        """Return the prediction of one mix. Afterwards the denoiser is that of the model again.

        Rewards of weight 0 take no part, so a one-hot w gives the bits of that reward's own adapter.
        """
        used = [(reward, w) for reward, w in zip(soup.rewards, w_M, strict=True) if w > 0]
        try:
            if soup.output:
                total = torch.tensor(0.0)
                for index, (reward, w) in enumerate(used):
                    self._activate({self._names[reward]: 1.0})
                    total = predict() * w if index == 0 else total + w * predict()
                return total
            if soup.mix == "factors" and len(used) > 1:
                self._add_factors(used)
                self._activate({_SUM: 1.0})
            else:
                self._activate({self._names[reward]: w for reward, w in used})
            return predict()
        finally:
            self._activate({})

    def _activate(self, weights: Mapping[str, float]) -> None:
        """Let these adapters act with these weights, besides the fixed ones, and no others.

        A layer then computes W x + sum_k w_k (alpha_k / r_k) B_k A_k x, which is exactly the sum of the changes.
        `add_weighted_adapter("linear")` of peft would mix A and B apart instead.
        """
        for layer in self._layers():
            active = [name for name in (*self._fixed, *weights) if name in layer.lora_A]
            for name in active:
                if name in weights:
                    layer.set_scale(name, weights[name])
            layer.set_adapter(active, inference_mode=True)

    def _add_factors(self, used: Sequence[tuple[str, float]]) -> None:
        names = [(self._names[reward], w) for reward, w in used]
        with torch.no_grad():
            for layer in self._layers():
                if _SUM not in layer.lora_A:
                    continue
                for matrices in (layer.lora_A, layer.lora_B):
                    total = sum(w * matrices[name].weight for name, w in names)
                    matrices[_SUM].weight.copy_(total)
                layer.scaling[_SUM] = layer.scaling[names[0][0]]

    def _layers(self) -> list[Any]:
        from peft.tuners.lora import LoraLayer

        return [module for module in self._denoiser.modules() if isinstance(module, LoraLayer)]


def _scales(path: Path, changes: Sequence[Change]) -> dict[str, tuple[int, float, bool]]:
    """Return, for each module that a LoRA changes, its rank, its alpha, and whether alpha is divided by sqrt(r)."""
    parts = {change.part for change in changes}
    tensors, scaling = load_file(path), scalings(path, read_tensor_file(path), parts)
    return {
        one.module: (one.rank, alpha_of(one, tensors, own), own.by_root)
        for one in changes for own in (scaling[one.part],)
    }  # fmt: skip


def _refused(problem: str, fix: str | None = None) -> ModelError:
    return ModelError(
        problem,
        "one LoRA of the denoiser for each guided reward, in the layout of diffusers or kohya",
        fix or "give another adapter, or leave the method out",
        KEY,
    )
