"""Checks the model of a request before any of its weights are loaded."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from actors.from_config import source_of
from configs.errors import RequestError
from configs.schema import METHODS_WITHOUT_GUIDANCE, RunConfig
from diffusion.checks.image_size import sizes_of_folder
from diffusion.checks.whole import check_timesteps, check_whole, is_downloaded
from diffusion.errors import ModelError, NotHereError, for_key
from diffusion.families import FAMILIES, takers
from diffusion.folder import check_folder
from diffusion.lora.check import adapted_layers, check_adapter
from diffusion.lora.soup import KEY, check_by_reward
from diffusion.source import EMBEDDED, Source, adapter_file, metadata_folder, model_revision, vae_folder
from diffusion.vae import check_vae, vae_config, vae_variant

# Returns, for a dotted key, the file (or "command line") that set its value, for error messages.
Origin = Callable[[str], str]


class CheckedModel(NamedTuple):
    """A model that passed the checks.

    Attributes:
        revision: the name of its weights: the hash of a local model's files, or the commit of a model on the hub.
        pipeline: its pipeline class, or None if its files are not on this machine yet.
        size: height and width of its images in pixels; None if its files are not on this machine yet.
    """

    revision: str
    pipeline: str | None
    size: tuple[int, int] | None


def checked_model(config: RunConfig, origin: Origin, fetch: bool) -> CheckedModel:
    """Check that the model can be sampled, that its family has all keys that are set, and that VAE and adapters fit it.

    Args:
        config: the configuration of the run.
        origin: returns the file, or "command line", that set a key.
        fetch: whether to download the configuration files and adapters of a model on the hub, to check them.

    Raises:
        RequestError: a check failed; names file, key, value, the allowed values and the fix.
    """
    source = source_of(config.model)
    try:
        pipeline, size = _check(config, source, origin, fetch)
        return CheckedModel(model_revision(source), pipeline, size)
    except ModelError as error:
        raise _model_error(config, origin, error.key, error.problem, error.allowed, error.fix) from error


def _check(
    config: RunConfig, source: Source, origin: Origin, fetch: bool
) -> tuple[str, tuple[int, int]] | tuple[None, None]:
    """Return the model's pipeline class and the size of its images; None twice if its files are not on this machine.

    The VAE and the adapters are read in any case, because the revision depends on them.
    """
    if source.vae:
        with suppress(NotHereError):
            vae_config(source.vae, vae_folder(source.vae, fetch))
    for adapter in source.adapters:
        with suppress(NotHereError):
            adapted_layers(adapter_file(adapter, fetch))
    for _, adapter in source.by_reward:
        with suppress(NotHereError), for_key(KEY):
            adapted_layers(adapter_file(adapter, fetch))
    try:
        folder = metadata_folder(source, fetch)
    except NotHereError:
        _check_weights_of_vae(source)
        return None, None
    pipeline = check_folder(folder, config.steps, whole=source.revision is None)
    family = FAMILIES[pipeline]
    sizes = sizes_of_folder(folder, family)
    size = sizes.chosen(config.model.height, config.model.width)
    if source.name != EMBEDDED:  # which the tests of the package check
        if not check_timesteps(folder, config.steps, sizes.tokens(size)):
            check_noise(config, origin("steps"))
        if source.revision is None or is_downloaded(folder):
            check_whole(folder)
    for key in sorted({key for other in FAMILIES.values() for key in other.keys} - family.keys):
        if getattr(config.model, key) != type(config.model).model_fields[key].default:
            raise _model_error(
                config, origin, f"model.{key}",
                f"{config.model.name} is a {pipeline}, which has no key {key}",
                f"only with {', '.join(takers(key))}", f"remove model.{key}",
            )  # fmt: skip
    if not (config.lookahead.guidance or family.has_two_passes):
        raise RequestError(
            file=origin("lookahead.guidance"), key="lookahead.guidance", value=False,
            problem=f"{config.model.name} is a {pipeline}, which makes each prediction in one pass",
            allowed=f"off only with {', '.join(takers('negative_prompt'))}",
            fix="leave lookahead.guidance out",
        )  # fmt: skip
    if source.vae:
        with suppress(NotHereError):
            check_vae(source.vae, vae_folder(source.vae, fetch), folder)
        _check_weights_of_vae(source)
    for adapter in source.adapters:
        with suppress(NotHereError):
            check_adapter(adapter_file(adapter, fetch), folder, family)
    if source.by_reward:
        with suppress(NotHereError):
            check_by_reward(source.by_reward, folder, family, config.model.mix, fetch)
    return pipeline, size


def check_noise(config: RunConfig, file: str) -> None:
    """Refuse the guided methods of a run whose steps have no noise, such as one step of a model distilled to one.

    Args:
        config: the configuration of the run.
        file: the file, or "command line", that set the number of steps.

    Raises:
        RequestError: a method of the run is guided.
    """
    if guided := sorted(set(config.methods) - METHODS_WITHOUT_GUIDANCE):
        raise RequestError(
            file=file, key="steps", value=config.steps,
            problem=f"{guided[0]} guides steps that have noise, but the last step of this model's scheduler has none, "
            "and there is no other",
            allowed="2 or more", fix="set steps=2 or more, or method=unguided or best_of",
        )  # fmt: skip


def _check_weights_of_vae(source: Source) -> None:
    if source.vae and source.vae.revision is None:
        vae_variant(vae_folder(source.vae))


def _model_error(config: RunConfig, origin: Origin, key: str, problem: str, allowed: str, fix: str) -> RequestError:
    value = config.steps if key == "steps" else getattr(config.model, key.removeprefix("model."))
    if key == "model.adapters":
        value = [adapter.name for adapter in config.model.adapters]
    if key == KEY:
        value = {reward: adapter.name for reward, adapter in config.model.adapters_by_reward.items()}
    if key == "model.vae" and config.model.vae:
        value = config.model.vae.name
    return RequestError(file=origin(key), key=key, value=value, problem=problem, allowed=allowed, fix=fix)
