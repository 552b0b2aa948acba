"""The CLIP rewards on tiny random models in the real layouts, against independent implementations on the same files."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPModel

from rewards import aesthetic, registry
from rewards.base import Reward, checked_score
from rewards.errors import RewardError, WeightsError
from rewards.networks.clip_encoder import KEPT_PROMPTS, VIT_H_14, VIT_L_14, ClipShape, clip_config, read_transformers
from rewards.networks.open_clip_layout import from_open_clip
from tests.support.pictures import nchw, pictures
from tests.support.tiny_clip import PROMPTS, SHAPE, OpenClip, Tiny, pinned

COSINES = ("clip_score", "pickscore", "hpsv2", "hpsv2.1")
REAL_HEAD = Path("/work/shared/data/aesthetic/sac+logos+ava1-l14-linearMSE.pth")


@pytest.fixture(scope="module")
def ready(tiny: Tiny) -> dict[str, Reward]:
    rewards = {name: make() for name, make in tiny.rewards.items()}
    for reward in rewards.values():
        reward.setup("cpu")
    return rewards


@pytest.mark.parametrize("name", COSINES)
def test_a_score_is_the_cosine_of_the_reference_processor_and_model(
    ready: dict[str, Reward], tiny: Tiny, name: str
) -> None:
    queries = [(picture, PROMPTS[i % len(PROMPTS)]) for i, picture in enumerate(pictures())]
    ours = [checked_score(ready[name], nchw([picture]), [prompt]).item() for picture, prompt in queries]
    expected = [tiny.cosine[name](picture, prompt) for picture, prompt in queries]
    assert max(expected) - min(expected) > 0.02, "the tiny model does not tell these pictures apart"
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", (*COSINES, "aesthetic"))
def test_one_image_and_seventeen_score_the_same(ready: dict[str, Reward], name: str) -> None:
    rng = np.random.default_rng(3)
    batch = nchw(rng.integers(0, 256, (17, 50, 61, 3), np.uint8))
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(17)]
    alone = torch.cat([checked_score(ready[name], batch[i : i + 1], [prompts[i]]) for i in range(17)])
    together = checked_score(ready[name], batch, prompts)
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def by_hand(features: np.ndarray, head: dict[str, Tensor]) -> np.ndarray:
    """The five matrix products, in float64 NumPy."""
    x = features.astype(np.float64)
    for layer in (0, 2, 4, 6, 7):
        weight, bias = (head[f"layers.{layer}.{kind}"].numpy().astype(np.float64) for kind in ("weight", "bias"))
        x = x @ weight.T + bias
    return x[:, 0]


@pytest.mark.skipif(not REAL_HEAD.is_file(), reason="LAION's head is not on this machine")
def test_the_head_of_laion_is_five_matrix_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / aesthetic.HEAD.repo / aesthetic.HEAD.name
    place.parent.mkdir(parents=True)
    shutil.copy(REAL_HEAD, place)
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path))
    features = np.random.default_rng(0).normal(size=(64, 768))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    ours = aesthetic.load_head(aesthetic.HEAD)(torch.from_numpy(features))[:, 0]
    expected = by_hand(features, torch.load(REAL_HEAD, map_location="cpu", weights_only=True))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-4)


def test_aesthetic_is_the_head_on_features_of_length_one(ready: dict[str, Reward], tiny: Tiny) -> None:
    head = torch.load(tiny.folder / "tiny" / "head" / "head.pth", weights_only=True)
    expected = by_hand(np.stack([tiny.image_features(picture).numpy() for picture in pictures()]), head)
    ours = [checked_score(ready["aesthetic"], nchw([picture]), [""]).item() for picture in pictures()]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_a_head_with_another_hash_is_refused(tiny: Tiny) -> None:
    wrong = replace(pinned(tiny.folder, "tiny/head", "head.pth"), sha256="0" * 64)
    with pytest.raises(WeightsError, match="SHA-256 is"):
        aesthetic.load_head(wrong)


@pytest.mark.parametrize("shape", [SHAPE, VIT_L_14, VIT_H_14], ids=["tiny", "ViT-L/14", "ViT-H/14"])
def test_every_tensor_of_open_clip_has_its_place(shape: ClipShape) -> None:
    """The names and shapes agree, also at the real sizes. No tensor is left over, and none is missing."""
    with torch.device("meta"):
        theirs = OpenClip(shape).state_dict()
        expected = CLIPModel(clip_config(shape)).state_dict()
    converted = from_open_clip(theirs)
    assert {key: value.shape for key, value in converted.items()} == {key: v.shape for key, v in expected.items()}
    assert sum(v.numel() for v in converted.values()) == sum(v.numel() for v in theirs.values())


@pytest.mark.parametrize(
    ("shape", "bytes_each", "published"),
    [(VIT_L_14, 4, 1_710_540_580), (VIT_H_14, 2, 1_972_484_501), (VIT_H_14, 2, 1_972_490_005)],
    ids=["openai", "hpsv2", "hpsv2.1"],
)
def test_the_published_files_have_room_for_these_tensors_and_no_more(
    shape: ClipShape, bytes_each: int, published: int
) -> None:
    """The sizes are those of the LFS records. The rest of each file is the names of its tensors."""
    with torch.device("meta"):
        size = bytes_each * sum(v.numel() for v in CLIPModel(clip_config(shape)).state_dict().values())
    assert 0 < published - size < 300_000


def test_the_declared_shapes_are_those_of_the_published_models() -> None:
    """The model cards count 428 M and 986 M parameters."""
    with torch.device("meta"):
        counts = [sum(p.numel() for p in CLIPModel(clip_config(s)).parameters()) for s in (VIT_L_14, VIT_H_14)]
    assert counts == [427_616_513, 986_109_441]


def test_an_unknown_tensor_is_refused_by_name() -> None:
    state = OpenClip(SHAPE).state_dict()
    state |= {"visual.attn_pool.q": torch.zeros(1), "transformer.resblocks.0.ln_3.weight": torch.zeros(1)}
    with pytest.raises(RewardError, match=r"transformer\.resblocks\.0\.ln_3\.weight, visual\.attn_pool\.q"):
        from_open_clip(state)


def test_a_missing_tensor_is_refused_by_name(tiny: Tiny) -> None:
    whole = torch.load(tiny.folder / "tiny" / "hps" / "hps.pt", weights_only=True)
    del whole["state_dict"]["visual.ln_post.bias"]
    (tiny.folder / "tiny" / "short").mkdir(exist_ok=True)
    torch.save(whole, tiny.folder / "tiny" / "short" / "hps.pt")
    reward = tiny.cosine_rewards["hpsv2"]()
    reward._checkpoint = replace(reward._checkpoint, weights=pinned(tiny.folder, "tiny/short", "hps.pt"))
    with pytest.raises(RewardError, match=r"vision_model\.post_layernorm\.bias"):
        reward.setup("cpu")


def test_positions_that_do_not_count_from_zero_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"text_model.embeddings.position_ids": torch.arange(1, 78)[None]}, tmp_path / "model.safetensors")
    with pytest.raises(RewardError, match="does not count from 0"):
        read_transformers(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", COSINES)
def test_an_instance_encodes_each_prompt_once(tiny: Tiny, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reward = tiny.cosine_rewards[name]()
    reward.setup("cpu")
    assert reward._encoder is not None
    text_model = reward._encoder._model.text_model
    forward, calls = text_model.forward, []

    def counted(**inputs: Any) -> Any:
        calls.append(inputs)
        return forward(**inputs)

    monkeypatch.setattr(text_model, "forward", counted)
    image = torch.zeros(1, 3, 42, 42, dtype=torch.uint8)
    for _ in range(3):
        checked_score(reward, image.expand(5, -1, -1, -1), ["an owl", "a fox", "an owl", "an owl", "a fox"])
    assert len(calls) == 2
    assert reward._encoder.text.cache_info().maxsize == KEPT_PROMPTS


@pytest.mark.parametrize("name", (*COSINES, "aesthetic"))
def test_a_reward_that_is_not_set_up_says_so(name: str) -> None:
    with pytest.raises(RewardError, match=r"call setup\(\) first"):
        checked_score(registry.create(name), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [""])
