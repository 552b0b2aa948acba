"""Whole runs of every family from the command line, in one process, and the errors before a model is loaded."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from configs.errors import RequestError
from pipeline.cli.commands import app
from pipeline.records import read_table
from srsoup import sample_front
from tests.support import tiny

EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
T, N, K = 4, 3, 2
ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef" * 2 + "01234567"
SIMPLEX = {
    2: [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]],
    3: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]],
}
REWARDS = ("colorfulness", "compressibility", "mini_clip")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tiny.save_model(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


def write_config(path: Path, name: Path | str, rewards: int = 2, model: Mapping[str, Any] | None = None) -> Path:
    config = {
        "name": "tiny", "steps": T, "queries": N, "soup": {"steps": K}, "weights": SIMPLEX[rewards],
        "prompts": {"list": ["a fox", "two owls"]}, "rewards": {"guided": list(REWARDS[:rewards])},
        "output": str(path.parent / "run"), "model": {"name": str(name), **(model or {})},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


def invoke(config: Path, *overrides: str, command: str = "run") -> Any:
    return CliRunner().invoke(app, [command, str(config), *overrides, *(["--local"] if command == "run" else [])])


@EVERY_FAMILY
@pytest.mark.parametrize("rewards", [2, 3])
def test_the_sampler_runs_with_the_cost_of_the_formula_and_is_continued(
    folders: dict[str, Path], tmp_path: Path, family: str, rewards: int
) -> None:
    config = write_config(tmp_path / "tiny.yaml", folders[family], rewards)
    first = invoke(config)
    assert first.exit_code == 0, first.output
    run, n_weights = tmp_path / "run", len(SIMPLEX[rewards])
    costs = read_table(run, "costs").to_pandas()
    assert set(costs.queries) == {N * rewards * (T * (n_weights - rewards + 1) - K * (n_weights - rewards))}
    assert set(costs.decodes) == {N * (rewards * K + n_weights * (T - K)) + n_weights}
    assert len(read_table(run, "samples")) == 2 * n_weights and set(costs.prompt) == {"a fox", "two owls"}
    steps = read_table(run, "steps").to_pandas()
    assert set(steps.phase) == {"soup", "weighted_sum"} and (steps.sigma > 0).all()

    before = {table: read_table(run, table).to_pandas() for table in ("samples", "scores", "steps")}
    lost = next((run / "costs").iterdir())
    for table in (*before, "costs"):
        (run / table / lost.name).unlink()
    again = invoke(config)
    assert again.exit_code == 0 and "1 of 2 fronts are done already" in again.output
    for table, rows in before.items():
        columns = [name for name in ("key", "step", "weight_index", "reward") if name in rows]
        assert read_table(run, table).to_pandas().sort_values(columns, ignore_index=True).equals(
            rows.sort_values(columns, ignore_index=True)
        )  # fmt: skip


def test_an_adapter_and_every_option_take_effect_in_a_run(folders: dict[str, Path], tmp_path: Path) -> None:
    """The adapter's path is relative to the configuration. The adapter changes the images and their keys."""
    tiny.save_lora("sd", tmp_path / "lora.safetensors", scale=20)
    options = {
        "adapters": [{"name": "lora.safetensors", "weight": 2.0}], "dtype": "bfloat16", "eta": 0.5,
        "negative_prompt": "ugly", "attention_slicing": True, "vae_slicing": True, "offload_text_encoders": True,
    }  # fmt: skip
    config = write_config(tmp_path / "tiny.yaml", folders["sd"], model=options)
    assert invoke(config, f"output={tmp_path / 'with'}").exit_code == 0
    assert invoke(config, f"output={tmp_path / 'without'}", "model.adapters=[]").exit_code == 0
    one, other = (read_table(tmp_path / run, "samples").to_pandas() for run in ("with", "without"))
    assert not set(one.key) & set(other.key)
    assert [image["bytes"] for image in one.image] != [image["bytes"] for image in other.image]


def edited(folder: Path, to: Path, file: str, **changes: Any) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((to / file).read_text())
    (to / file).write_text(json.dumps(config | changes))
    return to


def refused(config: Path, *overrides: str) -> str:
    result = invoke(config, *overrides)
    assert result.exit_code == 2, result.output
    for part in ("file:", "key:", "value:", "allowed:", "fix:"):
        assert result.output.count(part) == 1, result.output
    assert not (config.parent / "run").exists()
    return str(result.output)


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("actors.workers.load_model", load)


Break = Callable[[Path, Path], Path]
BROKEN: dict[str, tuple[str, Break, str, str]] = {
    "no scheduler": (
        "sd", lambda folder, to: _without(folder, to, "scheduler"), "model.name", "has no scheduler/"),
    "no scheduler in SD3": (
        "sd3", lambda folder, to: _without(folder, to, "scheduler"), "model.name", "has no scheduler/"),
    "no second encoder": (
        "sdxl", lambda folder, to: _without(folder, to, "text_encoder_2"), "model.name", "has no text_encoder_2/"),
    "unknown family": (
        "sd", lambda folder, to: edited(folder, to, "model_index.json", _class_name="LuminaPipeline"), "model.name",
        "StableDiffusionPipeline, StableDiffusionXLPipeline, StableDiffusion3Pipeline, FluxPipeline, "
        "PixArtSigmaPipeline, SanaPipeline, QwenImagePipeline, ZImagePipeline"),
    "no family": (
        "sd", lambda folder, to: edited(folder, to, "model_index.json", _class_name=None), "model.name", "is a None"),
    "no safetensors": (
        "sdxl", lambda folder, to: _pickled(folder, to, "unet"), "model.name", "has no safetensors"),
    "a diffusion's scheduler on a flow": (
        "sd3", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", _class_name="DDIMScheduler"),
        "model.name", "belongs to no flow"),
    "a flow with a random schedule": (
        "sd3", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", stochastic_sampling=True),
        "model.name", "stochastic_sampling"),
    "a flow with an unknown dynamic shift": (
        "sd3", lambda folder, to: edited(
            folder, to, "scheduler/scheduler_config.json", use_dynamic_shifting=True, time_shift_type="cubic"),
        "model.name", "exponential or linear"),
    "a scheduler without betas": (
        "sdxl", lambda folder, to: _without_key(folder, to, "scheduler/scheduler_config.json", "beta_start"),
        "model.name", "no betas"),
    "another prediction": (
        "sd", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", prediction_type="flow"),
        "model.name", "epsilon, v_prediction, sample"),
    "noise prediction without signal": (
        "sd", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", rescale_betas_zero_snr=True),
        "model.name", "v_prediction or sample"),
    "clipped latents": (
        "sd", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", thresholding=True),
        "model.name", "thresholding: false"),
    "distilled guidance": (
        "sdxl", lambda folder, to: edited(folder, to, "unet/config.json", time_cond_proj_dim=256), "model.name",
        "distilled"),
    "an inpainting UNet": (
        "sd", lambda folder, to: edited(folder, to, "unet/config.json", in_channels=9), "model.name", "inpainting"),
    "more steps than trained": (
        "sd", lambda folder, to: edited(folder, to, "scheduler/scheduler_config.json", num_train_timesteps=4),
        "steps", "1..3"),
    "an index that is not JSON": (
        "sd", lambda folder, to: _written(folder, to, "model_index.json", "{"), "model.name", "is not JSON"),
    "an index that is a list": (
        "sd", lambda folder, to: _written(folder, to, "model_index.json", "[]"), "model.name", "not a JSON object"),
}  # fmt: skip


def _without(folder: Path, to: Path, part: str) -> Path:
    shutil.copytree(folder, to)
    shutil.rmtree(to / part)
    return to


def _pickled(folder: Path, to: Path, part: str) -> Path:
    shutil.copytree(folder, to)
    (weights,) = (to / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    return to


def _without_key(folder: Path, to: Path, file: str, key: str) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((to / file).read_text())
    del config[key]
    (to / file).write_text(json.dumps(config))
    return to


def _written(folder: Path, to: Path, file: str, text: str) -> Path:
    shutil.copytree(folder, to)
    (to / file).write_text(text)
    return to


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(("family", "broken", "key", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_model_that_cannot_be_sampled_is_refused(
    folders: dict[str, Path], tmp_path: Path, family: str, broken: Break, key: str, message: str
) -> None:
    folder = broken(folders[family], tmp_path / "model")
    output = refused(write_config(tmp_path / "tiny.yaml", folder))
    assert f"key:     {key}\n" in output and message in output


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(
    ("family", "override", "message"),
    [
        ("flux", "model.negative_prompt=ugly", "which has no key negative_prompt"),
        ("flux", "lookahead.guidance=off", "makes each prediction in one pass"),
        ("flux", "model.attention_slicing=true", "only with StableDiffusionPipeline, StableDiffusionXLPipeline"),
        ("sd", "model.noise_level=0.7", "only with StableDiffusion3Pipeline"),
        ("sdxl", "model.noise_level=0.5", "only with StableDiffusion3Pipeline"),
        ("sd3", "model.eta=1", "only with StableDiffusionPipeline, StableDiffusionXLPipeline"),
        ("sd3", "model.attention_slicing=true", "only with StableDiffusionPipeline, StableDiffusionXLPipeline"),
        ("sd3", "model.noise_level=0", "at 0 no step has noise"),
        ("sd3", "model.noise_level=-1", ">= 0"),
        ("sd", "model.revision=main", "40 hexadecimal digits"),
        ("sd", "model.dtype=float64", "float32 or float16 or bfloat16"),
        ("sd", "model.adapters=[{name: a.safetensors, wheight: 1}]", "did you mean weight?"),
        ("sd", "model.adapters=[{weight: 1}]", "this key is missing"),
        ("sd", "model.adapters=[{name: /no/such.safetensors}]", "cannot be read as safetensors"),
        ("sd", f"model.adapters=[{{name: a.safetensors, revision: {COMMIT}}}]", "is not a name on the hub"),
    ],
)
def test_a_key_of_another_family_or_a_wrong_value_is_refused(
    folders: dict[str, Path], tmp_path: Path, family: str, override: str, message: str
) -> None:
    output = refused(write_config(tmp_path / "tiny.yaml", folders[family]), override)
    key = override.partition("=")[0]
    assert f"key:     {key}" in output and message in output and "file:    command line\n" in output


TURBO = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
LCM = {"_class_name": "LCMScheduler", "original_inference_steps": 50, "set_alpha_to_one": True}


@pytest.mark.parametrize("scheduler", [TURBO, LCM], ids=["turbo", "lcm"])
def test_a_distilled_model_is_guided_in_all_of_its_few_steps_but_the_last(
    folders: dict[str, Path], tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    folder = edited(folders["sd"], tmp_path / "model", "scheduler/scheduler_config.json", **scheduler)
    if scheduler is LCM:
        index = json.loads((folder / "model_index.json").read_text()) | {"scheduler": ["diffusers", LCM["_class_name"]]}
        (folder / "model_index.json").write_text(json.dumps(index))
    config = write_config(tmp_path / "tiny.yaml", folder, model={"guidance_scale": 1.0})
    assert invoke(config).exit_code == 0
    steps = read_table(tmp_path / "run", "steps").to_pandas()
    assert ((steps.sigma > 0) == (steps.step < T - 1)).all() and set(steps[steps.step == T - 1].phase) == {"mean"}
    assert steps.timestep.max() == 999


def test_one_step_without_noise_is_no_step_for_a_guided_method(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = edited(folders["sd"], tmp_path / "model", "scheduler/scheduler_config.json", **TURBO)
    config = write_config(tmp_path / "tiny.yaml", folder)
    output = refused(config, "steps=1", "soup.steps=0")
    assert "key:     steps\n" in output and "the last step of this model's scheduler has none" in output
    assert invoke(config, "steps=1", "soup.steps=0", "method=unguided", command="check").exit_code == 0
    assert invoke(config, "steps=2", "soup.steps=0", command="check").exit_code == 0
    pipe = tiny.pipeline("sd", folder)
    with pytest.raises(RequestError, match="set steps=2"):
        sample_front(pipe, "a fox", list(REWARDS[:2]), steps=1, queries=2, progress=False)
    front = sample_front(pipe, "a fox", list(REWARDS[:2]), steps=1, queries=2, method="unguided", progress=False)
    assert front.scores.shape[1] == 2


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(("family", "other"), [("sd", "sdxl"), ("sdxl", "sd3"), ("sd3", "sd")])
def test_a_lora_of_another_family_is_refused(folders: dict[str, Path], tmp_path: Path, family: str, other: str) -> None:
    tiny.save_lora(other, tmp_path / "lora.safetensors")
    options = {"adapters": [{"name": "lora.safetensors"}]}
    output = refused(write_config(tmp_path / "tiny.yaml", folders[family], model=options))
    assert "key:     model.adapters\n" in output and "another family" in output and str(tmp_path) in output


def test_a_missing_adapter_is_refused_if_its_model_is_not_on_this_machine(tmp_path: Path) -> None:
    options = {"revision": COMMIT, "adapters": [{"name": "lora.safetensors"}]}
    result = invoke(write_config(tmp_path / "tiny.yaml", "srsoup-tests/absent", model=options), command="check")
    assert result.exit_code == 2 and "key:     model.adapters\n" in result.output
    tiny.save_lora("sd", tmp_path / "lora.safetensors")
    assert invoke(tmp_path / "tiny.yaml", command="check").exit_code == 0


@pytest.fixture
def hub(folders: dict[str, Path], tmp_path: Path) -> dict[str, str]:
    """An environment without a network, whose hub cache holds one model, another VAE and two adapters."""
    cache = tmp_path / "home" / "hub"
    shutil.copytree(folders["sdxl"], cache / "models--some--model" / "snapshots" / COMMIT)
    tiny.save_vae(folders["sdxl"], cache / "models--some--vae" / "snapshots" / COMMIT)
    (cache / "models--some--lora" / "snapshots" / COMMIT).mkdir(parents=True)
    tiny.save_lora("sdxl", cache / "models--some--lora" / "snapshots" / COMMIT / "x.safetensors", scale=9)
    (cache / "models--some--other" / "snapshots" / COMMIT).mkdir(parents=True)
    save_file({"unet.a.attn2.to_k.lora_A.weight": torch.zeros(2, 8)},
              cache / "models--some--other" / "snapshots" / COMMIT / "x.safetensors")  # fmt: skip
    return os.environ | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def on_hub(hub: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], cwd=ROOT, env=hub, capture_output=True, text=True, timeout=200
    )


@pytest.mark.slow
def test_a_pinned_model_vae_and_adapter_of_the_hub_give_the_bits_of_local_copies(
    hub: dict[str, str], folders: dict[str, Path], tmp_path: Path
) -> None:
    tiny.save_lora("sdxl", tmp_path / "local.safetensors", scale=9)
    tiny.save_vae(folders["sdxl"], tmp_path / "vae")
    parts = {"adapters": [{"name": "local.safetensors"}], "vae": {"name": "vae"}}
    local = write_config(tmp_path / "tiny.yaml", folders["sdxl"], model=parts)
    assert invoke(local, f"output={tmp_path / 'local'}").exit_code == 0
    pinned = {
        "revision": COMMIT, "vae": {"name": "some/vae", "revision": COMMIT},
        "adapters": [{"name": "some/lora", "revision": COMMIT, "file": "x.safetensors"}],
    }  # fmt: skip
    config = write_config(tmp_path / "hub.yaml", "some/model", model=pinned)
    done = on_hub(hub, "run", str(config), "--local", f"output={tmp_path / 'hub'}")
    assert done.returncode == 0, done.stderr
    one, other = (read_table(tmp_path / run, "samples").to_pandas() for run in ("local", "hub"))
    order = ["prompt", "weight_index"]
    assert list(one.sort_values(order).image) == list(other.sort_values(order).image)
    assert invoke(local, f"output={tmp_path / 'own'}", "model.vae=null").exit_code == 0
    own = read_table(tmp_path / "own", "samples").to_pandas()
    assert list(one.sort_values(order).image) != list(own.sort_values(order).image)


@pytest.mark.slow
def test_a_model_that_is_not_on_this_machine_is_planned_by_check_and_refused_by_an_offline_run(
    hub: dict[str, str], tmp_path: Path
) -> None:
    config = str(write_config(tmp_path / "tiny.yaml", "some/absent", model={"revision": COMMIT}))
    checked = on_hub(hub | {"COLUMNS": "200"}, "check", config)
    assert checked.returncode == 0 and "not on this machine" in checked.stdout
    ran = on_hub(hub, "run", config, "--local")
    assert ran.returncode == 2 and "key:     model.name\n" in ran.stderr and "the hub does not give" in ran.stderr
    wrong = {"revision": COMMIT, "adapters": [{"name": "some/other", "revision": COMMIT, "file": "x.safetensors"}]}
    other = on_hub(hub, "check", str(write_config(tmp_path / "other.yaml", "some/model", model=wrong)))
    assert other.returncode == 2 and "another family" in other.stderr
