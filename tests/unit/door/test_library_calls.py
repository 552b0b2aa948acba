"""The arguments of `sample_front`: what is refused, names of rewards, soup steps, progress, the docstring's example."""

import doctest
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest
from diffusers import AutoPipelineForImage2Image

from configs.errors import RequestError
from diffusion.errors import ModelError
from rewards.registry import UnknownRewardError
from srsoup import sample_front
from tests.support.own_rewards import SMALL, warmth


def test_wrong_calls_name_key_and_fix(pipe: Any) -> None:
    def call(*rewards: Any, **changes: Any) -> None:
        sample_front(pipe, "a snail", list(rewards) or ["colorfulness", "compressibility"], **SMALL | changes)

    with pytest.raises(UnknownRewardError, match="did you mean 'colorfulness'"):
        call("colourfulness")
    with pytest.raises(RequestError, match=r"rewards\.guided.*named twice"):
        call(warmth, warmth)
    with pytest.raises(RequestError, match=r"(?s)rewards\.guided: <lambda> is named twice.*rewards=\{\"first\": "):
        call(lambda images, prompts: [0.0], lambda images, prompts: [1.0])
    with pytest.raises(RequestError, match=r"(?s)one reward.*key:     rewards\n.*write rewards=\['colorfulness'\]"):
        sample_front(pipe, "a snail", "colorfulness", **SMALL)
    with pytest.raises(RequestError, match=r"(?s)one reward.*key:     held_out\n.*write held_out=\[warmth\]"):
        call(held_out=warmth)
    with pytest.raises(RequestError, match="give a class, not an object of it"):
        call(object())
    with pytest.raises(RequestError, match="colorfulness has this name, and not colour"):
        sample_front(pipe, "a snail", {"colour": "colorfulness"}, **SMALL)
    wrong_prompt: Any = ["a snail", "an owl"]
    with pytest.raises(RequestError, match=r"(?s)key:     prompt\n.*once for each prompt, or use srsoup.run"):
        sample_front(pipe, wrong_prompt, ["colorfulness"], **SMALL)
    with pytest.raises(RequestError, match=r"soup\.steps \(K\) is 9"):
        call(soup_steps=9)
    with pytest.raises(RequestError, match=r"(?s)options\.model\.noise_level.*eta, guidance_scale, negative_prompt"):
        call(options={"model": {"noise_level": 0.5}})
    with pytest.raises(RequestError, match=r"options\.rewards"):
        call(options={"rewards": {"guided": ["sharpness"]}})
    with pytest.raises(ModelError, match=r"StableDiffusionImg2ImgPipeline.*StableDiffusionXLPipeline"):
        sample_front(AutoPipelineForImage2Image.from_pipe(pipe), "a snail", ["colorfulness"], **SMALL)
    with pytest.raises(ModelError, match="trained with 1000 timesteps"):
        call(steps=1000)


def test_a_mapping_names_functions_that_have_no_names(pipe: Any) -> None:
    rewards = {"red": lambda images, prompts: images[:, 0].double().mean((1, 2)),
               "blue": lambda images, prompts: images[:, 2].double().mean((1, 2))}  # fmt: skip
    found = sample_front(pipe, "a snail", rewards, held_out={"colorfulness": "colorfulness"}, **SMALL)
    assert found.rewards == ("red", "blue", "colorfulness")
    means = [np.array(image).astype(float).mean((0, 1))[[0, 2]] for image in found.images]
    np.testing.assert_allclose(found.scores[:, :2], means, rtol=1e-6)


def test_the_default_number_of_soup_steps_is_the_papers_share_of_the_steps(pipe: Any) -> None:
    def queries(**changes: Any) -> int:
        return sample_front(pipe, "a snail", [warmth, "compressibility"], **SMALL | changes).queries

    shared = [queries(steps=5, soup_steps=k) for k in range(4)]
    assert queries(steps=5, soup_steps=None) == shared[2] and len(set(shared)) == 4


def test_steps_are_shown_and_reported_in_the_thread_of_the_caller(pipe: Any, capfd: pytest.CaptureFixture[str]) -> None:
    seen, threads = [], set()

    def on_step(step: int, steps: int) -> None:
        seen.append((step, steps))
        threads.add(current_thread())

    rewards: list[Any] = [warmth, "compressibility"]
    shown = sample_front(pipe, "a snail", rewards, on_step=on_step, **SMALL)
    assert seen == [(1, 3), (2, 3), (3, 3)] and threads == {current_thread()}
    assert "3/3" in capfd.readouterr().err
    silent = sample_front(pipe, "a snail", rewards, progress=False, **SMALL)
    assert "3/3" not in capfd.readouterr().err
    assert np.array_equal(shown.scores, silent.scores)

    def ends(step: int, steps: int) -> None:
        seen.append((step, steps))
        raise StopIteration("enough")

    seen.clear()
    with pytest.raises(StopIteration, match="enough"):
        sample_front(pipe, "a snail", rewards, on_step=ends, **SMALL)
    assert seen == [(1, 3)]


@pytest.mark.parametrize(
    ("method", "options"), [("unguided", {}), ("best_of", {"best_of": {"samples": 5}, "compute": {"chunk": 2}})]
)
def test_methods_without_guidance_report_every_step_too(pipe: Any, method: str, options: dict[str, Any]) -> None:
    seen: list[tuple[int, int]] = []
    changes = {"method": method, "options": options, "on_step": lambda *step: seen.append(step)}
    sample_front(pipe, "a snail", [warmth, "compressibility"], **SMALL | changes)
    assert seen == [(step, len(seen)) for step in range(1, len(seen) + 1)] and len(seen) >= 3


def test_the_example_of_the_docstring_runs() -> None:
    (example,) = doctest.DocTestFinder().find(sample_front, "sample_front", globs={})
    assert len(example.examples) == 8
    results = doctest.DocTestRunner().run(example)
    assert results.attempted == 8 and not results.failed


def test_a_surrogate_of_a_call_is_checked(pipe: Any, tmp_path: Path) -> None:
    def call(*rewards: str, **section: Any) -> None:
        sample_front(
            pipe, "a snail", list(rewards), **{**SMALL, "method": "weighted_sum", "options": {"surrogate": section}}
        )

    both = ("colorfulness", "compressibility")
    with pytest.raises(RequestError, match=r"(?s)one front cannot train a surrogate.*options\.surrogate\.file"):
        call(*both, queries=2)
    with pytest.raises(RequestError, match="trained for colorfulness, compressibility, and not for sharpness"):
        call("colorfulness", "sharpness", file="colorfulness_compressibility")
    with pytest.raises(RequestError, match="No such file"):
        call(*both, file=str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"no surrogate")
    with pytest.raises(RequestError, match=r"bad\.safetensors"):
        call(*both, file=str(tmp_path / "bad.safetensors"))
