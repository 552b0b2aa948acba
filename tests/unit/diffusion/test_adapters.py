"""LoRAs on top of a model: W + alpha/r B A in every layout, and what has no place in the model is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion.base import Loading, Sampling, load_model
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import pipeline_class
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.lora.check import check_adapter
from diffusion.source import Adapter, Source, model_revision
from tests.support import tiny

EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
SAMPLING = Sampling(steps=3, guidance_scale=5.0)
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
TEXT = "encoder.layers.0.self_attn"
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def load(folder: Path, *adapters: Adapter, dtype: str = "float32") -> LatentDiffusion:
    model = load_model(Source(str(folder), adapters=adapters), Loading(dtype), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


def check(path: Path, folder: Path) -> None:
    check_adapter(path, folder, FAMILIES[pipeline_class(folder)])


class Delta(NamedTuple):
    """A change to the weight of one module: A, B, alpha, and the magnitudes of a DoRA."""

    part: str
    module: str
    down: Tensor
    up: Tensor
    alpha: float
    magnitude: Tensor | None = None

    def added_to(self, weight: Tensor, factor: float) -> Tensor:
        """W + factor alpha/r B A in float64; with magnitudes m, m (W + ...) / |W + ...| for each output."""
        down, up, old = (tensor.double().numpy() for tensor in (self.down, self.up, weight))
        rank = down.shape[0]
        product = np.einsum("or,r...->o...", up.reshape(len(up), rank), down).reshape(old.shape)
        new = old + factor * self.alpha / rank * product
        if self.magnitude is not None:
            length = np.sqrt((new**2).reshape(len(new), -1).sum(axis=1))
            new = new * (self.magnitude.double().numpy().ravel() / length).reshape(-1, *[1] * (new.ndim - 1))
        return torch.from_numpy(new).to(weight.dtype)


def delta(model: LatentDiffusion, part: str, module: str, rank: int, alpha: float, dora: bool = False) -> Delta:
    weight = getattr(model._pipe, part).get_submodule(module).weight
    generator = torch.Generator().manual_seed(len(module) + rank)
    down = torch.randn(rank, *weight.shape[1:], generator=generator)
    up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2), generator=generator)
    magnitude = torch.rand(weight.shape[0], generator=generator) + 0.5 if dora else None
    return Delta(part, module, down, up, alpha, magnitude)


def merged(folder: Path, deltas: list[Delta], factor: float = 1.0) -> LatentDiffusion:
    """The model with the deltas in its weights."""
    model = load(folder)
    for one in deltas:
        weight = getattr(model._pipe, one.part).get_submodule(one.module).weight
        weight.data = one.added_to(weight.data, factor)
    return model


def assert_same_model(model: LatentDiffusion, expected: LatentDiffusion, plain: LatentDiffusion) -> None:
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    found, wanted, before = (one.encode("a fox", SAMPLING) for one in (model, expected, plain))
    np.testing.assert_allclose(found.embeds, wanted.embeds, rtol=1e-4, atol=1e-5)
    means = [one.reverse_step(x, 0, text).mean for one, text in ((model, found), (expected, wanted), (plain, before))]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-4, atol=4e-5 * float(means[1].abs().max()))
    assert (means[1] - means[2]).abs().max() > 1e-3


def in_peft(one: Delta) -> Tensors:
    """The layout that diffusers writes today."""
    name = f"{one.part}.{one.module}"
    extra = {} if one.magnitude is None else {f"{name}.lora_magnitude_vector": one.magnitude}
    return {f"{name}.lora_A.weight": one.down, f"{name}.lora_B.weight": one.up} | extra


def with_alpha(one: Delta) -> Tensors:
    return in_peft(one) | {f"{one.part}.{one.module}.alpha": torch.tensor(one.alpha)}


def in_diffusers(one: Delta) -> Tensors:
    """The layouts that diffusers wrote before it used peft: `lora` in the denoiser, `lora_linear_layer` in the text."""
    inner, lora = ("text_model.", "lora_linear_layer") if one.part.startswith("text") else ("", "lora")
    name = f"{one.part}.{inner}{one.module}.{lora}"
    return {f"{name}.down.weight": one.down, f"{name}.up.weight": one.up}


def in_processors(one: Delta) -> Tensors:
    """The first layout: attention processors, with no name for the first of the output's layers."""
    head, _, last = one.module.removesuffix(".0").rpartition(".")
    if one.part.startswith("text"):
        name = f"{one.part}.text_model.{head}.to_{last.removesuffix('_proj')}_lora"
    else:
        name = f"{one.part}.{head}.processor.{last}_lora"
    return {f"{name}.down.weight": one.down, f"{name}.up.weight": one.up}


def without_prefix(one: Delta) -> Tensors:
    return {name.removeprefix(f"{one.part}."): tensor for name, tensor in in_processors(one).items()}


def in_kohya(one: Delta) -> Tensors:
    prefix = {"unet": "lora_unet", "text_encoder": "lora_te_text_model", "text_encoder_2": "lora_te2_text_model"}
    name = f"{prefix[one.part]}_{one.module.replace('.', '_')}"
    extra = (
        {} if one.magnitude is None else {f"{name}.dora_scale": one.magnitude.reshape(-1, *[1] * (one.down.ndim - 1))}
    )
    matrices = {f"{name}.lora_down.weight": one.down, f"{name}.lora_up.weight": one.up}
    return matrices | {f"{name}.alpha": torch.tensor(one.alpha)} | extra


SELF = [("unet", f"{BLOCK}.attn1.to_q"), ("unet", f"{BLOCK}.attn1.to_v")]
CROSS = [("unet", f"{BLOCK}.attn2.to_k"), ("unet", f"{BLOCK}.attn2.to_out.0")]
WORDS = [
    ("text_encoder", f"{TEXT}.q_proj"),
    ("text_encoder", f"{TEXT}.v_proj"),
    ("text_encoder", "encoder.layers.1.mlp.fc1"),
]
OTHERS = [("unet", f"{BLOCK}.ff.net.2"), ("unet", "down_blocks.0.attentions.0.proj_in"), ("unet", "conv_in")]
CONVOLUTIONS = [
    ("unet", "down_blocks.0.resnets.0.conv1"), ("unet", "mid_block.resnets.0.conv2"),
    ("unet", "down_blocks.0.downsamplers.0.conv"), ("unet", "down_blocks.0.resnets.0.time_emb_proj"),
]  # fmt: skip
Layout = Callable[[Delta], Tensors]
LAYOUTS: dict[str, tuple[Layout, list[tuple[str, str]], bool]] = {
    "peft": (in_peft, SELF + CROSS + WORDS + OTHERS, False),
    "peft with alphas beside": (with_alpha, SELF + CROSS + WORDS, True),
    "peft with DoRA": (in_peft, SELF + OTHERS, False),
    "diffusers before peft": (in_diffusers, CROSS + WORDS + OTHERS, False),
    "attention processors": (in_processors, SELF + CROSS + WORDS[:2], False),
    "attention processors without a prefix": (without_prefix, SELF + CROSS, False),
    "self-attention only": (in_peft, SELF, False),
    "self-attention only, kohya": (in_kohya, SELF, True),
    "text encoder only": (in_peft, WORDS, False),
    "text encoder only, diffusers before peft": (in_diffusers, WORDS, False),
    "text encoder only, kohya": (in_kohya, WORDS, True),
    "kohya": (in_kohya, SELF + CROSS + WORDS + OTHERS, True),
    "LoCon": (in_kohya, CONVOLUTIONS + CROSS + OTHERS, True),
    "LoCon in diffusers": (in_diffusers, CONVOLUTIONS, False),
    "kohya with DoRA": (in_kohya, SELF + CROSS + CONVOLUTIONS, True),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("factor", [1.0, -0.3])
def test_every_layout_is_the_weights_plus_its_deltas(
    folders: dict[str, Path], tmp_path: Path, name: str, factor: float
) -> None:
    """Ranks and alphas differ from layer to layer; only some layouts hold alphas. Text encoders' layers change too."""
    layout, modules, has_alphas = LAYOUTS[name]
    plain, deltas = load(folders["sd"]), list[Delta]()
    for index, (part, module) in enumerate(modules):
        # The last layer stays without magnitudes.
        dora = "DoRA" in name and index < len(modules) - 1
        deltas.append(delta(plain, part, module, rank := 2 + index % 2, 0.5 + index if has_alphas else rank, dora))
    path = tmp_path / "lora.safetensors"
    save_file({key: tensor for one in deltas for key, tensor in layout(one).items()}, path)
    check(path, folders["sd"])
    model = load(folders["sd"], Adapter(str(path), factor))
    assert_same_model(model, merged(folders["sd"], deltas, factor), plain)


STABILITY = {
    "input_blocks_0_0": "conv_in", "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "input_blocks_1_0_emb_layers_1": "down_blocks.0.resnets.0.time_emb_proj",
    "input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks_3_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks_3_1_transformer_blocks_0_attn1_to_q": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "middle_block_0_out_layers_3": "mid_block.resnets.0.conv2",
    "middle_block_1_transformer_blocks_0_attn2_to_k": "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "middle_block_2_in_layers_2": "mid_block.resnets.1.conv1",
    "output_blocks_1_0_in_layers_2": "up_blocks.0.resnets.1.conv1",
    "output_blocks_1_1_proj_in": "up_blocks.0.attentions.1.proj_in",
    "output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks_3_0_in_layers_2": "up_blocks.1.resnets.1.conv1",
    "time_embed_2": "time_embedding.linear_2", "label_emb_0_0": "add_embedding.linear_1", "out_2": "conv_out",
}  # fmt: skip


def test_a_lora_of_kohya_for_sdxl_has_the_names_of_stability(folders: dict[str, Path], tmp_path: Path) -> None:
    plain, weights, deltas = load(folders["sdxl"]), Tensors(), list[Delta]()
    for index, (name, module) in enumerate(STABILITY.items()):
        deltas.append(delta(plain, "unet", module, 2, 1.0 + index % 3))
        weights |= {key.replace(module.replace(".", "_"), name): one for key, one in in_kohya(deltas[-1]).items()}
    for part in ("text_encoder", "text_encoder_2"):
        deltas.append(delta(plain, part, _inner(plain, part, f"{TEXT}.k_proj"), 3, 2.0))
        prefix = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
        weights |= {f"{prefix}_text_model_{TEXT.replace('.', '_')}_k_proj.{key.partition('.')[2]}": one
                    for key, one in in_kohya(deltas[-1]).items()}  # fmt: skip
    path = tmp_path / "lora.safetensors"
    save_file(weights, path)
    model = load(folders["sdxl"], Adapter(str(path)))
    assert_same_model(model, merged(folders["sdxl"], deltas), plain)


def _inner(model: LatentDiffusion, part: str, module: str) -> str:
    names = dict(getattr(model._pipe, part).named_modules())
    return module if module in names else f"text_model.{module}"


@pytest.mark.parametrize("family", ["sdxl", "sd3"])
def test_the_text_encoders_of_the_other_families_change_too(
    folders: dict[str, Path], tmp_path: Path, family: str
) -> None:
    plain = load(folders[family])
    parts = {"text_encoder": f"{TEXT}.q_proj", "text_encoder_2": f"{TEXT}.out_proj"}
    deltas = [delta(plain, part, _inner(plain, part, module), 2, 2.0) for part, module in parts.items()]
    if family == "sd3":
        deltas.append(delta(plain, "text_encoder_3", "encoder.block.0.layer.0.SelfAttention.q", 2, 2.0))
        deltas.append(delta(plain, "transformer", "transformer_blocks.0.attn.add_k_proj", 2, 2.0))
    path = tmp_path / "lora.safetensors"
    save_file({key: tensor for one in deltas for key, tensor in in_peft(one).items()}, path)
    model = load(folders[family], Adapter(str(path)))
    assert_same_model(model, merged(folders[family], deltas), plain)


@pytest.mark.parametrize("by_root", [False, True])
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_folder_that_peft_saved_is_read_with_its_alpha(
    folders: dict[str, Path], tmp_path: Path, part: str, by_root: bool
) -> None:
    from peft import LoraConfig, get_peft_model

    plain = load(folders["sd"])
    modules = {"unet": ["attn1.to_q", "attn2.to_k"], "text_encoder": ["q_proj"]}[part]
    config = LoraConfig(r=4, lora_alpha=6, target_modules=modules, use_rslora=by_root, alpha_pattern={modules[0]: 2})
    trained = get_peft_model(getattr(load(folders["sd"])._pipe, part), config)
    generator = torch.Generator().manual_seed(1)
    for name, weight in trained.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator)
    trained.save_pretrained(str(tmp_path / "saved"))
    deltas = list[Delta]()
    inner: Any = trained.base_model.model
    for name, module in inner.named_modules():
        if hasattr(module, "lora_A"):
            down, up = module.lora_A["default"].weight.detach(), module.lora_B["default"].weight.detach()
            alpha = 2.0 if name.endswith(modules[0]) else 6.0
            deltas.append(Delta(part, name, down, up, alpha * (2.0 if by_root else 1.0)))
    assert len(deltas) >= 3
    for path in (tmp_path / "saved", tmp_path / "saved" / "adapter_model.safetensors"):
        model = load(folders["sd"], Adapter(str(path)))
        assert_same_model(model, merged(folders["sd"], deltas), plain)
    revisions = {model_revision(Source(str(folders["sd"]), adapters=(Adapter(str(tmp_path / "saved")),)))}
    config_file = tmp_path / "saved" / "adapter_config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | {"lora_alpha": 60}))
    revisions |= {model_revision(Source(str(folders["sd"]), adapters=(Adapter(str(tmp_path / "saved")),)))}
    assert len(revisions) == 2
    config_file.unlink()
    with pytest.raises(ModelError, match=r"adapter_config\.json is not beside it"):
        check(tmp_path / "saved" / "adapter_model.safetensors", folders["sd"])


def test_alphas_in_the_metadata_of_diffusers_count(folders: dict[str, Path], tmp_path: Path) -> None:
    plain = load(folders["sd"])
    deltas = [delta(plain, *place, 2, 5.0) for place in SELF] + [delta(plain, *WORDS[0], 2, 2.0)]
    metadata = {"unet.r": 2, "unet.lora_alpha": 5, "unet.target_modules": ["to_q", "to_v"], "text_encoder.r": 2}
    path = tmp_path / "lora.safetensors"
    save_file({key: tensor for one in deltas for key, tensor in in_peft(one).items()}, path,
              metadata={"format": "pt", "lora_adapter_metadata": json.dumps(metadata)})  # fmt: skip
    model = load(folders["sd"], Adapter(str(path)))
    assert_same_model(model, merged(folders["sd"], deltas), plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", [in_peft, in_diffusers, in_kohya])
def test_the_bits_are_those_of_diffusers_own_loading(
    folders: dict[str, Path], tmp_path: Path, layout: Layout, dtype: str
) -> None:
    """In the layouts that diffusers reads too."""
    plain, by_diffusers = load(folders["sd"], dtype=dtype), load(folders["sd"], dtype=dtype)
    # diffusers reads a text encoder of kohya's only if all four layers of an attention are there.
    words = [("text_encoder", f"{TEXT}.{name}_proj") for name in ("q", "k", "v", "out")]
    deltas = [delta(load(folders["sd"]), *place, 2, 3.0) for place in SELF + CROSS + words]
    path = tmp_path / "lora.safetensors"
    save_file({key: tensor for one in deltas for key, tensor in layout(one).items()}, path)
    by_diffusers._pipe.load_lora_weights(str(tmp_path), weight_name=path.name, adapter_name="one")
    by_diffusers._pipe.set_adapters(["one"], [0.7])
    ours = load(folders["sd"], Adapter(str(path), 0.7), dtype=dtype)
    x = torch.randn(2, *ours.latent_shape, generator=torch.Generator().manual_seed(0))
    texts = [one.encode("a fox", SAMPLING) for one in (ours, by_diffusers, plain)]
    assert torch.equal(texts[0].embeds, texts[1].embeds) and not torch.equal(texts[0].embeds, texts[2].embeds)
    means = [one.reverse_step(x, 0, texts[0]).mean for one in (ours, by_diffusers, plain)]
    assert torch.equal(means[0], means[1]) and not torch.equal(means[0], means[2])


@EVERY_FAMILY
def test_two_adapters_are_the_weights_plus_both_deltas(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    files = [tiny.save_lora(family, tmp_path / f"{i}.safetensors", seed=i) for i in range(2)]
    adapters = tuple(Adapter(str(file), weight) for file, weight in zip(files, (0.8, -0.3), strict=True))
    model, changed = load(folders[family], *adapters), load(folders[family])
    conditioning = model.encode("a fox", SAMPLING)
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    plain = changed.reverse_step(x, 0, conditioning).mean
    for file, adapter in zip(files, adapters, strict=True):
        weights = load_file(file)
        (up,), (down,) = ([weights[name] for name in weights if part in name] for part in ("lora_B", "lora_A"))
        layer = next(iter(weights)).split(".lora")[0].split(".", 1)[1]
        changed._denoiser.get_submodule(layer).weight.data += adapter.weight * up @ down
    expected = changed.reverse_step(x, 0, conditioning).mean
    np.testing.assert_allclose(model.reverse_step(x, 0, conditioning).mean, expected, rtol=1e-4, atol=1e-5)
    assert (expected - plain).abs().max() > 2e-3


def test_the_contents_of_adapters_are_part_of_the_revision(folders: dict[str, Path], tmp_path: Path) -> None:
    name = str(folders["sd"])
    paths = [tiny.save_lora("sd", tmp_path / f"{i}.safetensors", seed=i) for i in (1, 2, 1)]
    paths[2] = paths[2].rename(tmp_path / "copy.safetensors")
    tiny.save_lora("sd", tmp_path / "1.safetensors", seed=1)
    one, two, copy = (model_revision(Source(name, adapters=(Adapter(str(path)),))) for path in paths)
    assert len({model_revision(Source(name)), one, two}) == 3 and one == copy
