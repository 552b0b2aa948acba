"""LoRAs that do not fit a model, are no LoRAs, or lie about themselves are refused by name before a model loads."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion.base import Loading, load_model
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import pipeline_class
from diffusion.lora.check import Change, check_adapter
from diffusion.source import Adapter, Source, adapter_file
from tests.support import tiny

EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def check(path: Path, folder: Path) -> list[Change]:
    return check_adapter(adapter_file(Adapter(str(path))), folder, FAMILIES[pipeline_class(folder)])


@EVERY_FAMILY
def test_an_adapter_fits_its_own_family_and_no_other(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    path = tiny.save_lora(family, tmp_path / "lora.safetensors")
    check(path, folders[family])
    layer = next(iter(load_file(path))).split(".lora")[0]
    for other in set(tiny.FAMILIES) - {family}:
        with pytest.raises(ModelError, match="another family") as error:
            check(path, folders[other])
        assert error.value.key == "model.adapters" and layer in str(error.value)


def test_the_same_denoiser_of_another_width_is_another_family(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"attn2\.to_k has width 24, the model's 16"):
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
    path, up = tmp_path / "lora.safetensors", layer.replace("lora_A", "lora_B").replace("down.", "up.")
    up = up.replace("lora_down", "lora_up") if "lora_unet" in layer else up
    up = up.replace("up_blocks", "down_blocks")
    save_file({layer: torch.zeros(2, 16), up: torch.zeros(64, 2)}, path)
    check(path, folders["sd"])
    save_file({layer: torch.zeros(2, 768), up: torch.zeros(64, 2)}, path)
    with pytest.raises(ModelError, match="width 768"):
        check(path, folders["sd"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"\xff" * 64, "cannot be read"),
        (b"\x02\0\0\0\0\0\0\0[]", "cannot be read"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds no LoRA"),
        (b"\x02\0\0\0\0\0\0\0{}abcd", "belong to no tensor"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of Git LFS"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_lora_is_refused(
    folders: dict[str, Path], tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "lora.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=says) as error:
        check(path, folders["sd"])
    assert error.value.key == "model.adapters"


def _without_a_matrix(weights: Tensors) -> Tensors:
    return {name: tensor for name, tensor in weights.items() if "lora_B" not in name}


def _with_no_product(weights: Tensors) -> Tensors:
    return {name: tensor[:, :1].contiguous() if "lora_B" in name else tensor for name, tensor in weights.items()}


def _with_loha(weights: Tensors) -> Tensors:
    loha = {f"lora_unet_conv_in.hada_w{i}_{side}": torch.zeros(2, 2) for i in (1, 2) for side in "ab"}
    return weights | loha | {"lora_unet_conv_in.alpha": torch.tensor(1.0)}


def _twice(weights: Tensors) -> Tensors:
    return weights | {name.replace("unet.", ""): tensor.clone() for name, tensor in weights.items()}


def _of_whole_numbers(weights: Tensors) -> Tensors:
    return {name: tensor.to(torch.int8) for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (_without_a_matrix, "only one of its two matrices"),
        (_with_no_product, "which have no product"),
        (_with_loha, "more than a LoRA: lora_unet_conv_in.hada_w1_a.*LoHa"),
        (_twice, "in the file twice"),
        (_of_whole_numbers, "numbers of the dtype I8"),
        (lambda weights: weights | {"unet.conv_in.lora_mid.weight": torch.zeros(2, 2, 3, 3)}, "Tucker"),
        (lambda weights: weights | {"unet.conv_in.diff": torch.zeros(32, 4, 3, 3)}, "full weights"),
        (lambda weights: {f"{name}_": tensor for name, tensor in weights.items()}, "holds no LoRA"),
    ],
)
def test_a_lora_that_is_not_whole_or_more_than_one_is_refused(
    folders: dict[str, Path], tmp_path: Path, broken: Callable[[Tensors], Tensors], says: str
) -> None:
    path = tiny.save_lora("sd", tmp_path / "lora.safetensors")
    save_file(broken(load_file(path)), path)
    with pytest.raises(ModelError, match=says):
        check(path, folders["sd"])


@pytest.mark.parametrize(
    ("module", "kernel"),
    [("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", ()), ("down_blocks.0.resnets.0.conv1", (3, 3))],
)
def test_a_dora_with_magnitudes_by_input_is_refused(
    folders: dict[str, Path], tmp_path: Path, module: str, kernel: tuple[int, ...]
) -> None:
    """The weights have 32 inputs and 32 outputs, so only the place of the 32 in the shape tells."""
    ones, name = [1] * len(kernel), f"lora_unet_{module.replace('.', '_')}"
    weights = {"lora_down.weight": torch.ones(2, 32, *kernel), "lora_up.weight": torch.ones(32, 2, *ones)}
    path = tmp_path / "lora.safetensors"
    for shape, is_by_input in (((32, 1, *ones), False), ((1, 32, *ones), True)):
        scale = {"dora_scale": torch.ones(shape)}
        save_file({f"{name}.{key}": value for key, value in (weights | scale).items()}, path)
        if not is_by_input:
            assert [change.module for change in check(path, folders["sd"])] == [module]
            continue
        with pytest.raises(ModelError, match="by input and not by output"):
            check(path, folders["sd"])


def header_that_lies(path: Path, **changes: Any) -> None:
    """Change the entry of the file's first tensor."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[min(name for name in header if name != "__metadata__")] |= changes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [2, 160]}, "as many bytes"), ({"shape": [2, -16]}, "whole numbers"),
        ({"shape": "2"}, "whole numbers"), ({"shape": [2, True]}, "whole numbers"),
        ({"dtype": "F99"}, "dtype"), ({"dtype": ["F32"]}, "dtype"),
        ({"data_offsets": [0, 1 << 60], "shape": [1 << 58]}, "overlap|bytes of numbers"),
        ({"data_offsets": [128, 256]}, "overlap|gaps"), ({"data_offsets": None}, "whole numbers"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(
    folders: dict[str, Path], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = tiny.save_lora("sd", tmp_path / "lora.safetensors")
    header_that_lies(path, **changes)
    with pytest.raises(ModelError, match=says):
        check(path, folders["sd"])


def test_layers_without_a_place_in_the_model_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tiny.save_lora("sd", tmp_path / "lora.safetensors")
    weights = load_file(path)
    save_file(weights | {name.replace("blocks.0", "blocks.7"): weights[name].clone() for name in weights}, path)
    with pytest.raises(ValueError, match=r"1 of its 2 layers found no place .*unet\.down_blocks\.7") as error:
        check(path, folders["sd"])
    assert "another family" not in str(error.value)


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_without_one_adapter_is_refused(folders: dict[str, Path], tmp_path: Path, count: int) -> None:
    for index in range(count):
        tiny.save_lora("sd", tmp_path / f"{index}.safetensors")
    with pytest.raises(ModelError, match=f"holds {count} files"):
        check(tmp_path, folders["sd"])


def save_of_peft(folder: Path, module: str = "encoder.layers.0.self_attn.q_proj", **config: Any) -> Path:
    """Write what peft's `save_pretrained` does for a text encoder of width 16."""
    folder.mkdir()
    name = f"base_model.model.{module}"
    weights = {f"{name}.lora_A.weight": torch.ones(2, 16), f"{name}.lora_B.weight": torch.ones(16, 2)}
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4} | config))
    return folder


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"peft_type": "LOHA"}, "the kind LOHA"), ({"peft_type": ["LORA"]}, "the kind"),
        ({"lora_alpha": "4"}, "gives 4 as an alpha"), ({"lora_alpha": 10**400}, "as an alpha"),
        ({"lora_alpha": True}, "gives True as an alpha"), ({"alpha_pattern": {"q_proj": None}}, "gives None as"),
        ({"alpha_pattern": ["q_proj"]}, "the alpha_pattern"), ({"alpha_pattern": {"(": 1}}, "the alpha_pattern"),
        ({"alpha_pattern": {"(.*)*(.*)*x": 1}}, "names of modules"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the model's own weights"),
        ({"init_lora_weights": "olora"}, "changes the model's own weights"),
    ],
)  # fmt: skip
def test_an_adapter_config_that_cannot_be_followed_is_refused(
    folders: dict[str, Path], tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says) as error:
        check(save_of_peft(tmp_path / "saved", **config), folders["sd"])
    assert error.value.key == "model.adapters"


@pytest.mark.parametrize("kind", ["a folder", "a FIFO", "a lost link", "deep", "a list", "too long", "of Git LFS"])
def test_an_adapter_config_that_is_no_such_file_is_refused(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    path = save_of_peft(tmp_path / "saved") / "adapter_config.json"
    contents = {"deep": b"[" * 100_000, "a list": b"[]", "of Git LFS": b"version https://git-lfs.github.com/spec/v1\n"}
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a lost link":
        path.symlink_to(tmp_path / "lost")
    else:
        path.write_bytes(contents.get(kind, b""))
        os.truncate(path, len(contents.get(kind, b"")) or 10**9)
    with pytest.raises(ModelError) as error:
        check(tmp_path / "saved", folders["sd"])
    assert error.value.key == "model.adapters" and "adapter_config.json" in str(error.value)


def test_a_layer_that_two_text_encoders_could_have_is_not_guessed(folders: dict[str, Path], tmp_path: Path) -> None:
    """Both encoders of the tiny SDXL have the width 16. With a prefix the layer has one place."""
    saved = save_of_peft(tmp_path / "saved")
    assert [change.part for change in check(saved, folders["sd"])] == ["text_encoder"]
    with pytest.raises(ModelError, match=r"q_proj fits text_encoder and text_encoder_2 alike"):
        check(saved, folders["sdxl"])
    path = tmp_path / "lora.safetensors"
    weights = load_file(saved / "adapter_model.safetensors")
    save_file({name.replace("base_model.model.", "text_encoder_2."): one for name, one in weights.items()}, path)
    assert [change.part for change in check(path, folders["sdxl"])] == ["text_encoder_2"]


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_refused(folders: dict[str, Path], tmp_path: Path, alpha: float) -> None:
    """It is among the numbers of the file, so only loading sees it."""
    path = tiny.save_lora("sd", tmp_path / "lora.safetensors")
    weights = load_file(path)
    stem = next(iter(weights)).split(".lora")[0]
    save_file(weights | {f"{stem}.alpha": torch.tensor(alpha)}, path)
    with pytest.raises(ModelError, match="and not a number") as error:
        load_model(Source(str(folders["sd"]), adapters=(Adapter(str(path)),)), Loading(), "cpu")
    assert error.value.key == "model.adapters"


@pytest.mark.parametrize("kind", ["a FIFO", "a lost link", "a folder of pickles", "a pickle"])
def test_an_adapter_that_is_no_file_of_safetensors_is_refused(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "lora.safetensors"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a lost link":
        path.symlink_to(tmp_path / "lost")
    elif kind == "a pickle":
        torch.save({"unet.conv_in.lora_A.weight": torch.ones(1)}, path)
    else:
        path.mkdir()
        torch.save({"unet.conv_in.lora_A.weight": torch.ones(1)}, path / "pytorch_lora_weights.bin")
    with pytest.raises(ModelError) as error:
        check(path, folders["sd"])
    assert error.value.key == "model.adapters"
