"""Models and towers at full size with random weights, on the CPU: `pytest -m full_size` (minutes, 12 GB of memory)."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.architectures import FULL
from configs.load import load_config
from pipeline.planning.gpu.estimate import PAPERS_MODEL, gpu_memory
from pipeline.planning.hub_sizes import MODELS
from pipeline.records import read_table
from rewards.base import checked_score
from rewards.clip_score import ClipScore
from rewards.hpsv2 import HPSv2
from rewards.networks.clip_cosine import ClipCosine
from rewards.networks.clip_encoder import clip_config
from tests.support.runs import DEMO, run_here
from tests.support.tiny_clip import pinned, vocabulary

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1200)]


def test_stable_diffusion_at_full_size_completes_a_run(tmp_path: Path) -> None:
    """860 million parameters: the memory is that of the weights which `check` forecasts, and of one pass."""
    folder = tmp_path / "model"
    FULL["sd15"].make(torch.device("cpu"), torch.float32).save_pretrained(folder)
    run = tmp_path / "run"
    run_here(
        run, f"model.name={folder}", "prompts.list=[a snail]", "steps=2", "soup.steps=1", "queries=2",
        "weights=[[0, 1], [1, 0]]", "model.height=256", "model.width=256", "method=srsoup",
        "rewards.held_out=[]", "report.reference_point=null",
    )  # fmt: skip
    samples, costs = (read_table(run, table).to_pandas() for table in ("samples", "costs"))
    assert list(samples.width) == list(samples.height) == [256, 256]
    (revision,) = [revision for name, revision in MODELS if name == PAPERS_MODEL]
    hub = [f"model.name={PAPERS_MODEL}", f"model.revision='{revision}'"]
    assert "4.27 GB in float32" in gpu_memory(load_config(DEMO, hub))
    peak = int(costs.peak_memory_bytes.iloc[0])
    print(f"peak {peak / 1e9:.2f} GB, weights 4.27 GB")
    assert 4.27e9 < peak < 12e9


@pytest.mark.parametrize(("reward", "millions"), [(ClipScore, 428), (HPSv2, 986)], ids=["ViT-L", "ViT-H"])
def test_a_tower_at_full_size_scores_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reward: type[ClipCosine], millions: int
) -> None:
    from transformers import CLIPModel

    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path))
    tokens = tmp_path / "full" / "tokens"
    tokens.mkdir(parents=True)
    known = [token for token in vocabulary() if not token.startswith("<|")]
    known += [f"filler{index}" for index in range(49406 - len(known))]
    numbers = {token: index for index, token in enumerate([*known, "<|startoftext|>", "<|endoftext|>"])}
    (tokens / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    (tokens / "merges.txt").write_text("#version: 0.2\na n\n", encoding="utf-8")
    (tokens / "weights.bin").write_bytes(b"random")
    shape = reward.checkpoint.shape
    torch.manual_seed(0)
    state = CLIPModel(clip_config(shape)).state_dict()
    assert sum(value.numel() for value in state.values()) / 1e6 == pytest.approx(millions, rel=0.01)
    files = [pinned(tmp_path, "full/tokens", name) for name in ("weights.bin", "vocab.json", "merges.txt")]
    checkpoint = replace(
        reward.checkpoint, weights=files[0], vocabulary=files[1], merges=files[2], read=lambda path: state
    )
    made = reward(checkpoint)
    made.setup("cpu")
    image = torch.randint(0, 256, (1, 3, 512, 768), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    score = checked_score(made, image, ["an owl"])
    assert -1 <= score.item() <= 1 and score.item() == checked_score(made, image, ["an owl"]).item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak {peak / 1e9:.2f} GB, weights {4 * millions / 1e3:.2f} GB")
    assert peak > 4e6 * millions
