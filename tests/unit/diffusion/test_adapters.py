"""LoRAs on top of a model: their deltas are added, and a LoRA of another family is refused by its shapes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion.adapters import check_adapter
from diffusion.base import Loading, Sampling, load_model
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import attention_width, pipeline_class
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Adapter, Source, model_revision
from tests.support import tiny

EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
SAMPLING = Sampling(steps=3, guidance_scale=5.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def load(folder: Path, *adapters: Adapter) -> LatentDiffusion:
    model = load_model(Source(str(folder), adapters=adapters), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


def check(path: Path, folder: Path) -> None:
    family = FAMILIES[pipeline_class(folder)]
    check_adapter(path, family, attention_width(folder, family))


@EVERY_FAMILY
def test_two_adapters_are_the_weights_plus_both_deltas(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    files = [tiny.save_lora(family, tmp_path / f"{i}.safetensors", seed=i) for i in range(2)]
    adapters = tuple(Adapter(str(file), weight) for file, weight in zip(files, (0.8, -0.3), strict=True))
    model, merged = load(folders[family], *adapters), load(folders[family])
    conditioning = model.encode("a fox", SAMPLING)
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    plain = merged.reverse_step(x, 0, conditioning).mean
    for file, adapter in zip(files, adapters, strict=True):
        weights = load_file(file)
        (up,), (down,) = ([weights[name] for name in weights if part in name] for part in ("lora_B", "lora_A"))
        layer = next(iter(weights)).split(".lora")[0].split(".", 1)[1]
        merged._denoiser.get_submodule(layer).weight.data += adapter.weight * up @ down
    expected = merged.reverse_step(x, 0, conditioning).mean
    np.testing.assert_allclose(model.reverse_step(x, 0, conditioning).mean, expected, rtol=1e-4, atol=1e-5)
    assert (expected - plain).abs().max() > 3e-3


def test_kohyas_layout_reaches_the_unet_and_the_text_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    """With lora_down (A), lora_up (B) and alpha the delta is alpha / rank B A."""
    attention = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    layers = {f"lora_unet_{attention}": (32, 16)} | {
        f"lora_te_text_model_encoder_layers_0_self_attn_{part}_proj": (16, 16) for part in ("q", "k", "v", "out")
    }
    weights: dict[str, torch.Tensor] = {}
    for layer, (wide, width) in layers.items():
        up, down = torch.randn(wide, 2), torch.randn(2, width)
        weights |= {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down, f"{layer}.alpha": torch.tensor(1)}
    path = tmp_path / "kohya.safetensors"
    save_file(weights, path)
    check(path, folders["sd"])
    model, merged = load(folders["sd"], Adapter(str(path), 0.5)), load(folders["sd"])
    for layer, module in (
        (f"lora_unet_{attention}", merged._denoiser.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_k),
        *((f"lora_te_text_model_encoder_layers_0_self_attn_{part}_proj", linear)
          for part in ("q", "k", "v", "out")
          for name, linear in merged._encoders[0].named_modules() if name.endswith(f"layers.0.self_attn.{part}_proj")),
    ):  # fmt: skip
        module.weight.data += 0.5 * 0.5 * weights[f"{layer}.lora_up.weight"] @ weights[f"{layer}.lora_down.weight"]
    found, expected = model.encode("a fox", SAMPLING), merged.encode("a fox", SAMPLING)
    np.testing.assert_allclose(found.embeds, expected.embeds, rtol=1e-4, atol=1e-5)
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        model.reverse_step(x, 0, found).mean, merged.reverse_step(x, 0, expected).mean, rtol=1e-4, atol=1e-5
    )


@EVERY_FAMILY
def test_an_adapter_fits_its_own_family_and_no_other(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    path = tiny.save_lora(family, tmp_path / "lora.safetensors")
    check(path, folders[family])
    for other in set(tiny.FAMILIES) - {family}:
        with pytest.raises(ModelError, match="another family") as error:
            check(path, folders[other])
        assert error.value.key == "model.adapters"


def test_the_same_denoiser_of_another_width_is_another_family(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has width 24, the model's 16"):
        check(tiny.save_lora("sd", tmp_path / "lora.safetensors", width=24), folders["sd"])


@pytest.mark.parametrize(
    "layer",
    [
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.lora.down.weight",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.down.weight",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v.lora_down.weight",
    ],
)
def test_the_layouts_of_diffusers_peft_and_kohya_are_read(folders: dict[str, Path], tmp_path: Path, layer: str) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({layer: torch.zeros(2, 16), layer.replace("to_v", "to_k"): torch.zeros(2, 16)}, path)
    check(path, folders["sd"])
    save_file({layer: torch.zeros(2, 768)}, path)
    with pytest.raises(ModelError, match="width 768"):
        check(path, folders["sd"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"\xff" * 64, "cannot be read"),
        (b"\x02\0\0\0\0\0\0\0[]", "cannot be read"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds no LoRA"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_lora_is_refused(
    folders: dict[str, Path], tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "lora.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        check(path, folders["sd"])


def test_layers_without_a_place_in_the_model_are_an_error(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tiny.save_lora("sd", tmp_path / "lora.safetensors")
    weights = load_file(path)
    save_file(weights | {name.replace("blocks.0", "blocks.7"): weights[name].clone() for name in weights}, path)
    with pytest.raises(ValueError, match="1 of its 2 layers"):
        load(folders["sd"], Adapter(str(path)))


def test_the_contents_of_adapters_are_part_of_the_revision(folders: dict[str, Path], tmp_path: Path) -> None:
    name = str(folders["sd"])
    paths = [tiny.save_lora("sd", tmp_path / f"{i}.safetensors", seed=i) for i in (1, 2, 1)]
    paths[2] = paths[2].rename(tmp_path / "copy.safetensors")
    tiny.save_lora("sd", tmp_path / "1.safetensors", seed=1)
    one, two, copy = (model_revision(Source(name, adapters=(Adapter(str(path)),))) for path in paths)
    assert len({model_revision(Source(name)), one, two}) == 3 and one == copy
