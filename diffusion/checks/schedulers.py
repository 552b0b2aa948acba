"""Checks of the scheduler that a model comes with, from its configuration alone. Imports no torch."""

from collections.abc import Callable, Mapping
from typing import Any

from diffusion.checks.json_file import is_number
from diffusion.errors import ModelError
from diffusion.families import FAMILIES

PREDICTIONS = ("epsilon", "v_prediction", "sample")
SPACINGS = ("leading", "trailing", "linspace")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
MOST_TIMESTEPS = 100_000
# The classes of diffusers whose spacing is `linspace` if the configuration names none; that of all others is `leading`.
LINSPACE_CLASSES = frozenset({
    "DEISMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    "SASolverScheduler", "UniPCMultistepScheduler",
})  # fmt: skip
# The classes of diffusers for models that were distilled to few steps, which choose from timesteps of the training.
DISTILLED_CLASSES = frozenset({"LCMScheduler", "TCDScheduler"})
# Sampling starts from pure noise, so it must start at one of the last trained timesteps.
_FIRST = 0.75


def check_scheduler(folder: str, pipeline: str, config: Mapping[str, Any], steps: int) -> None:
    """Check that a scheduler belongs to the family's process and was trained with enough timesteps.

    Args:
        folder: folder of the model, for messages.
        pipeline: pipeline class of the model.
        config: configuration of the scheduler, with its class as `_class_name`.
        steps: T, the number of denoising steps.

    Raises:
        ModelError: the scheduler cannot be used.
    """

    def refused(problem: str, allowed: str) -> ModelError:
        return ModelError(
            f"the scheduler of {folder}, a {str(config.get('_class_name'))[:100]}, {problem}",
            allowed,
            "give the model the scheduler that it was trained with",
        )

    if not isinstance(config.get("_class_name"), str):
        raise refused("has no class", "a configuration with the name of its class as _class_name")
    family = FAMILIES[pipeline]
    if family.is_flow:
        name = str(config.get("_class_name"))
        if not name.startswith(family.schedulers):
            allowed = "a FlowMatch scheduler" + ", or a DPM solver of a flow" * (len(family.schedulers) > 1)
            raise refused(f"belongs to no flow, but {pipeline} samples a flow", allowed)
        if not name.startswith("FlowMatch"):
            _check_solver(config, refused)
            return
        for key in ("invert_sigmas", "stochastic_sampling"):
            if config.get(key):
                raise refused(f"has {key}", f"a FlowMatch scheduler without {key}")
        _check_values(config, _FLOW_VALUES, refused)
        if config.get("use_dynamic_shifting"):
            _check_values(config, _SHIFTING_VALUES, refused)
            if config.get("base_image_seq_len", 256) >= config.get("max_image_seq_len", 4096):
                raise refused("has a base_image_seq_len that is not below its max_image_seq_len", "256 and 4096")
        return
    if ("beta_start" not in config and config.get("trained_betas") is None) or config.get("use_flow_sigmas"):
        raise refused("has no betas", "a scheduler with betas, such as DDIM, PNDM, Euler, DPM-Solver")
    for key, values in (("prediction_type", PREDICTIONS), ("timestep_spacing", SPACINGS)):
        if config.get(key, values[0]) not in values:
            raise refused(f"has the {key} {config[key]!r}", ", ".join(values))
    if config.get("trained_betas") is None and config.get("beta_schedule", "linear") not in BETA_SCHEDULES:
        raise refused(f"has the beta_schedule {config['beta_schedule']!r}", ", ".join(BETA_SCHEDULES))
    _check_values(config, _DIFFUSION_VALUES, refused)
    most = config.get("num_train_timesteps", 1000)
    if config.get("_class_name") in DISTILLED_CLASSES and not 1 <= config.get("original_inference_steps", 50) <= most:
        raise refused(f"has the original_inference_steps {config['original_inference_steps']}", f"1..{most}")
    if len(config.get("trained_betas") or ()) not in (0, config.get("num_train_timesteps", 1000)):
        raise refused(f"has {len(config['trained_betas'])} trained_betas", "one for each of its num_train_timesteps")
    if config.get("thresholding"):
        raise refused("has thresholding, which is meant for pixels and not for latents", "thresholding: false")
    if config.get("rescale_betas_zero_snr") and config.get("prediction_type", "epsilon") == "epsilon":
        raise refused(
            "ends without signal, so a prediction of the noise gives no x0", "v_prediction or sample with zero SNR"
        )
    _check_steps(config, steps)


def _is_beta(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


def _is_whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= MOST_TIMESTEPS


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _are_betas(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_beta, value)))


_Values = dict[str, tuple[Callable[[Any], bool], str]]
_COUNT = (lambda value: _is_whole(value, 1), f"a whole number, 1..{MOST_TIMESTEPS}")
_FLAG = (_is_flag, "true or false")
# Key -> whether a value is allowed, and what is. Keys that are missing have the defaults of the class.
_DIFFUSION_VALUES: _Values = {
    "num_train_timesteps": _COUNT,
    "original_inference_steps": _COUNT,
    "steps_offset": (_is_whole, f"a whole number, 0..{MOST_TIMESTEPS}"),
    "beta_start": (_is_beta, "a number from 0 to 1"),
    "beta_end": (_is_beta, "a number from 0 to 1"),
    "trained_betas": (_are_betas, "null, or a list of numbers from 0 to 1"),
    "set_alpha_to_one": _FLAG,
    "rescale_betas_zero_snr": _FLAG,
}
_FLOW_VALUES: _Values = {
    "num_train_timesteps": _COUNT,
    "shift": (lambda value: is_number(value) and value > 0, "a positive number"),
    "shift_terminal": (lambda value: value is None or (is_number(value) and 0 < value < 1), "null, or from 0 to 1"),
    "use_dynamic_shifting": _FLAG,
    "use_karras_sigmas": _FLAG,
    "use_exponential_sigmas": _FLAG,
    "use_beta_sigmas": _FLAG,
}
_SOLVER_VALUES: _Values = {
    "num_train_timesteps": _COUNT,
    "flow_shift": (lambda value: is_number(value) and value > 0, "a positive number"),
    "use_flow_sigmas": (lambda value: value is True, "true, because the model samples a flow"),
    "prediction_type": (lambda value: value == "flow_prediction", "flow_prediction"),
    "final_sigmas_type": (lambda value: value == "zero", "zero, because the images are clean"),
    "use_dynamic_shifting": (lambda value: not value, "false, because the solver's pipeline gives no shift"),
}
_SHIFTING_VALUES: _Values = {
    **{key: (lambda value: is_number(value) and value > 0, "a positive number") for key in ("base_shift", "max_shift")},
    **dict.fromkeys(("base_image_seq_len", "max_image_seq_len"), _COUNT),
    "time_shift_type": (lambda value: value in ("exponential", "linear"), "exponential or linear"),
}


def _check_solver(config: Mapping[str, Any], refused: Callable[[str, str], ModelError]) -> None:
    """Check a DPM solver of a flow. Two keys must be there, because their defaults belong to another process."""
    _check_values({"use_flow_sigmas": False, "prediction_type": "epsilon"} | dict(config), _SOLVER_VALUES, refused)
    # The solver would take one of these in the place of the shares of a flow.
    for key in ("use_karras_sigmas", "use_lu_lambdas", "use_exponential_sigmas", "use_beta_sigmas"):
        if config.get(key):
            raise refused(f"has {key} beside use_flow_sigmas", f"{key}: false")


def _check_values(config: Mapping[str, Any], values: _Values, refused: Callable[[str, str], ModelError]) -> None:
    for key, (is_allowed, allowed) in values.items():
        if key in config and not is_allowed(config[key]):
            raise refused(f"has the {key} {str(config[key])[:100]!r}", allowed)


def spacing_of(config: Mapping[str, Any]) -> str:
    """Return the spacing of a scheduler's timesteps."""
    default = "linspace" if config.get("_class_name") in LINSPACE_CLASSES else "leading"
    return str(config.get("timestep_spacing", default))


def distilled_timesteps(config: Mapping[str, Any], steps: int) -> tuple[int, ...] | None:
    """Return the T timesteps of a scheduler of `DISTILLED_CLASSES`, largest first; None for another scheduler.

    The model was taught at S timesteps k - 1, 2 k - 1, ..., S k - 1. Of these, T are chosen, in even distances from the
    largest on (Luo et al. 2023, Section 4.3).
    """
    if config.get("_class_name") not in DISTILLED_CLASSES:
        return None
    places, trained = _places(config), int(config.get("num_train_timesteps", 1000))
    return tuple((places - int(index * (places / steps))) * (trained // places) - 1 for index in range(steps))


def _places(config: Mapping[str, Any]) -> int:
    """The number S of timesteps that a distilled model was taught at."""
    return int(config.get("original_inference_steps", 50))


def first_timestep(config: Mapping[str, Any], steps: int) -> int:
    """Return the timestep that sampling with T steps starts at."""
    if distilled := distilled_timesteps(config, steps):
        return distilled[0]
    trained = int(config.get("num_train_timesteps", 1000))
    spacing = spacing_of(config)
    if spacing == "leading":
        return (steps - 1) * (trained // steps) + int(config.get("steps_offset", 0))
    return 0 if spacing == "linspace" and steps == 1 else trained - 1


def _check_steps(config: Mapping[str, Any], steps: int) -> None:
    """Check that the timesteps of T steps exist and that the first one is noisy.

    The distance of `leading` timesteps is the number of trained ones divided by T, rounded down. If T is large, the
    first of them can therefore be far from the last trained one.
    """
    trained = int(config.get("num_train_timesteps", 1000))
    if config.get("_class_name") in DISTILLED_CLASSES and steps > (most := _places(config)):
        raise ModelError(
            f"steps (T) is {steps}, but the model was distilled at {most} timesteps", f"1..{most}",
            "set steps to fewer", "steps",
        )  # fmt: skip

    def starts_in_noise(count: int) -> bool:
        return _FIRST * trained <= first_timestep(config, count) < trained

    if steps > trained or first_timestep(config, steps) >= trained:
        allowed = trained if steps > trained and first_timestep(config, trained) < trained else trained - 1
        raise ModelError(
            f"steps (T) is {steps}, but the model was trained with {trained} timesteps",
            f"1..{allowed}", "set steps to fewer", "steps",
        )  # fmt: skip
    fine = next((count for count in range(steps, 0, -1) if starts_in_noise(count)), None)
    if fine not in (steps, None):
        raise ModelError(
            f"steps (T) is {steps}, and the model's scheduler (timestep_spacing: leading) then starts at timestep "
            f"{first_timestep(config, steps)} of {trained}, where an image is still half visible in the noise",
            f"{fine}, or fewer steps", f"set steps to {fine}", "steps",
        )  # fmt: skip
