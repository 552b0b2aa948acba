"""Loads LoRAs into a diffusers pipeline: every layer becomes W + sum_k weight_k alpha_k / r_k B_k A_k."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diffusion.checks.tensor_file import read_tensor_file
from diffusion.families import Family
from diffusion.loading import only_model_errors
from diffusion.lora.check import Change, check_adapter
from diffusion.lora.refusal import refused
from diffusion.lora.scaling import Scaling, scalings
from diffusion.source import Adapter, adapter_file


def load_adapters(pipe: Any, adapters: Sequence[Adapter], folder: Path, family: Family) -> dict[str, float]:
    """Load LoRAs into the parts of a pipeline, and return peft's name and the weight of each.

    Args:
        pipe: pipeline of the model.
        adapters: the LoRAs, in order.
        folder: folder of the model.
        family: family of the model.

    Raises:
        ModelError: a LoRA does not fit the model.
    """
    from diffusers.utils import set_weights_and_activate_adapters

    names = [f"adapter_{index}" for index in range(len(adapters))]
    changed, weights = set[str](), dict[str, float]()
    for name, adapter in zip(names, adapters, strict=True):
        path = adapter_file(adapter)
        changes = check_adapter(path, folder, family)
        with only_model_errors(path, "model.adapters"):
            weights |= dict.fromkeys(load_adapter(pipe, name, path, changes), adapter.weight)
        changed |= {change.part for change in changes}
    for part in changed:
        set_weights_and_activate_adapters(getattr(pipe, part), list(weights), list(weights.values()))
    return weights


def load_adapter(pipe: Any, name: str, path: Path, changes: Sequence[Change]) -> list[str]:
    """Load one LoRA, and return the names that peft has for it: its layers with DoRA have one of their own."""
    from safetensors.torch import load_file

    tensors, scaling = load_file(path), scalings(path, read_tensor_file(path), {change.part for change in changes})
    names = list[str]()
    for part in sorted({change.part for change in changes}):
        module = getattr(pipe, part)
        for is_dora, own_name in ((False, name), (True, f"{name}_dora")):
            own = [one for one in changes if one.part == part and (one.names.magnitude is not None) == is_dora]
            if own:
                _inject(module, own_name, own, tensors, scaling[part])
                names.append(own_name)
        if part.startswith("text_encoder"):
            # As diffusers does: the layers of a denoiser keep the dtype of the file.
            module.to(module.dtype)
    return names


def alpha_of(change: Change, tensors: Mapping[str, Tensor], scaling: Scaling) -> float:
    """Return alpha of one layer of a LoRA: that beside its matrices, or that of its file or folder.

    Raises:
        ModelError: it is infinite or no number.
    """
    name = change.names.alpha
    alpha = scaling.of(change.module, change.rank) if name is None else float(tensors[name])
    if not math.isfinite(alpha):
        raise refused(f"the alpha {name} of a LoRA is {alpha}, and not a number")
    return alpha


def _inject(module: Any, name: str, changes: Sequence[Change], tensors: dict[str, Tensor], scaling: Scaling) -> None:
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    weights, alphas = dict[str, Tensor](), dict[str, float]()
    for change in changes:
        names, where = change.names, change.module
        assert names.down is not None and names.up is not None
        kernel = change.shape[2:]
        down, up = tensors[names.down], tensors[names.up]
        weights[f"{where}.lora_A.weight"] = down.reshape(change.rank, change.shape[1], *kernel)
        weights[f"{where}.lora_B.weight"] = up.reshape(change.shape[0], change.rank, *([1] * len(kernel)))
        if names.magnitude is not None:
            shape = (1, change.shape[0], 1, 1) if kernel else (change.shape[0],)
            weights[f"{where}.lora_magnitude_vector"] = tensors[names.magnitude].reshape(shape)
        alphas[where] = alpha_of(change, tensors, scaling)
    config = LoraConfig(
        r=changes[0].rank,
        lora_alpha=alphas[changes[0].module],  # type: ignore[arg-type]
        target_modules=[change.module for change in changes],
        rank_pattern={f"^{change.module}": change.rank for change in changes},
        alpha_pattern={f"^{where}": alpha for where, alpha in alphas.items()},
        use_dora=changes[0].names.magnitude is not None,
        use_rslora=scaling.by_root,
    )
    with warnings.catch_warnings():
        # That there is another adapter already is what is wanted.
        warnings.simplefilter("ignore", UserWarning)
        inject_adapter_in_model(config, module, adapter_name=name, state_dict=weights, low_cpu_mem_usage=True)
    result: Any = set_peft_model_state_dict(module, weights, name, low_cpu_mem_usage=True)
    left = [key for key in result.missing_keys if name in key]
    if left or result.unexpected_keys:
        raise ValueError(f"peft has no place for {[*left, *result.unexpected_keys][:3]}")
