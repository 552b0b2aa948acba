"""A reward from a file outside the repository guides a run on Ray, and missing weights stop a run before it starts."""

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.records import read_table
from tests.support.runs import ROOT, command

# The plugin removes its own file when it is loaded, so the actors can only get its source from the driver.
SOURCE = """
import os, pathlib

here = pathlib.Path({path!r})
here.unlink(missing_ok=True)


def redness(images, prompts):
    "The redder, the higher."
    with open({log!r}, "a") as log:
        print(os.getpid(), file=log)
    red, green, blue = images.double().mean((2, 3)).T
    return red - (green + blue) / 2


REWARDS = {{"redness": redness}}
"""


def run(
    output: Path, *arguments: str, head: dict[str, str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    small = ["steps=6", "queries=8", "soup.steps=2", "prompts.list=[an owl]",
             "weights=[[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]", "compute.diffusion_actors=1",
             "compute.device=cpu"]  # fmt: skip
    whole = command(output, *small, *arguments)
    whole_environment = (head or dict(os.environ)) | environment
    return subprocess.run(whole, cwd=ROOT, env=whole_environment, capture_output=True, text=True, timeout=200)


@pytest.mark.ray
@pytest.mark.slow
def test_a_plugin_outside_the_repository_guides_a_run_on_ray(tmp_path: Path, head: dict[str, str]) -> None:
    plugin, log = tmp_path / "elsewhere" / "my_rewards.py", tmp_path / "scored"
    plugin.parent.mkdir()
    source = SOURCE.format(path=str(plugin), log=str(log))
    bits = []
    for name, flags in (("ray", []), ("local", ["--local"])):
        plugin.write_text(source)
        arguments = ["rewards.guided=[redness, compressibility]", "--plugin", str(plugin), *flags]
        done = run(tmp_path / name, *arguments, head=head)
        assert done.returncode == 0, done.stderr
        assert not plugin.exists()
        bits.append(tuple(read_table(tmp_path / name, table) for table in ("samples", "scores", "steps")))
    assert all(one.equals(other) for one, other in zip(*bits, strict=True))
    assert len(set(log.read_text().split())) == 2, "the actor on Ray is another process than the local run"

    samples, scores = (table.to_pandas() for table in bits[0][:2])
    scores = scores[scores.reward == "redness"].set_index(["key", "weight_index"]).value
    for row in samples.itertuples():
        pixels = np.asarray(Image.open(io.BytesIO(row.image["bytes"]))).astype(float)
        assert scores[row.key, row.weight_index] == pytest.approx((pixels @ [1, -0.5, -0.5]).mean(), abs=1e-4)
    guided = samples[samples.method == "srsoup"].key.iloc[0]
    # The first row of weights has only the second reward, and the last row only the first.
    assert scores[guided, 2] > scores[guided, 0]

    plugin.write_text(source + "\n# changed")
    changed = run(tmp_path / "ray", "rewards.guided=[redness, compressibility]", "--plugin", str(plugin))
    assert changed.returncode == 2 and "key:     plugins" in changed.stderr


# A reward that ends its process, and one whose error no file can hold as it is; all other prompts are fine.
WRONG = """
import sys


def strange(images, prompts):
    if "fox" in prompts[0]:
        sys.exit(0)
    if "bee" in prompts[0]:
        raise ValueError("no \\ud800 word")
    return images.double().mean((1, 2, 3))


REWARDS = {"strange": strange}
"""


@pytest.mark.ray
@pytest.mark.slow
def test_an_exit_and_an_error_of_half_a_surrogate_pair_lose_their_prompts_alone_on_ray(
    tmp_path: Path, head: dict[str, str]
) -> None:
    (tmp_path / "p.py").write_text(WRONG)
    arguments = ["rewards.guided=[strange, compressibility]", "rewards.held_out=[]", "method=srsoup"]
    arguments += ["prompts.list=[fox, owl, bee, cat]", "--plugin", str(tmp_path / "p.py")]
    done = run(tmp_path / "run", *arguments, head=head)
    assert done.returncode == 1 and "2 of 4 fronts" in done.stdout and "Traceback" not in done.stderr, done.stderr
    assert set(read_table(tmp_path / "run", "costs")["prompt"].to_pylist()) == {"owl", "cat"}
    failed = {row["prompt"]: row for row in read_table(tmp_path / "run", "failures").to_pylist()}
    assert failed.keys() == {"fox", "bee"} and min(row["attempts"] for row in failed.values()) >= 3
    assert (failed["fox"]["error_class"], failed["bee"]["error_class"]) == ("RewardError", "ValueError")
    assert "strange ended with SystemExit: 0" in failed["fox"]["message"]
    assert r"no \ud800 word (reward strange, candidate 0 of its chunk, tried 3 times" in failed["bee"]["message"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--local"]], ids=["ray", "local"])
def test_missing_weights_are_named_and_nothing_is_started(tmp_path: Path, flags: list[str]) -> None:
    done = run(tmp_path / "run", "rewards.held_out=[clip_score]", *flags, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 2, done.stderr
    assert "model.safetensors of openai/clip-vit-large-patch14" in done.stderr
    assert "hf download openai/clip-vit-large-patch14 model.safetensors --revision" in done.stderr
    assert "Traceback" not in done.stderr
