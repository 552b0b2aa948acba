"""The alphas of a LoRA that are not beside its matrices: in peft's adapter_config.json, or in the file's metadata."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.checks.json_file import is_number, read_json
from diffusion.checks.tensor_file import TensorFile
from diffusion.errors import for_key
from diffusion.lora.refusal import KEY, refused
from diffusion.source import PEFT_CONFIG, is_of_peft

# With these, peft changes the model's own weights before it trains, so the file alone is not the whole change.
_OTHER_WEIGHTS = ("pissa", "olora", "corda", "loftq")
# Names of modules, and the signs of a regular expression that cannot repeat: repetition can take years to match.
_PLAIN = re.compile(r"[\w.^$-]+")


@dataclass(frozen=True)
class Scaling:
    """The alphas that a LoRA's file or folder gives beside its tensors. Without any, alpha is the rank of a layer.

    Attributes:
        alpha: alpha of all layers of a part; None if not given.
        pattern: the ends of module names -> alpha, which precedes `alpha`.
        by_root: whether B A is multiplied by alpha / sqrt(r) and not by alpha / r.
    """

    alpha: float | None = None
    pattern: tuple[tuple[str, float], ...] = ()
    by_root: bool = False

    def of(self, module: str, rank: int) -> float:
        """Return alpha of a module, by the rules of peft."""
        for pattern, alpha in self.pattern:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return alpha
        return float(rank) if self.alpha is None else self.alpha


def scalings(path: Path, content: TensorFile, parts: Collection[str]) -> dict[str, Scaling]:
    """Return the alphas of a LoRA for each part: those in peft's adapter_config.json, or in the file's metadata.

    Raises:
        ModelError: the file needs an adapter_config.json that is not there or cannot be read, or the alphas are no
            numbers.
    """
    if is_of_peft(path):
        config = path.with_name(PEFT_CONFIG)
        if not config.exists():
            raise refused(
                f"{path} was saved by peft, and {PEFT_CONFIG} is not beside it, so its alpha is not known",
                f"name the folder that save_pretrained wrote, or put its {PEFT_CONFIG} beside the file",
            )
        with for_key(KEY):
            values = read_json(config)
        return dict.fromkeys(parts, _scaling(config, values, ""))
    if text := content.metadata.get("lora_adapter_metadata"):
        values = _object(path, text)
        return {part: _scaling(path, values, f"{part}.") for part in parts}
    return dict.fromkeys(parts, Scaling())


def _scaling(path: Path, config: Mapping[str, Any], prefix: str) -> Scaling:
    def number(value: Any) -> float:
        if not is_number(value):
            raise refused(f"{path} gives {str(value)[:100]} as an alpha", "correct lora_alpha and alpha_pattern")
        return float(value)

    kind, start = config.get("peft_type", "LORA"), config.get(f"{prefix}init_lora_weights")
    if kind != "LORA":
        raise refused(f"{path} describes an adapter of the kind {str(kind)[:100]}")
    if isinstance(start, str) and start.lower().startswith(_OTHER_WEIGHTS):
        raise refused(
            f"{path} was trained with init_lora_weights {start[:100]}, which changes the model's own weights too",
            "save the adapter again with save_pretrained(..., path_initial_model_for_weight_conversion=...) of peft",
        )
    alpha, pattern = config.get(f"{prefix}lora_alpha"), config.get(f"{prefix}alpha_pattern") or {}
    if not isinstance(pattern, dict) or not all(_PLAIN.fullmatch(name) for name in pattern):
        raise refused(
            f"{path} has the alpha_pattern {str(pattern)[:100]}, and its keys must be names of modules or their ends",
            "correct alpha_pattern",
        )
    return Scaling(
        None if alpha is None else number(alpha),
        tuple((name, number(value)) for name, value in pattern.items()),
        bool(config.get(f"{prefix}use_rslora")),
    )


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(f"{path} has a description of its LoRA that is not JSON: {str(error)[:200]}") from error
    if not isinstance(data, dict):
        raise refused(f"{path} has a description of its LoRA that is no JSON object")
    return data
