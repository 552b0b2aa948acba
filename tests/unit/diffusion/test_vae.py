"""A VAE in place of the model's own: its images, its part in the revision, and the VAEs that are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from configs.errors import RequestError
from configs.load import load_config
from configs.sections.model import ModelConfig, VaeConfig
from diffusion.base import Loading, load_model
from diffusion.errors import ModelError
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import VAE_WEIGHTS, Source, Vae, model_revision
from diffusion.vae import check_vae
from pipeline.cli.commands import app
from pipeline.planning.downloads import model_downloads
from pipeline.planning.hub_sizes import MODELS
from pipeline.planning.plan import make_plan
from tests.support import tiny

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"
MINI = Path(__file__).parents[3] / "mini" / "weights" / "pipeline"
SDXL = ("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b")
FIX = VaeConfig(name="madebyollin/sdxl-vae-fp16-fix", revision="207b116dae70ace3637169f1ddd2434b91b3a8cd")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def load(folder: Path, vae: Path | None = None, dtype: str = "float32") -> LatentDiffusion:
    source = Source(str(folder), vae=Vae(str(vae)) if vae else None)
    model = load_model(source, Loading(dtype=dtype), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


@pytest.mark.parametrize("family", tiny.WITH_KL)
def test_images_are_decoded_by_the_vae(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    vae = tiny.save_vae(folders[family], tmp_path / "vae")
    swapped = shutil.copytree(folders[family], tmp_path / "swapped")
    shutil.copy(vae / VAE_WEIGHTS, swapped / "vae" / VAE_WEIGHTS)
    x0 = torch.randn(2, *load(folders[family]).latent_shape, generator=torch.Generator().manual_seed(0))
    images = [load(*arguments).decode(x0) for arguments in ((folders[family],), (folders[family], vae), (swapped,))]
    assert torch.equal(images[1], images[2]) and not torch.equal(images[0], images[1])


def test_a_vae_that_does_not_overflow_stays_in_float16_and_the_models_own_does_not(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """SDXL's own VAE says `force_upcast`; the fp16-fix VAE says that it need not."""
    model = tiny.save_model("sdxl", tmp_path / "model", force_upcast=True)
    vae = tiny.save_vae(model, tmp_path / "vae", force_upcast=False)
    assert load(model, dtype="float16")._pipe.vae.dtype == torch.float32
    assert load(model, vae, dtype="float16")._pipe.vae.dtype == torch.float16


def test_the_vae_is_part_of_the_revision_and_without_one_the_revision_is_unchanged(tmp_path: Path) -> None:
    own, other = shutil.copytree(MINI / "vae", tmp_path / "own"), tiny.save_vae(MINI, tmp_path / "other")
    sources = [
        Source("mini"), Source("mini", vae=Vae(str(own))), Source("mini", vae=Vae(str(other))),
        Source("mini", vae=Vae(FIX.name, FIX.revision)), Source("mini", vae=Vae(FIX.name, "0" * 40)),
    ]  # fmt: skip
    assert len({model_revision(source) for source in sources}) == len(sources)
    assert model_revision(Source(SDXL[0], SDXL[1])) == SDXL[1]


def test_without_a_vae_the_record_of_a_run_has_no_such_key(tmp_path: Path) -> None:
    assert "vae" not in load_config(DEMO).model_dump(mode="json")["model"]
    assert "vae" not in load_config(DEMO).workers["model"]
    config = load_config(DEMO, [f"model.vae={{name: {MINI / 'vae'}}}"])
    assert config.workers["model"]["vae"] == {"name": str(MINI / "vae"), "revision": None}
    assert "guidance_scale" not in config.workers["model"] and "chunk" not in config.workers["compute"]


def test_a_run_has_the_vaes_images_and_its_folder_is_for_this_vae_only(tmp_path: Path) -> None:
    """The VAE's path is relative to the configuration."""
    tiny.save_vae(MINI, tmp_path / "vae")
    config = yaml.safe_load(DEMO.read_text()) | {
        "steps": 2, "queries": 2, "soup": {"steps": 1}, "weights": {"grid": 2}, "prompts": {"list": ["a snail"]},
        "model": {"name": "mini", "vae": {"name": "vae"}}, "method": "unguided",
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    arguments = ["run", str(tmp_path / "run.yaml"), "--local", f"output={tmp_path / 'run'}"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    without = CliRunner().invoke(app, [*arguments, "model.vae=null"])
    assert without.exit_code == 2 and "key:     model.vae" in without.output
    file, output = tmp_path / "run.yaml", f"output={tmp_path / 'another'}"
    plans = [make_plan(load_config(file, [output, *one]), str) for one in ([], ["model.vae=null"])]
    assert plans[0].model_revision != plans[1].model_revision


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"latent_channels": 8}, "latent_channels 8, but the model's own VAE has 4"),
        ({"scaling_factor": 0.3}, "scaling_factor 0.3, but the model's own VAE has"),
        ({"shift_factor": 0.1}, "shift_factor 0.1, but the model's own VAE has None"),
        ({"block_out_channels": [16, 16, 16, 16]}, "images of"),
        ({"_class_name": "AutoencoderTiny"}, "is a AutoencoderTiny"),
    ],
)
def test_a_vae_for_other_latents_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    vae = shutil.copytree(MINI / "vae", tmp_path / "vae")
    config = json.loads((vae / "config.json").read_text())
    (vae / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(RequestError) as caught:
        make_plan(load_config(DEMO, [f"model.vae={{name: {vae}}}", f"output={tmp_path / 'run'}"]), str)
    assert caught.value.key == "model.vae" and problem in caught.value.problem and caught.value.value == str(vae)


def test_a_vae_of_another_kind_is_not_replaced(folders: dict[str, Path], tmp_path: Path) -> None:
    """Images of Sana's are as wide, and its latents have as many channels."""
    vae = tiny.save_vae(folders["sd"], tmp_path / "vae", scaling_factor=0.41407)
    with pytest.raises(ModelError, match="the model's own VAE is a AutoencoderDC"):
        check_vae(Vae(str(vae)), vae, folders["sana"])


@pytest.mark.parametrize("broken", ["no folder", "no weights", "no JSON", "a list"])
def test_a_broken_vae_is_refused(tmp_path: Path, broken: str) -> None:
    vae = tmp_path / "vae"
    if broken != "no folder":
        shutil.copytree(MINI / "vae", vae)
    if broken == "no weights":
        (vae / VAE_WEIGHTS).unlink()
    elif broken in ("no JSON", "a list"):
        (vae / "config.json").write_text("{" if broken == "no JSON" else "[]")
    with pytest.raises(RequestError) as caught:
        make_plan(load_config(DEMO, [f"model.vae={{name: {vae}}}", f"output={tmp_path / 'run'}"]), str)
    assert caught.value.key == "model.vae" and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("cut", "cut short"), ("a pointer", "pointer of Git LFS"),
        ("a shape", "another shape for decoder.conv_in.bias"),
        ("more", "has other, for which"), ("a folder", "it is a folder"), ("other names", "has no safetensors"),
    ],
)  # fmt: skip
def test_the_weights_of_a_vae_are_checked_by_their_header(tmp_path: Path, broken: str, problem: str) -> None:
    vae = shutil.copytree(MINI / "vae", tmp_path / "vae")
    weights, tensors = vae / VAE_WEIGHTS, load_file(vae / VAE_WEIGHTS)
    if broken == "cut":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif broken == "a pointer":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    elif broken in ("a shape", "more"):
        save_file(tensors | {"decoder.conv_in.bias" if broken == "a shape" else "other": torch.zeros(3)}, weights)
    else:
        weights.rename(vae / "model.safetensors")
        if broken == "a folder":
            weights.mkdir()
    with pytest.raises(RequestError) as caught:
        make_plan(load_config(DEMO, [f"model.vae={{name: {vae}}}", f"output={tmp_path / 'run'}"]), str)
    assert caught.value.key == "model.vae" and problem in caught.value.problem


def test_a_vae_with_fp16_weights_only_is_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    vae = tiny.save_vae(folders["sd"], tmp_path / "vae")
    x0 = torch.randn(1, *load(folders["sd"]).latent_shape, generator=torch.Generator().manual_seed(0))
    expected = load(folders["sd"], vae).decode(x0)
    (vae / VAE_WEIGHTS).rename(vae / VAE_WEIGHTS.replace(".safe", ".fp16.safe"))
    make_plan(load_config(DEMO, [f"model.name={folders['sd']}", f"model.vae={{name: {vae}}}", "steps=3",
                                 "soup.steps=1", f"output={tmp_path / 'run'}"]), str)  # fmt: skip
    assert torch.equal(load(folders["sd"], vae).decode(x0), expected)


def test_tensors_that_are_missing_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    vae = tiny.save_vae(folders["sd"], tmp_path / "vae")
    weights = load_file(vae / VAE_WEIGHTS)
    weights.pop("decoder.conv_in.weight")
    save_file(weights, vae / VAE_WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"vae lacks decoder\.conv_in\.weight, which would be made up"):
        load(folders["sd"], vae)


@pytest.mark.parametrize(
    ("override", "key", "problem"),
    [
        (f"model.vae={{name: a, revision: {'a' * 40}}}", "model.vae", "is not a name on the hub"),
        ("model.vae={name: a/b, revision: main}", "model.vae.revision", "String should match pattern"),
        ("model.vae={nam: a}", "model.vae.nam", "there is no such key"),
        ("model.vae=a/b", "model.vae", "valid dictionary"),
    ],
)
def test_wrong_values_are_refused(override: str, key: str, problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_config(DEMO, [override])
    assert caught.value.key == key and problem in caught.value.problem


def test_another_name_on_the_command_line_drops_the_files_revision(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    vae = {"name": FIX.name, "revision": FIX.revision}
    path.write_text(yaml.safe_dump(yaml.safe_load(DEMO.read_text()) | {"model": {"name": "mini", "vae": vae}}))
    assert load_config(path).model.vae == FIX
    assert load_config(path, ["model.vae.name=/a/vae"]).model.vae == VaeConfig(name="/a/vae")


def test_the_vae_is_downloaded_in_place_of_the_models_own() -> None:
    own = ModelConfig(name=SDXL[0], revision=SDXL[1])
    model, vae = model_downloads(own.model_copy(update={"vae": FIX}))
    (with_own,) = model_downloads(own)
    assert model.size is not None and with_own.size == model.size + MODELS[SDXL].parts["vae"]
    assert (vae.name, vae.size, vae.here) == ("madebyollin/sdxl-vae-fp16-fix (VAE)", 334_643_238, False)
