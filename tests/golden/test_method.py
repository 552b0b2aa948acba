"""Recorded noises and latents of the method: a seed gives the same images in every version, unless a change is meant.

The denoiser and the rewards are plain arithmetic (`tests.support.fakes`), because the last bits of the embedded model
differ between processors and these differences grow along a trajectory. To record `method.json` again, run
`python -m tests.golden.test_method` in the root of the project.
"""

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.guidance.noise import initial_noise, step_noise
from pipeline.guidance.runner import Guidance
from pipeline.guidance.shaping import Shaping
from tests.support.fakes import SHAPE, Run

GOLDEN = Path(__file__).parent / "method.json"
TOLERANCE = 1e-4
W = np.array([[0.0, 1.0], [0.4, 0.6], [1.0, 0.0]])
CASES = {
    "soup, renormalised": Guidance(6, 2),
    "soup, mean-shift, gradient, min-max": Guidance(6, 2, "gradient", "mean-shift", shaping=Shaping("min-max")),
    "soup, none, antithetic, elite": Guidance(
        6, 4, correction="none", noise="antithetic", shaping=Shaping("std", (0.5, 0.5))
    ),
    "weighted sum": Guidance(6, 0),
    "unguided first": Guidance(6, 2, first="unguided"),
}


def record() -> dict[str, Any]:
    values = {name: Run(W, guidance, [0.6, 0.5, 0.3, 0.1]).x.flatten(1)[:, :5] for name, guidance in CASES.items()}
    values["x_T"] = initial_noise(7, SHAPE).flatten()[:6]
    values["z of step 3, antithetic"] = step_noise(7, 3, 4, SHAPE, "antithetic").flatten(1)[:, :3]
    return {
        "platform": f"{platform.machine()}, torch {torch.__version__}",
        "tolerance": TOLERANCE,
        "values": {name: [round(float(v), 6) for v in value.flatten()] for name, value in values.items()},
    }


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text(encoding="utf-8"))["values"] if GOLDEN.exists() else [])
def test_values_equal_the_recorded_ones(name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    np.testing.assert_allclose(record()["values"][name], golden["values"][name], atol=golden["tolerance"], rtol=0)


def test_every_case_is_recorded() -> None:
    assert json.loads(GOLDEN.read_text(encoding="utf-8"))["values"].keys() == record()["values"].keys()


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
