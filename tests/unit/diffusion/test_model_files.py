"""What loading a model would find wrong is found by `check`, from headers, and is one message with status 2."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from actors.cluster import model_actors
from actors.workers import DiffusionWorker
from configs.errors import RequestError
from configs.load import load_config
from diffusion import loading
from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.weights import variant_of, weight_parts
from diffusion.checks.whole import is_downloaded
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.latent_diffusion import LatentDiffusion
from diffusion.source import Source
from pipeline.cli.commands import app
from pipeline.planning import model_check
from tests.support import tiny
from tests.support.planning.broken_models import (
    BROKEN,
    UNET,
    Break,
    in_variants,
    sharded,
    weights_of,
    with_bytes,
    with_config,
    with_weights,
    without_a_shard,
)

SAMPLING = Sampling(steps=3, guidance_scale=5.0)
EVERY_FAMILY = pytest.mark.parametrize("family", tiny.FAMILIES)
PARTS = weight_parts(FAMILIES["StableDiffusionPipeline"])


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


def write_config(path: Path, name: Path, **changes: Any) -> Path:
    config = {
        "name": "tiny", "steps": 4, "queries": 2, "soup": {"steps": 1}, "weights": {"grid": 3}, "method": "srsoup",
        "prompts": {"list": ["a fox"]}, "rewards": {"guided": ["colorfulness", "compressibility"]},
        "output": str(path.parent / "run"), "model": {"name": str(name)},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config | changes))
    return path


def invoke(command: str, config: Path) -> Any:
    return CliRunner().invoke(app, [command, str(config), *(["--local"] if command == "run" else [])])


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("actors.workers.load_model", load)


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(("family", "breaks", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_check_refuses_what_loading_would(
    folders: dict[str, Path], tmp_path: Path, family: str, breaks: Break, says: str
) -> None:
    shutil.copytree(folders[family], tmp_path / "model")
    breaks(tmp_path / "model")
    result = invoke("check", write_config(tmp_path / "tiny.yaml", tmp_path / "model"))
    assert result.exit_code == 2, result.output
    for part in ("file:", "key:", "value:", "allowed:", "fix:"):
        assert result.output.count(part) == 1, result.output
    assert says in result.output and "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["a file", "weights.safetensors"])
def test_a_checkpoint_that_is_one_file_is_refused_with_the_way_to_convert_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"abc")
    result = invoke("check", write_config(tmp_path / "tiny.yaml", tmp_path / name))
    assert result.exit_code == 2 and "from_single_file" in result.output


@EVERY_FAMILY
def test_a_whole_model_passes(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    assert invoke("check", write_config(tmp_path / "tiny.yaml", folders[family])).exit_code == 0


def load(folder: Path) -> LatentDiffusion:
    model = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(model, LatentDiffusion)
    return model


def assert_same_model(one: LatentDiffusion, other: LatentDiffusion) -> None:
    x = torch.randn(2, *one.latent_shape, generator=torch.Generator().manual_seed(0))
    texts = [model.encode("a fox", SAMPLING) for model in (one, other)]
    assert torch.equal(texts[0].embeds, texts[1].embeds)
    means = [model.reverse_step(x, 0, text).mean for model, text in zip((one, other), texts, strict=True)]
    assert torch.equal(means[0], means[1]) and torch.equal(one.decode(x), other.decode(x))


@EVERY_FAMILY
@pytest.mark.parametrize("parts", ["all", "the denoiser"])
def test_a_folder_with_fp16_weights_only_is_loaded(
    folders: dict[str, Path], tmp_path: Path, family: str, parts: str
) -> None:
    folder = shutil.copytree(folders[family], tmp_path / "model")
    pipeline = tiny.PIPELINES[family].__name__
    all_parts = weight_parts(FAMILIES[pipeline])
    in_variants(folder, dict.fromkeys(all_parts if parts == "all" else [FAMILIES[pipeline].denoiser], "fp16"))
    assert invoke("check", write_config(tmp_path / "tiny.yaml", folder)).exit_code == 0
    assert_same_model(load(folder), load(folders[family]))


def test_a_part_for_image_prompts_is_not_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    """The index names it, and the folder may lack it: only image prompts need it."""
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    with_config("model_index.json", image_encoder=["transformers", "CLIPVisionModelWithProjection"])(folder)
    assert invoke("check", write_config(tmp_path / "tiny.yaml", folder)).exit_code == 0
    assert_same_model(load(folder), load(folders["sd"]))


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_loaded(folders: dict[str, Path], tmp_path: Path, variant: str) -> None:
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    sharded(folder, variant=variant)
    assert invoke("check", write_config(tmp_path / "tiny.yaml", folder)).exit_code == 0
    assert_same_model(load(folder), load(folders["sd"]))


def test_the_older_names_of_a_vae_and_of_a_text_encoder_are_known(folders: dict[str, Path], tmp_path: Path) -> None:
    """The hub's SD 1.5 calls the VAE's attention query, key, value; transformers has moved the text model before."""
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in sorted(tensors):
            for new, old in older.items():
                if f"mid_block.attentions.0.{new}." in name:
                    tensors[name.replace(new, old)] = tensors.pop(name)

    def move(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if not name.startswith("text_model.")]:
            tensors[f"text_model.{name}"] = tensors.pop(name)
        tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        tensors["logit_scale"] = torch.ones(())

    with_weights("vae", rename)(folder)
    with_weights("text_encoder", move)(folder)
    assert "encoder.mid_block.attentions.0.query.weight" in load_file(weights_of(folder, "vae"))
    assert invoke("check", write_config(tmp_path / "tiny.yaml", folder)).exit_code == 0
    assert_same_model(load(folder), load(folders["sd"]))


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"], None),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.non_ema.safetensors"], "fp16"),
        (["diffusion_pytorch_model.non_ema.safetensors"], "non_ema"),
        (["diffusion_pytorch_model.safetensors.index.fp16.json"], "fp16"),
        (["diffusion_pytorch_model.safetensors.index.json"], None),
    ],
)
def test_the_variant_is_that_of_the_files(names: list[str], variant: str | None) -> None:
    assert variant_of("a model", {"unet": names}, {"unet": "diffusion_pytorch_model"}) == variant


def with_two_files_of_a_vocabulary(folder: Path) -> None:
    """As SD 1.5 has it; the metadata of the hub, which are its JSON files, has one of them only."""
    model = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(model["vocab"]))


@pytest.mark.parametrize(
    ("breaks", "whole"),
    [
        (lambda _: None, True), (sharded, True), (without_a_shard, False), (with_two_files_of_a_vocabulary, False),
        (lambda folder: weights_of(folder, "vae").unlink(), False),
        (lambda folder: in_variants(folder, dict.fromkeys(["unet", "vae", "text_encoder"], "fp16")), True),
        (lambda folder: in_variants(folder, {"unet": "fp16", "vae": "ema"}), False),
    ],
)  # fmt: skip
def test_a_hub_model_that_is_here_in_part_is_downloaded_and_not_refused(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Break, whole: bool
) -> None:
    folder, commit = shutil.copytree(folders["sd"], tmp_path / "model"), "a" * 40
    breaks(folder)
    monkeypatch.setattr(model_check, "metadata_folder", lambda *_: folder)
    config = load_config(write_config(tmp_path / "tiny.yaml", Path("some/model"),
                                      model={"name": "some/model", "revision": commit}))  # fmt: skip
    assert is_downloaded(folder) == whole
    assert model_check.checked_model(config, str, fetch=True) == (commit, "StableDiffusionPipeline", (16, 16))


@pytest.mark.parametrize(
    ("here", "on_hub", "variant"),
    [
        (True, None, None),
        (False, [f"{part}/{base}{end}.safetensors" for part, base in PARTS.items() for end in ("", ".fp16")], None),
        (False, [f"{part}/{base}.fp16.safetensors" for part, base in PARTS.items()], "fp16"),
    ],
)
def test_the_variant_to_download_is_that_of_the_hub(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool, on_hub: Any, variant: Any
) -> None:
    """The hub is not asked if plain weights are on this machine, and a variant that happens to be here is not taken."""
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    if not here:
        in_variants(folder, dict.fromkeys(PARTS, "fp16"))
    monkeypatch.setattr(loading, "metadata_folder", lambda _: folder)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *_, **__: [*on_hub])
    asked = dict[str, Any]()
    monkeypatch.setattr(tiny.PIPELINES["sd"], "download", lambda _, **options: asked.update(options) or folder)
    assert loading.download(Source("some/model", "a" * 40), tiny.PIPELINES["sd"]) == folder
    assert asked["variant"] == variant


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_one_error(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    in_variants(folder, dict.fromkeys(PARTS, "fp16"))
    monkeypatch.setattr(loading, "metadata_folder", lambda _: folder)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="the hub does not give some/model") as error:
        loading.download(Source("some/model", "a" * 40), tiny.PIPELINES["sd"])
    assert "give a local copy" in error.value.fix


def unloadable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """What no header shows: the library itself raises while it loads."""

    def from_pretrained(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(tiny.PIPELINES["sd"], "from_pretrained", from_pretrained)


@pytest.mark.parametrize(
    "error", [OSError("no such thing"), RuntimeError("size mismatch"), KeyError("x"), ValueError("")]
)
def test_what_only_loading_shows_is_one_message_with_status_2(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    unloadable(monkeypatch, error)
    result = invoke("run", write_config(tmp_path / "tiny.yaml", folders["sd"]))
    assert result.exit_code == 2, result.output
    assert f"cannot be loaded: {type(error).__name__}" in result.output and "key:     model.name\n" in result.output
    assert "Traceback" not in result.output


def test_a_model_actor_keeps_its_error_for_the_pool_which_does_not_restart_it(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fleet starts an actor again unless `node` raises a RequestError."""
    unloadable(monkeypatch, OSError("no such thing"))
    config = load_config(write_config(tmp_path / "tiny.yaml", folders["sd"]), [])
    actor = model_actors._DiffusionActor(config, 0)
    with pytest.raises(RequestError, match="cannot be loaded: OSError: no such thing"):
        actor.node()
    with pytest.raises(RequestError, match="there is no folder"):
        DiffusionWorker.from_config(
            config.model_copy(update={"model": config.model.model_copy(update={"name": "/x"})}), "cpu"
        )


def test_memory_that_runs_out_is_no_fault_of_the_model(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unloadable(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        load(folders["sd"])


def test_a_model_that_changes_between_two_checks_is_checked_again(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd"], tmp_path / "model")
    load(folder)
    with_bytes(UNET, lambda data: data[:-4])(folder)
    with pytest.raises(ModelError, match="cut short"):
        load(folder)
