"""docs/migrating.md: each configuration of the released code has a file here that makes the same choices.

The values are copied from the released files (EvaFlower/Sample-Reward-Soups-ICLR26 at commit 4b2242e) by hand.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from configs.load import load_config
from configs.packaged import config_file, packaged_configs
from pipeline.planning.cost import expected_cost
from pipeline.planning.plan import make_plan

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
ONE_PROMPT = "prompts.list=[snail]"
SD15, SDXL, SD35 = "stable-diffusion-v1-5", "stable-diffusion-xl-base-1.0", "stable-diffusion-3.5-medium"
NAMES = {"aes": "aesthetic", "hps": "hpsv2", "pick": "pickscore", "compress": "compressibility"}


class Released(NamedTuple):
    """func_1..., query_size, soup_start_step, soup_end_step, divert_start_step, mixed_precision, the model's name."""

    rewards: str
    query_size: int = 30
    soup: tuple[int, int] = (0, 20)
    divert: int = 0
    precision: str = "no"
    model: str = SD15


SRSOUP, WS, XL, SD3 = (f"guide_{name}.py" for name in ("srsoup_sd-v1-5", "ws_sd-v1-5", "srsoup_sdxl", "srsoup_sd3"))
# SDXL's script computes in float16 and with 30 candidates, whatever its configuration says.
RELEASED = {
    f"{SRSOUP}:aes_hps": Released("aes hps"),
    f"{SRSOUP}:aes_pick": Released("aes pick"),
    f"{SRSOUP}:aes_compress": Released("aes compress"),
    f"{SRSOUP}:aes_hps_pick": Released("aes hps pick", soup=(0, 0)),
    f"{WS}:aes_hps": Released("aes hps", soup=(0, 0), divert=40, precision="fp16"),
    f"{WS}:aes_pick": Released("aes pick", 16, (0, 0), precision="fp16"),
    f"{WS}:aes_compress": Released("aes compress", soup=(0, 0)),
    f"{XL}:aes_hps": Released("aes hps", precision="fp16", model=SDXL),
    f"{XL}:aes_pick": Released("aes pick", soup=(0, 0), precision="fp16", model=SDXL),
    f"{SD3}:aes_hps": Released("aes hps", soup=(0, 10), precision="fp16", model=SD35),
    f"{SD3}:aes_pick": Released("aes pick", soup=(20, 50), model=SD35),
}


def ours() -> dict[str, str]:
    return dict(re.findall(r"^\| `(guide_\w[\w.-]+:\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE))


def test_every_released_configuration_has_one_of_ours() -> None:
    assert set(ours()) == set(RELEASED) and set(ours().values()) <= set(packaged_configs())
    files = {path.stem for path in (ROOT / "configs" / "released").glob("*.yaml")}
    assert files <= set(ours().values()) and all(name.startswith("released_") for name in files)


@pytest.mark.parametrize("name", RELEASED)
def test_it_makes_the_choices_of_the_released_file(name: str) -> None:
    released, is_weighted_sum = RELEASED[name], name.startswith(WS)
    config = load_config(config_file(ours()[name]), [ONE_PROMPT])
    first, end = released.soup
    assert config.rewards.guided == tuple(NAMES[short] for short in released.rewards.split())
    assert (config.steps, config.queries, config.model.guidance_scale) == (50, released.query_size, 5.0)
    assert config.model.dtype == {"no": "float32", "fp16": "float16"}[released.precision]
    assert config.model.name.endswith(released.model) and (config.model.height, config.model.width) == (None, None)
    if released.divert:
        assert config.methods == ("unguided_first",) and config.soup.steps == released.divert
    elif is_weighted_sum:
        assert config.methods == ("weighted_sum",)
    else:
        assert "srsoup" in config.methods and (config.soup.first, config.soup.steps) == (first, end - first)
    assert len(config.weights) == (13 if len(config.rewards.guided) == 3 else 6)
    assert config.model.noise_level == (0.8 if released.model == SD35 else None)
    assert (config.model.vae is not None) == (released.model == SDXL)
    animals = "compress" in released.rewards
    assert config.guidance.noise == ("antithetic" if animals else "plain")
    shaped = animals and not is_weighted_sum
    assert config.guidance.satisfied_above == ({"compressibility": -15} if shaped else {})
    assert bool(config.guidance.elite_fraction) == shaped


def test_the_queries_of_the_released_weighted_sum_without_those_that_change_nothing(tmp_path: Path) -> None:
    """The code asks both rewards around all six rows. The two one-hot rows need one reward each."""
    overrides = [ONE_PROMPT, f"output={tmp_path / 'run'}"]
    task: Any = make_plan(load_config(config_file("released_ws_aes_compress"), overrides), str).tasks[0]
    released, rows, rewards, n, steps = 18_000, 6, 2, 30, 50
    assert rows * rewards * n * steps == released
    assert expected_cost(task, steps).queries == released - 2 * n * steps == 15_000
