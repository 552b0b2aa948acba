"""NaN and infinity in a network are an error that names step, part and dtype, and never a picture."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from actors.workers import DiffusionWorker
from diffusion.base import Loading, Sampling, load_model
from diffusion.errors import NotFiniteError
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Adapter, Source
from pipeline.cli.commands import app
from pipeline.records import read_table
from tests.support import tiny

SAMPLING = Sampling(steps=3, guidance_scale=5.0)
EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
NOT_A_NUMBER = pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
DENOISER = {
    "sd": "unet.conv_out",
    "sdxl": "unet.conv_out",
    "sd3": "transformer.proj_out",
    "flux": "transformer.proj_out",
    "pixart": "transformer.proj_out",
    "sana": "transformer.proj_out",
    "qwen": "transformer.proj_out",
    "zimage": "transformer.all_final_layer.2-1.linear",
}
Poison = Callable[[LatentDiffusion], None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A run in this process sets both for its own bits."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


def load(folder: Path, *adapters: Adapter, dtype: str = "float32") -> LatentDiffusion:
    model = load_model(Source(str(folder), adapters=adapters), Loading(dtype), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


def noise(model: LatentDiffusion, n: int = 2) -> Tensor:
    return torch.randn(n, *model.latent_shape, generator=torch.Generator().manual_seed(0))


def fill(model: LatentDiffusion, module: str, value: float) -> None:
    """Set one number of a module's bias."""
    found = model._pipe
    for name in module.split("."):
        found = getattr(found, name)
    with torch.no_grad():
        found.bias[0] = value


@EVERY_FAMILY
@NOT_A_NUMBER
def test_a_denoiser_names_the_reverse_step_or_the_look_ahead(
    folders: dict[str, Path], family: str, wrong: float
) -> None:
    model = load(folders[family])
    x, conditioning = noise(model), model.encode("a fox", SAMPLING)
    fill(model, DENOISER[family], wrong)
    with pytest.raises(
        NotFiniteError, match=r"the reverse step of step 1 .* in float32; fix: check the files"
    ) as error:
        model.reverse_step(x, 1, conditioning)
    assert (error.value.part, error.value.dtype, error.value.step) == ("reverse step", "float32", 1)
    with pytest.raises(NotFiniteError, match="look-ahead of step 0"):
        model.look_ahead(x, 0, conditioning)


@EVERY_FAMILY
@NOT_A_NUMBER
def test_a_decoder_is_named_with_the_step_of_its_candidates(
    folders: dict[str, Path], family: str, wrong: float
) -> None:
    model = load(folders[family])
    worker, x = DiffusionWorker(model), noise(model).numpy()
    conditioning = worker.encode("a fox", SAMPLING).conditioning
    fill(model, "vae.decoder.conv_out", wrong)
    with pytest.raises(NotFiniteError, match="the decoder of step 1"):
        worker.decode_candidates(x, 1, conditioning, 4)
    with pytest.raises(NotFiniteError, match=r"^the decoder computed NaN or infinity in float32"):
        worker.decode(x, 4)


@EVERY_FAMILY
def test_a_text_encoder_is_named(folders: dict[str, Path], family: str) -> None:
    model = load(folders[family])
    encoder = model._encoders[-1]
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match="the text encoder computed NaN"):
        model.encode("a fox", SAMPLING)


@EVERY_FAMILY
def test_a_lora_of_nan_is_an_error_of_the_reverse_step(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    path = tiny.save_lora(family, tmp_path / "lora.safetensors")
    save_file({name: torch.full_like(weight, torch.nan) for name, weight in load_file(path).items()}, path)
    model = load(folders[family], Adapter(str(path)))
    with pytest.raises(NotFiniteError, match="reverse step"):
        model.reverse_step(noise(model), 0, model.encode("a fox", SAMPLING))


def test_an_overflow_of_float16_says_that_bfloat16_is_the_fix(folders: dict[str, Path]) -> None:
    """The same weights are finite in bfloat16 and float32."""
    for dtype in ("float32", "bfloat16", "float16"):
        model = load(folders["sd"], dtype=dtype)
        with torch.no_grad():
            model._pipe.vae.decoder.conv_norm_out.weight.mul_(60000.0)
            model._pipe.vae.decoder.conv_out.weight.mul_(60000.0)
        if dtype == "float16":
            with pytest.raises(NotFiniteError, match=r"decoder .* in float16; fix: .*model.dtype=bfloat16"):
                model.decode(noise(model))
        else:
            assert model.decode(noise(model)).dtype == torch.uint8


def test_the_error_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(NotFiniteError("decoder", "float16").at(3)))
    assert (error.part, error.dtype, error.step) == ("decoder", "float16", 3)


def test_a_prompt_of_nan_fails_alone_and_no_picture_of_it_is_written(folders: dict[str, Path], tmp_path: Path) -> None:
    """The embedding of the letter q is NaN, so a prompt with a q has no conditioning."""
    folder = tiny.save_model("sd", tmp_path / "model")
    (weights,) = (folder / "text_encoder").glob("*.safetensors")
    tensors = load_file(weights)
    (table,) = [name for name in tensors if "token_embedding" in name]
    letter = tiny._clip_vocabulary()["q</w>"]
    tensors[table][letter] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    config = {
        "name": "nan", "steps": 2, "queries": 2, "soup": {"steps": 1}, "method": ["srsoup", "unguided"],
        "weights": {"grid": 3}, "prompts": {"list": ["a fox", "a q"]}, "output": str(tmp_path / "run"),
        "rewards": {"guided": ["colorfulness", "compressibility"]}, "model": {"name": str(folder)},
    }  # fmt: skip
    (tmp_path / "nan.yaml").write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(app, ["run", str(tmp_path / "nan.yaml"), "--local"])
    assert result.exit_code == 1 and "2 failed" in result.output, result.output
    assert set(read_table(tmp_path / "run", "samples").to_pandas().prompt) == {"a fox"}
    failures = read_table(tmp_path / "run", "failures").to_pylist()
    assert {failure["prompt"] for failure in failures} == {"a q"}
    assert {failure["error_class"] for failure in failures} == {"NotFiniteError"}
    assert all("the text encoder computed NaN or infinity in float32" in f["message"] for f in failures)
