"""Parity with authors' packages: the reference images, the comparison, and a real peer on a tiny CLIP."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from typer.testing import CliRunner

import srsoup
from rewards import registry
from rewards.base import RewardInfo
from rewards.errors import RewardError
from rewards.parity import peers
from rewards.parity.compare import lines_of, parity
from rewards.parity.peers import PEERS, Peer
from rewards.parity.references import references
from tests.support.tiny_clip import PIXELS, make_tiny, transformers_model

SHA256 = "ca4400331e16d5bda2b82a682811647078ae6de2b46af91a97ea4964855c05e1"


def test_the_reference_images_are_the_same_bytes_everywhere() -> None:
    images = references()
    assert len(images) == 10 == len({image.name for image in images})
    digest = hashlib.sha256()
    for image in images:
        assert image.pixels.dtype == np.uint8 and image.pixels.shape[0] == 3
        digest.update(repr((image.name, image.pixels.shape, image.prompt)).encode())
        digest.update(np.ascontiguousarray(image.pixels).tobytes())
    assert digest.hexdigest() == SHA256


def test_every_learned_reward_with_a_package_of_its_authors_has_a_peer() -> None:
    learned = {name for name in registry.names() if name != "vlm_judge" and registry.create(name).info.weights}
    assert learned - {"imagenet_confidence"} == set(PEERS)


class Mean:
    """A reward that is the mean of an image."""

    info = RewardInfo(
        name="mean", description="the brighter, the higher", unit="", range=(0.0, 255.0), reads_prompt=False,
        differentiable=True, batch_sensitive=False, source="a test",
    )  # fmt: skip

    def setup(self, device: str) -> None: ...

    def score(self, images: torch.Tensor, prompts: Any) -> torch.Tensor:
        return images.double().mean((1, 2, 3))

    def close(self) -> None: ...


@pytest.fixture
def mean(monkeypatch: pytest.MonkeyPatch) -> None:
    create = registry.create
    monkeypatch.setattr(registry, "create", lambda name: Mean() if name == "mean" else create(name))


def peer_that_adds(more: float) -> Peer:
    def score(images: Any, prompts: Any) -> list[float]:
        return [float(np.asarray(image, dtype=np.float64).mean()) + more for image in images]

    return Peer("numpy", lambda: score, 1e-3)


@pytest.mark.usefixtures("mean")
@pytest.mark.parametrize(("more", "agrees"), [(0.0, True), (5e-4, True), (0.01, False)])
def test_a_difference_beyond_rounding_is_told(monkeypatch: pytest.MonkeyPatch, more: float, agrees: bool) -> None:
    monkeypatch.setattr("rewards.parity.compare.PEERS", {"mean": peer_that_adds(more)})
    found = parity("mean", "cpu")
    assert found.agrees == agrees and found.largest == pytest.approx(more, abs=1e-5)
    lines = lines_of(found)
    assert len(lines) == 2 + 10 + 2 and all(len(line) <= 80 for line in lines)
    assert ("MORE THAN" in lines[-2]) == (not agrees)
    assert lines[-1] == f"| `mean` | numpy {np.__version__} | {found.largest:.1e} |"
    monkeypatch.setattr("pipeline.library.score_files._created", lambda name: None)
    assert CliRunner().invoke(srsoup._app(), ["rewards", "--parity", "mean"]).exit_code == (0 if agrees else 1)


@pytest.mark.usefixtures("mean")
def test_a_package_that_fails_or_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Any:
        raise OSError("no network")

    monkeypatch.setattr("rewards.parity.compare.PEERS", {"mean": Peer("numpy", load, 1e-3)})
    with pytest.raises(RewardError, match="does not score the reference images: OSError: no network"):
        parity("mean", "cpu")
    monkeypatch.setattr("rewards.parity.compare.PEERS", {"mean": Peer("no-such-package", load, 1e-3)})
    found = parity("mean", "cpu")
    assert found.theirs is None and found.agrees and lines_of(found)[-1].endswith("pip install no-such-package")


def test_a_reward_without_weights_here_is_one_message() -> None:
    result = CliRunner().invoke(srsoup._app(), ["rewards", "--parity", "none_such"])
    assert result.exit_code == 2 and "there is no reward of this name" in result.output


def test_the_peer_of_clip_score_and_pickscore_agrees_on_a_tiny_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model and the processor of transformers, on the ten images, beside the reward with the same weights."""
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path / "weights"))
    tiny = make_tiny(tmp_path / "weights")
    transformers_model("quick_gelu", 0).save_pretrained(tmp_path / "model")
    CLIPTokenizer.from_pretrained(tmp_path / "weights" / "tiny" / "tokens", model_max_length=77).save_pretrained(
        tmp_path / "model"
    )
    CLIPImageProcessorPil(
        size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}
    ).save_pretrained(tmp_path / "model")
    theirs = peers.transformers_cosine(str(tmp_path / "model"), str(tmp_path / "model"))
    images = references()
    expected = theirs(
        [Image.fromarray(image.pixels.transpose(1, 2, 0).copy()) for image in images],
        [image.prompt for image in images],
    )
    reward = tiny.cosine_rewards["clip_score"]()
    reward.setup("cpu")
    ours = [reward.score(torch.from_numpy(image.pixels.copy())[None], [image.prompt]).item() for image in images]
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.ptp(expected) > 0.05


def test_the_other_packages_are_called_as_their_authors_document(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    fake_hps, fake_reward = ModuleType("hpsv2"), ModuleType("ImageReward")

    def hps_score(image: Image.Image, prompt: str, hps_version: str) -> list[float]:
        calls.append((image.size, prompt, hps_version))
        return [0.25]

    class Model:
        def score(self, prompt: str, image: Image.Image) -> float:
            calls.append((prompt, image.size))
            return 1.5

    def load(name: str, device: str) -> Model:
        calls.append((name, device))
        return Model()

    fake_hps.score, fake_reward.load = hps_score, load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hpsv2", fake_hps)
    monkeypatch.setitem(sys.modules, "ImageReward", fake_reward)
    image = Image.new("RGB", (4, 3))
    assert PEERS["hpsv2.1"].load()([image], ["a"]) == [0.25] and PEERS["image_reward"].load()([image], ["b"]) == [1.5]
    assert calls == [((4, 3), "a", "v2.1"), ("ImageReward-v1.0", "cpu"), ("b", (4, 3))]
