"""What can be said against a request's model before a weight of it is loaded."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from actors.from_config import source_of
from configs.errors import RequestError
from configs.schema import RunConfig
from diffusion.checks.whole import check_timesteps, check_whole
from diffusion.errors import ModelError, NotHereError
from diffusion.families import FAMILIES, takers
from diffusion.folder import check_folder, has_weights
from diffusion.lora.check import adapted_layers, check_adapter
from diffusion.source import EMBEDDED, Source, adapter_file, metadata_folder, model_revision

# Where the value of a dotted key came from, for a message.
Origin = Callable[[str], str]


class CheckedModel(NamedTuple):
    """What names a model's weights, and its pipeline class: None where its files are not on this machine yet."""

    revision: str
    pipeline: str | None


def checked_model(config: RunConfig, origin: Origin, fetch: bool) -> CheckedModel:
    """Refuse a model that cannot be sampled, a key that its family does not take, and a LoRA of another family.

    Args:
        origin: names the file, or the command line, that the value of a key came from.
        fetch: get the configuration files of a model on the hub, and its adapters, to check them.

    Raises:
        RequestError: names file, key, value, what is allowed and the fix.
    """
    source = source_of(config.model)
    try:
        pipeline = _check(config, source, origin, fetch)
        return CheckedModel(model_revision(source), pipeline)
    except ModelError as error:
        raise _model_error(config, origin, error.key, error.problem, error.allowed, error.fix) from error


def _check(config: RunConfig, source: Source, origin: Origin, fetch: bool) -> str | None:
    """The model's pipeline class. An adapter is read even where the model is not here: it goes into the revision."""
    for adapter in source.adapters:
        with suppress(NotHereError):
            adapted_layers(adapter_file(adapter, fetch))
    try:
        folder = metadata_folder(source, fetch)
    except NotHereError:
        return None
    pipeline = check_folder(folder, config.steps, whole=source.revision is None)
    if source.name != EMBEDDED:  # which the tests of the package check
        check_timesteps(folder, config.steps)
        if has_weights(folder):
            check_whole(folder)
    family = FAMILIES[pipeline]
    for key in sorted({key for other in FAMILIES.values() for key in other.keys} - family.keys):
        if getattr(config.model, key) != type(config.model).model_fields[key].default:
            raise _model_error(
                config, origin, f"model.{key}",
                f"{config.model.name} is a {pipeline}, which takes no {key}",
                f"only with {', '.join(takers(key))}", f"leave model.{key} out",
            )  # fmt: skip
    for adapter in source.adapters:
        with suppress(NotHereError):
            check_adapter(adapter_file(adapter, fetch), folder, family)
    return pipeline


def _model_error(config: RunConfig, origin: Origin, key: str, problem: str, allowed: str, fix: str) -> RequestError:
    value = config.steps if key == "steps" else getattr(config.model, key.removeprefix("model."))
    if key == "model.adapters":
        value = [adapter.name for adapter in config.model.adapters]
    return RequestError(file=origin(key), key=key, value=value, problem=problem, allowed=allowed, fix=fix)
