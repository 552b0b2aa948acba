"""Soups of fine-tuned models: one-hot mixes are their adapter bit for bit, others are W + sum_m w_m dW_m."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion.base import AdapterSoup, Loading, Sampling, load_model
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.folder import pipeline_class
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.lora.soup import check_by_reward
from diffusion.source import Adapter, Source, model_revision
from tests.support import tiny

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
WEIGHTS = ((1.0, 0.0), (0.3, 0.7), (0.0, 1.0))
REWARDS = ("warm", "cold")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model("sd", tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("loras")
    return tuple(tiny.save_lora("sd", place / f"{seed}.safetensors", seed=seed) for seed in (1, 2))  # type: ignore[return-value]


def load(folder: Path, *, by_reward: tuple[Path, ...] = (), adapters: tuple[Path, ...] = ()) -> LatentDiffusion:
    pairs = tuple((name, Adapter(str(path))) for name, path in zip(REWARDS, by_reward, strict=False))
    source = Source(str(folder), adapters=tuple(Adapter(str(path)) for path in adapters), by_reward=pairs)
    model = load_model(source, Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


def mean(model: LatentDiffusion, x: torch.Tensor, soup: AdapterSoup | None = None) -> torch.Tensor:
    return model.reverse_step(x, 0, model.encode("a fox", Sampling(3, 5.0, soup=soup))).mean


def latents(model: LatentDiffusion, rows: int) -> torch.Tensor:
    one = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    return one.expand(rows, *one.shape[1:])


def merged(folder: Path, change: torch.Tensor) -> LatentDiffusion:
    """The model with a change added to one weight itself."""
    model = load(folder)
    weight = model._pipe.unet.get_submodule(LAYER).weight
    weight.data = (weight.data.double() + change).float()
    return model


def matrices(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = load_file(path)
    return tensors[f"unet.{LAYER}.lora_A.weight"].double(), tensors[f"unet.{LAYER}.lora_B.weight"].double()


@pytest.mark.parametrize("mix", ["deltas", "factors"])
@pytest.mark.parametrize("output", [False, True])
def test_a_one_hot_soup_is_its_adapter_bit_for_bit(
    folder: Path, loras: tuple[Path, Path], mix: str, output: bool
) -> None:
    model = load(folder, by_reward=loras)
    found = mean(model, latents(model, 3), AdapterSoup(output, mix, REWARDS, WEIGHTS))
    for row, path in ((0, loras[0]), (2, loras[1])):
        alone = load(folder, adapters=(path,))
        assert torch.equal(found[row : row + 1], mean(alone, latents(alone, 1)))
    assert not torch.equal(found[0], found[2])


def test_a_mix_of_deltas_is_the_model_with_the_sum_in_its_weights(folder: Path, loras: tuple[Path, Path]) -> None:
    model = load(folder, by_reward=loras)
    found = mean(model, latents(model, 3), AdapterSoup(False, "deltas", REWARDS, WEIGHTS))
    (a1, b1), (a2, b2) = (matrices(path) for path in loras)
    wanted = mean(merged(folder, 0.3 * b1 @ a1 + 0.7 * b2 @ a2), latents(model, 1))
    np.testing.assert_allclose(found[1:2], wanted, rtol=1e-4, atol=1e-5)
    assert (found[1:2] - mean(load(folder), latents(model, 1))).abs().max() > 1e-3


def test_a_mix_of_factors_is_the_product_of_the_sums(folder: Path, loras: tuple[Path, Path]) -> None:
    model = load(folder, by_reward=loras)
    found = mean(model, latents(model, 3), AdapterSoup(False, "factors", REWARDS, WEIGHTS))
    (a1, b1), (a2, b2) = (matrices(path) for path in loras)
    wanted = mean(merged(folder, (0.3 * b1 + 0.7 * b2) @ (0.3 * a1 + 0.7 * a2)), latents(model, 1))
    np.testing.assert_allclose(found[1:2], wanted, rtol=1e-4, atol=1e-5)
    sums = mean(model, latents(model, 3), AdapterSoup(False, "deltas", REWARDS, WEIGHTS))
    assert (found[1] - sums[1]).abs().max() > 1e-4


def test_an_output_soup_is_the_weighted_mean_of_the_models_means(folder: Path, loras: tuple[Path, Path]) -> None:
    """The mean of DDIM is linear in eps with coefficients that sum to 1 over the models, as the weights do."""
    model = load(folder, by_reward=loras)
    found = mean(model, latents(model, 3), AdapterSoup(True, "deltas", REWARDS, WEIGHTS))
    first, second = (mean(load(folder, adapters=(path,)), latents(model, 1)).double() for path in loras)
    np.testing.assert_allclose(found[1:2], 0.3 * first + 0.7 * second, rtol=1e-4, atol=1e-5)


def test_without_a_soup_the_adapters_of_rewards_do_not_act(folder: Path, loras: tuple[Path, Path]) -> None:
    model = load(folder, by_reward=loras)
    mean(model, latents(model, 3), AdapterSoup(False, "factors", REWARDS, WEIGHTS))
    assert torch.equal(mean(model, latents(model, 1)), mean(load(folder), latents(model, 1)))
    both = load(folder, by_reward=loras, adapters=(loras[1],))
    mean(both, latents(both, 3), AdapterSoup(False, "deltas", REWARDS, WEIGHTS))
    assert torch.equal(mean(both, latents(model, 1)), mean(load(folder, adapters=(loras[1],)), latents(model, 1)))


def test_the_adapters_are_part_of_the_models_identity(folder: Path, loras: tuple[Path, Path]) -> None:
    one, other = Adapter(str(loras[0])), Adapter(str(loras[1]))
    sources = [
        Source(str(folder)),
        Source(str(folder), by_reward=(("warm", one), ("cold", other))),
        Source(str(folder), by_reward=(("warm", other), ("cold", one))),
        Source(str(folder), adapters=(one, other)),
    ]
    assert len({model_revision(source) for source in sources}) == len(sources)


@pytest.mark.parametrize("case", ["text encoder", "dora", "ranks", "alphas", "root", "missing"])
def test_adapters_that_have_no_mix_are_refused(
    folder: Path, loras: tuple[Path, Path], tmp_path: Path, case: str
) -> None:
    tensors, path = load_file(loras[1]), tmp_path / "other.safetensors"
    name = f"unet.{LAYER}"
    if case == "text encoder":
        layer = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
        tensors = {f"{layer}.lora_A.weight": torch.zeros(2, 16), f"{layer}.lora_B.weight": torch.zeros(16, 2)}
    elif case == "dora":
        tensors[f"{name}.lora_magnitude_vector"] = torch.ones(32)
    elif case == "ranks":
        tensors = {f"{name}.lora_A.weight": torch.zeros(3, 16), f"{name}.lora_B.weight": torch.zeros(32, 3)}
    elif case == "alphas":
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    if case != "missing":
        # The rank's root as the divisor of alpha, as peft writes it.
        text = '{"unet.peft_type": "LORA", "unet.use_rslora": true, "unet.lora_alpha": 2}'
        save_file(tensors, path, {"lora_adapter_metadata": text} if case == "root" else None)
    pairs = (("warm", Adapter(str(loras[0]))), ("cold", Adapter(str(path))))
    with pytest.raises(ModelError) as error:
        check_by_reward(pairs, folder, FAMILIES[pipeline_class(folder)], "factors")
    assert error.value.key == "model.adapters_by_reward"


def test_equal_alphas_beside_the_matrices_are_the_scale_of_a_mix_of_factors(
    folder: Path, loras: tuple[Path, Path], tmp_path: Path
) -> None:
    halved = list[Path]()
    for index, path in enumerate(loras):
        tensors = load_file(path)
        rank = len(tensors[f"unet.{LAYER}.lora_A.weight"])
        halved.append(tmp_path / f"{index}.safetensors")
        save_file(tensors | {f"unet.{LAYER}.alpha": torch.tensor(rank / 2)}, halved[-1])
    model = load(folder, by_reward=tuple(halved))
    found = mean(model, latents(model, 3), AdapterSoup(False, "factors", REWARDS, WEIGHTS))
    (a1, b1), (a2, b2) = (matrices(path) for path in loras)
    wanted = mean(merged(folder, (0.3 * b1 + 0.7 * b2) @ (0.3 * a1 + 0.7 * a2) / 2), latents(model, 1))
    np.testing.assert_allclose(found[1:2], wanted, rtol=1e-4, atol=1e-5)
