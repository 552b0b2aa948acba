"""Checks of the arguments of `sample_front` that a configuration does not make."""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.families import DDIM_KEYS, FLOW_KEYS, TWO_PASS_KEYS, Family
from pipeline.library.own_rewards import CALL

# Keys of a configuration that apply to one prompt and to a loaded pipeline.
_OPTIONS = ("best_of", "compute", "guidance", "lookahead", "model", "soup", "surrogate")
_SAMPLING = {"guidance_scale"}


def check_prompt(prompt: object) -> None:
    """Refuse what is not one text, such as a list of prompts.

    Raises:
        RequestError: it is not one text.
    """
    if not isinstance(prompt, str):
        raise RequestError(
            file=CALL, key="prompt", value=prompt, problem="this is not one text", allowed="one text",
            fix="call sample_front once for each prompt, or use srsoup.run for a list of prompts",
        )  # fmt: skip


def check_one_front(config: RunConfig) -> None:
    """Refuse what takes several fronts: weights that are re-spaced between them, and a surrogate to be trained.

    Raises:
        RequestError: the weights are re-spaced, or the surrogate has no file.
    """
    if config.surrogate is not None and config.surrogate.file is None:
        raise RequestError(
            file=CALL, key="options.surrogate.file", value=None, problem="one front cannot train a surrogate",
            allowed="the file of a trained surrogate, or its name", fix="train one with srsoup.run, and name its file",
        )  # fmt: skip
    if config.adaptive is not None:
        raise RequestError(
            file=CALL, key="weights", value={"adaptive": len(config.weights)}, allowed="rows, or a rule such as grid",
            problem="weights are re-spaced from front to front, and this is one",
            fix="give {'grid': 6}, or use srsoup.run",
        )  # fmt: skip


def check_options(pipe: Any, family: Family, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse keys that do not apply to one prompt and a loaded pipeline.

    Raises:
        RequestError: there is such a key.
    """
    sampling = sorted(_SAMPLING | ((DDIM_KEYS | FLOW_KEYS | TWO_PASS_KEYS) & family.keys))
    given: list[tuple[str, Any, Sequence[str]]] = [(key, value, _OPTIONS) for key, value in options.items()]
    given += [(f"model.{key}", value, sampling) for key, value in options.get("model", {}).items()]
    if not options.get("lookahead", {}).get("guidance", True) and not family.has_two_passes:
        raise RequestError(
            file=CALL, key="options.lookahead.guidance", value=False, allowed="pipelines with a negative prompt",
            problem=f"a {type(pipe).__name__} makes each prediction in one pass", fix="leave it out",
        )  # fmt: skip
    for key, value, allowed in given:
        if key.removeprefix("model.") not in allowed:
            raise RequestError(
                file=CALL, key=f"options.{key}", value=value, allowed=", ".join(allowed),
                problem=f"this key does not apply to one prompt and a loaded {type(pipe).__name__}",
                fix="leave it out, or give it as an argument of sample_front or of from_pretrained",
            )  # fmt: skip
