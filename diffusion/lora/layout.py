"""The names of a LoRA's tensors in the layouts that trainers write. Imports no torch.

A layer of a LoRA changes the weight W of a module to W + alpha/r B A. A, of rank r, reads the module's input.

    diffusers, peft   unet.<module>.lora_A.weight, .lora_B.weight
    diffusers, older  unet.<module>.lora.down.weight, .lora.up.weight; unet.<...>.processor.to_q_lora.down.weight
    ... text encoder  text_encoder.<module>.lora_linear_layer.down.weight, .up.weight
    peft's own        base_model.model.<module>.lora_A.weight, with alpha in adapter_config.json
    kohya, LyCORIS    lora_unet_<module with _ for .>.lora_down.weight, .lora_up.weight, .alpha, .dora_scale
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ROLES = (
    ("down", re.compile(r"(?:\.lora_A(?:\.[\w-]+)?|(?:[._]lora|\.lora_linear_layer)\.down|\.lora_down)\.weight$")),
    ("up", re.compile(r"(?:\.lora_B(?:\.[\w-]+)?|(?:[._]lora|\.lora_linear_layer)\.up|\.lora_up)\.weight$")),
    ("magnitude", re.compile(r"\.(?:lora_magnitude_vector(?:\.[\w-]+)?(?:\.weight)?|dora_scale)$")),
    ("alpha", re.compile(r"(?:\.lora|_lora|\.lora_linear_layer)?\.alpha$")),
)  # fmt: skip
# Prefix -> part of the pipeline; the first prefix that fits counts. None is the denoiser, whatever it is called.
_DOTTED = {name: name for name in ("text_encoder_3", "text_encoder_2", "text_encoder", "unet", "transformer")}
_FLAT = {
    "lora_te3_": "text_encoder_3", "lora_te2_": "text_encoder_2", "lora_te1_": "text_encoder",
    "lora_te_": "text_encoder", "lora_unet_": None, "lora_transformer_": "transformer",
}  # fmt: skip
_PEFT = "base_model.model."
# The attention of a text encoder in the first layout of diffusers.
_TEXT_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
# Stability's names of a UNet's layers, which kohya's trainer uses for SDXL, and those of diffusers.
_STABILITY = {
    "in_layers_2": "conv1", "out_layers_3": "conv2", "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
    "time_embed_0": "time_embedding_linear_1", "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1", "label_emb_0_2": "add_embedding_linear_2",
    "input_blocks_0_0": "conv_in", "out_2": "conv_out",
}  # fmt: skip


@dataclass
class Layer:
    """The names of the tensors that change one module: those of A, B, alpha and DoRA's magnitudes."""

    down: str | None = None
    up: str | None = None
    alpha: str | None = None
    magnitude: str | None = None


def layers_of(names: Iterable[str]) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers of a LoRA by the stem of their tensors' names, and the tensors that belong to no layer."""
    layers, others = dict[str, Layer](), list[str]()
    for name in names:
        for role, suffix in _ROLES:
            if (match := suffix.search(name)) and getattr(layers.get(name[: match.start()]), role, None) is None:
                setattr(layers.setdefault(name[: match.start()], Layer()), role, name)
                break
        else:
            others.append(name)
    # An alpha or a magnitude alone changes nothing, and is a tensor of something else, such as LoHa.
    for stem in [stem for stem, layer in layers.items() if layer.down is None and layer.up is None]:
        layer = layers.pop(stem)
        others += [name for name in (layer.alpha, layer.magnitude) if name is not None]
    return layers, others


class Places:
    """The modules of a model that a LoRA can change.

    Args:
        modules: names of the modules of each part.
        denoiser: name of the part that predicts.
        per_block: `layers_per_block` of a UNet.
    """

    def __init__(self, modules: Mapping[str, Iterable[str]], denoiser: str, per_block: int = 2) -> None:
        self._denoiser, self._per_block = denoiser, per_block
        self._dotted = {part: set(names) for part, names in modules.items()}
        self._flat = {part: {name.replace(".", "_"): name for name in names} for part, names in self._dotted.items()}

    def find(self, stem: str) -> list[tuple[str, str]]:
        """Return the part and the module that a layer changes: none if the model has no such module.

        There are several if the layer's name has no prefix, as in peft's own files, and parts have modules of that
        name.
        """
        for prefix, part in _FLAT.items():
            if stem.startswith(prefix):
                return self._find_flat(part or self._denoiser, stem.removeprefix(prefix))
        stem = stem.removeprefix(_PEFT)
        for prefix, part in _DOTTED.items():
            if stem.startswith(f"{prefix}."):
                return self._find_dotted(part, stem.removeprefix(f"{prefix}."))
        return [place for part in sorted(self._dotted) for place in self._find_dotted(part, stem)]

    def _find_dotted(self, part: str, name: str) -> list[tuple[str, str]]:
        known, name = self._dotted.get(part, set()), name.replace(".processor.", ".")
        head, _, last = name.rpartition(".")
        names = [name, f"{name}.0"]
        if part.startswith("text_encoder") and last in _TEXT_ATTENTION:
            names.append(f"{head}.{_TEXT_ATTENTION[last]}")
        # transformers has moved the text model of CLIP in and out of a module of this name.
        inner = [*names, *(one.removeprefix("text_model.") for one in names), *(f"text_model.{one}" for one in names)]
        return [(part, one) for one in inner if one in known][:1]

    def _find_flat(self, part: str, name: str) -> list[tuple[str, str]]:
        known = self._flat.get(part, {})
        names = [name, name.removeprefix("text_model_"), f"text_model_{name}", *self._from_stability(name)]
        return [(part, known[one]) for one in names if one in known][:1]

    def _from_stability(self, name: str) -> list[str]:
        """The names in diffusers of a UNet's layer that Stability's code would call so."""
        size = self._per_block + 1
        if match := re.fullmatch(r"input_blocks_(\d+)_(\d)_(.+)", name):
            index, inner, rest = int(match[1]) - 1, int(match[2]), match[3]
            block = f"down_blocks_{index // size}"
            kind = "downsamplers_0" if rest == "op" else f"{('resnets', 'attentions')[inner]}_{index % size}"
            rest = "conv" if rest == "op" else rest
        elif match := re.fullmatch(r"output_blocks_(\d+)_(\d)_(.+)", name):
            index, inner, rest = int(match[1]), int(match[2]), match[3]
            block = f"up_blocks_{index // size}"
            kind = "upsamplers_0" if rest == "conv" else f"{('resnets', 'attentions')[min(inner, 1)]}_{index % size}"
        elif match := re.fullmatch(r"middle_block_([012])_(.+)", name):
            block, kind, rest = "mid_block", ("resnets_0", "attentions_0", "resnets_1")[int(match[1])], match[2]
        else:
            return [_STABILITY[name]] if name in _STABILITY else []
        whole = "_".join((block, kind, _STABILITY.get(rest, rest)))
        return [_STABILITY[name]] if name in _STABILITY else [whole]
