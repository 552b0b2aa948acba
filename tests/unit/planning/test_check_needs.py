"""The downloads, the memory and the hours that `srsoup check` prints: each is measured or reported as not known."""

import hashlib
import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from configs.load import load_config
from configs.schema import RunConfig
from pipeline.cli.plan_table import needs
from pipeline.planning.downloads import Download, model_downloads, reward_downloads, size_text
from pipeline.planning.gpu.estimate import PAPERS_MODEL, SECONDS_PER_CANDIDATE, gpu_hours, gpu_memory
from pipeline.planning.gpu.rates import forecast_hours, forecast_memory, rates
from pipeline.planning.hub_sizes import MODELS
from pipeline.planning.plan import Plan, make_plan
from rewards import registry
from rewards.base import Reward, RewardInfo
from rewards.pinned_files import LOCAL_FOLDER, WeightFile, locate

FOLDER = Path(__file__).parents[3] / "configs" / "experiments"
ALL = sorted(FOLDER.glob("*.yaml"))
FULL = [path for path in ALL if not path.stem.endswith("_mini")]
SD15, FORTY = "animals_aesthetic_compressibility", "0123456789abcdef0123456789abcdef01234567"
# Files of some kilobytes with tokens, whose sizes are in no public record.
SMALL = {"vocab.json", "merges.txt", "vocab.txt"}
ONE_PROMPT = "prompts.list=[snail]"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any weights."""
    monkeypatch.delenv(LOCAL_FOLDER, raising=False)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))


def config_of(name: str, *overrides: str) -> RunConfig:
    path = FOLDER / f"{name}.yaml"
    return load_config(path, [ONE_PROMPT, *overrides], swept="sweep:" in path.read_text())


def plan_of(tmp_path: Path, *overrides: str, name: str = SD15) -> Plan:
    return make_plan(config_of(name, f"output={tmp_path / 'run'}", *overrides), str)


def test_check_prints_every_experiment_and_loads_no_model(tmp_path: Path) -> None:
    """One offline process checks all of them, so that the imports of each are seen at the end."""
    code = (
        "import sys; from typer.testing import CliRunner; from srsoup import _app; app = _app()\n"
        "for path in sys.argv[1:]:\n"
        f"    done = CliRunner().invoke(app, ['check', path, {ONE_PROMPT!r}])\n"
        "    assert done.exit_code == 0, (path, done.output)\n"
        "    print('FILE', path); print(done.output)\n"
        "loaded = {'diffusers', 'transformers', 'ray'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    environment = os.environ | {
        "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "COLUMNS": "160",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }  # fmt: skip
    environment.pop(LOCAL_FOLDER, None)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, ALL)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("FILE ")[1:]
    assert len(printed) == len(ALL) and not (tmp_path / "hf" / "hub").exists()
    for path, text in zip(ALL, printed, strict=True):
        own = ["GPU ", "none is needed", "seconds expected"] if path not in FULL else ["GPU memory", "GPU hours", "GB"]
        for word in ["model download", "reward downloads", "queries", "decodes", *own]:
            assert word in text, (path, word)


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_of_every_experiment_the_sizes_of_model_and_rewards_are_known(path: Path) -> None:
    """A pin that changes without its size fails here."""
    config = config_of(path.stem)
    models = model_downloads(config.model)
    assert len(models) == (2 if config.model.vae else 1)
    assert all(model.size is not None and not model.here for model in models)
    for download in reward_downloads((*config.rewards.guided, *config.rewards.held_out)):
        assert download.size is not None or any(f"({name})" in download.name for name in SMALL), download


def test_a_models_size_is_the_sum_of_the_parts_that_its_family_reads() -> None:
    from diffusion.families import FAMILIES

    # Both tables are in the order SD, SDXL, SD3, FLUX; the size of a PixArt-Sigma is not known.
    families = dict(zip(MODELS, FAMILIES.values(), strict=False))
    for key, size in MODELS.items():
        weighted = {part for part in families[key].parts if part != "scheduler" and not part.startswith("tokenizer")}
        assert set(size.parts) == weighted
    gigabytes = [round(size.total / 1e9, 2) for size in MODELS.values()]
    assert gigabytes == [4.27, 13.88, 16.27, 33.74]  # the third is a sum of sizes with three digits


def test_the_rate_is_that_of_table_6() -> None:
    """Minutes divided by the candidates, whose number the paper does not print.

    It is N (M K + L (T-K)), with M = 2, L = 6, T = 50.
    """
    soup = {
        "compressibility": (9.2, 13.0, 17.1, 20.4, 24.3),
        "pickscore": (9.7, 14.0, 17.4, 21.6, 25.1),
        "hpsv2": (9.7, 13.7, 17.6, 21.6, 25.4),
    }
    summed = {
        "compressibility": (8.2, 12.8, 17.7, 21.7, 24.8),
        "pickscore": (9.3, 14.4, 18.4, 23.0, 27.1),
        "hpsv2": (9.4, 12.2, 15.7, 21.1, 25.8),
    }
    rates = {
        "srsoup": [
            60 * minutes / (30 * (2 * k + 6 * (50 - k)))
            for row in soup.values()
            for minutes, k in zip(row, (50, 40, 30, 20, 10), strict=True)
        ],
        "weighted_sum": [
            60 * minutes / (n * 6 * 50)
            for row in summed.values()
            for minutes, n in zip(row, (6, 11, 16, 21, 26), strict=True)
        ],
    }
    assert set(rates) == set(SECONDS_PER_CANDIDATE)
    for method, found in rates.items():
        assert SECONDS_PER_CANDIDATE[method] == pytest.approx((min(found), max(found)), abs=5e-4)


def test_gpu_hours_are_candidates_times_the_rate_and_name_the_methods_without_a_rate(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "prompts.list=[snail, owl]", "method=[srsoup, weighted_sum, unguided, best_of]")
    hours = gpu_hours([plan])
    assert hours is not None and hours.unrated == ("unguided", "best_of")
    soup, summed = 2 * 30 * (2 * 20 + 6 * 30), 2 * 30 * 6 * 50
    assert hours.least == pytest.approx((soup * 0.184 + summed * 0.191) / 3600)
    assert hours.most == pytest.approx((soup * 0.200 + summed * 0.313) / 3600)
    assert "Table 6" in str(hours) and "not known for unguided, best_of" in str(hours)
    assert gpu_hours([plan_of(tmp_path, name="hpd_sdxl")]) is None


def test_memory_is_that_of_table_5_if_it_has_the_case_and_else_not_known() -> None:
    assert "20.9 GB" in gpu_memory(config_of(SD15)) and "4.27 GB in float32" in gpu_memory(config_of(SD15))
    assert "24.6 GB" in gpu_memory(config_of("hpd_aesthetic_pickscore"))
    assert "18.4 GB" in gpu_memory(config_of(SD15, "queries=6"))
    for other in (config_of("hpd_three_rewards"), config_of("hpd_sdxl"), config_of(SD15, "queries=64")):
        assert gpu_memory(other).startswith("peak not known") and "Table 5" not in gpu_memory(other)
    assert "6.94 GB in float16" in gpu_memory(config_of("hpd_sdxl"))


def test_a_revision_or_model_that_is_in_no_table_has_no_size(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"model.revision='{FORTY}'")
    rows = dict(needs([plan]))
    assert "size not known" in rows["model download"] and "1 of a size not known" in rows["model download"]
    assert "weights alone" not in rows["GPU memory"]
    assert plan.config.model.name == PAPERS_MODEL


def test_a_file_counts_as_downloaded_exactly_if_the_rewards_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In SRSOUP_WEIGHTS, the hub's cache, the folder of files from GitHub, or a package: as `locate` reads it."""
    digest = hashlib.sha256(b"12345").hexdigest()
    cache = tmp_path / "hf" / "hub" / "models--a--b" / "snapshots" / FORTY / "w.pt"
    paths = {
        WeightFile("a/b", FORTY, "w.pt", digest): cache,
        WeightFile("a/c", FORTY, "w.pt", digest): tmp_path / "weights" / "a/c" / "w.pt",
        WeightFile("a/d", FORTY, "w.pt", digest, "github"): tmp_path / "hf" / "srsoup" / digest / "w.pt",
        WeightFile("srsoup_weights_e", "1.0", "w.pt", digest, "pypi"): tmp_path / "site" / "srsoup_weights_e" / "w.pt",
    }
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv(LOCAL_FOLDER, str(tmp_path / "weights"))
    reward = registry.create("brightness")
    for file, path in paths.items():
        monkeypatch.setattr(
            registry, "create", lambda name, file=file: type("R", (), {"info": _declaring(reward, file)})
        )
        assert reward_downloads(["x"]) == (Download(f"{file.repo} (w.pt)", None, False),)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"12345")
        # Python remembers that the folder of the package did not exist.
        importlib.invalidate_caches()
        assert reward_downloads(["x"]) == (Download(f"{file.repo} (w.pt)", 5, True),)
        assert locate(file) == path


def _declaring(reward: Reward, file: WeightFile) -> RewardInfo:
    return replace(reward.info, weights=(file,))


def test_a_model_counts_as_downloaded_once_all_of_its_parts_are(tmp_path: Path) -> None:
    config = config_of(SD15).model
    assert config.revision is not None
    snapshot = tmp_path / "hf" / "hub" / f"models--{config.name.replace('/', '--')}" / "snapshots" / config.revision
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    parts = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")
    for part in parts:
        assert not model_downloads(config)[0].here
        (snapshot / part).parent.mkdir()
        (snapshot / f"{part}.fp16.safetensors").write_bytes(b"")
        assert not model_downloads(config)[0].here
        (snapshot / f"{part}.safetensors").write_bytes(b"")
    assert model_downloads(config)[0].here


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "size not known"), (0, "0 bytes"), (999, "999 bytes"), (3_714_759, "3.7 MB"), (1_710_540_580, "1.71 GB")],
)
def test_sizes_as_text(size: int | None, text: str) -> None:
    assert size_text(size) == text


def test_hours_and_memory_are_forecast_from_what_was_measured_on_a_gpu(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "prompts.list=[snail]", "method=weighted_sum", "model.dtype=float16")
    (line,) = forecast_hours([plan])
    rate = next(rate for rate in rates() if rate.model == PAPERS_MODEL)
    hours = ((30 * 6 * 50 + 6) * rate.candidate_ms + 6 * 50 * rate.latent_ms) / 3.6e6
    assert line.startswith(f"{hours:,.2f} on one NVIDIA H200, without the rewards, at 17.4 ms a candidate in float16")
    needed = dict(needs([plan]))
    assert line in needed["GPU hours"] and "Table 6" in needed["GPU hours"]
    assert forecast_memory(plan.config)[0].startswith("21.4 GB for the model without rewards, 30 candidates at once")


@pytest.mark.parametrize("method", ["best_of", "[srsoup, fk_steering]"])
def test_a_method_with_passes_that_were_not_timed_has_no_forecast(tmp_path: Path, method: str) -> None:
    assert (
        forecast_hours(
            [
                plan_of(
                    tmp_path, "prompts.list=[snail]", f"method={method}", "model.dtype=float16", "guidance.noise=plain"
                )
            ]
        )
        == []
    )


@pytest.mark.parametrize("other", ["model.dtype=bfloat16", "model.height=768", "model.dtype=float32"])
def test_another_dtype_or_size_has_no_forecast(tmp_path: Path, other: str) -> None:
    plan = plan_of(tmp_path, "prompts.list=[snail]", "model.dtype=float16", other)
    assert forecast_hours([plan]) == [] and forecast_memory(plan.config) == []


def test_a_chunk_larger_than_any_that_was_measured_has_no_memory() -> None:
    assert forecast_memory(config_of(SD15, "model.dtype=float16", "compute.chunk=64", "queries=64")) == []
    assert "11.8 GB" in forecast_memory(config_of(SD15, "model.dtype=float16", "queries=12"))[0]


def test_each_measured_rate_is_of_a_model_that_check_knows() -> None:
    for rate in rates():
        assert rate.candidate_ms > 0 and rate.latent_ms > 0 and list(rate.peak_gb) == sorted(rate.peak_gb)
        assert any(name == rate.model for name, _ in MODELS)
