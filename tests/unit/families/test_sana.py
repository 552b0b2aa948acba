"""What is Sana's own: a flow that a DPM solver describes, cut timesteps, an instruction, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from diffusion.base import Loading, Sampling, load_model
from diffusion.checks.dimensions import check_denoiser
from diffusion.checks.schedulers import check_scheduler
from diffusion.errors import ModelError
from diffusion.families import FAMILIES
from diffusion.kernels import FlowSDE
from diffusion.pipelines.sana import Sana
from diffusion.source import Source
from tests.support import tiny

SOLVER = {"_class_name": "DPMSolverMultistepScheduler", **tiny.SOLVER}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model("sana", tmp_path_factory.mktemp("sana"))


@pytest.mark.parametrize("steps", [1, 5, 20, 50])
def test_the_shares_of_the_solver_are_those_of_its_equation(steps: int) -> None:
    """The shares .999 to 0 in even steps, shifted: s -> 3 s / (1 + 2 s)."""
    shares = np.linspace(0.999, 0, steps + 1)
    flow = FlowSDE.from_scheduler(SOLVER, steps, 0.7, 1024)
    np.testing.assert_allclose(flow.sigmas, 3 * shares / (1 + 2 * shares), atol=1e-6)
    solver = DPMSolverMultistepScheduler.from_config(SOLVER)
    solver.set_timesteps(steps)
    assert [int(t) for t in flow.timesteps] == solver.timesteps.tolist()


@pytest.mark.parametrize("steps", [4, 20, 50, 500])
def test_the_first_step_of_a_flow_that_starts_below_1_keeps_the_variance(steps: int) -> None:
    """x0 and noise of variance 1 have (1 - s)^2 + s^2 at the share s, whose velocity is known in closed form."""
    flow = FlowSDE.from_scheduler(SOLVER, steps, 0.7, 1024)
    s, later = flow.sigmas[:2]
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    velocity = (s - (1 - s)) / ((1 - s) ** 2 + s**2) * x
    found = float(flow.mean(x, velocity, 0)) ** 2 * ((1 - s) ** 2 + s**2) + flow.sigma(0) ** 2
    assert found == pytest.approx((1 - later) ** 2 + later**2, rel=0.25)


def test_a_prompt_is_read_behind_the_instruction_and_the_negative_prompt_is_not(folder: Path) -> None:
    model = load_model(Source(str(folder)), Loading(), "cpu")
    assert isinstance(model, Sana)
    own = model._pipe.encode_prompt("a fox", negative_prompt="a fox", complex_human_instruction=None)
    text = model.encode("a fox", Sampling(5, 4.5, negative_prompt="a fox"))
    assert text.embeds.shape == (2, 300, 24) and torch.equal(text.embeds[:1], own[2])
    assert not torch.allclose(text.embeds[1:, :4], own[0][:, :4], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_flow_sigmas": False}, "use_flow_sigmas"),
        ({"prediction_type": "epsilon"}, "prediction_type"),
        ({"flow_shift": 0}, "flow_shift"),
        ({"final_sigmas_type": "sigma_min"}, "final_sigmas_type"),
        ({"use_dynamic_shifting": True}, "use_dynamic_shifting"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas beside use_flow_sigmas"),
        ({"_class_name": "UniPCMultistepScheduler"}, "belongs to no flow"),
    ],
)
def test_a_solver_of_something_else_is_refused(changes: dict[str, Any], message: str) -> None:
    check_scheduler("sana", "SanaPipeline", SOLVER, 20)
    with pytest.raises(ModelError, match=message):
        check_scheduler("sana", "SanaPipeline", SOLVER | changes, 20)


def test_another_flow_has_no_solver() -> None:
    with pytest.raises(ModelError, match="belongs to no flow"):
        check_scheduler("sd3", "StableDiffusion3Pipeline", SOLVER, 20)


def test_a_transformer_that_was_distilled_for_guidance_is_refused() -> None:
    config = {"in_channels": 4, "out_channels": 4, "sample_size": 8}
    vae = {"latent_channels": 4, "scaling_factor": 0.4}
    check_denoiser("sana", FAMILIES["SanaPipeline"], config | {"guidance_embeds": False}, vae)
    with pytest.raises(ModelError, match="distilled for guidance"):
        check_denoiser("sana", FAMILIES["SanaPipeline"], config | {"guidance_embeds": True}, vae)
