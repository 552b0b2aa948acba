"""Reads a trained surrogate that a configuration names, and checks that it belongs to the model and the rewards."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from configs.errors import RequestError
from configs.file_digest import read_regular_file
from configs.schema import RunConfig
from diffusion.surrogate.network import Surrogate, SurrogateFileError, from_bytes
from mini.surrogates import packaged_surrogates
from pipeline.planning.model_check import Origin

LARGEST_FILE = 64 * 2**20
_KEY = "surrogate.file"


def given_surrogate(config: RunConfig, revision: str, plugins: Mapping[str, str], origin: Origin) -> bytes | None:
    """Return the content of the file that `surrogate.file` names, or None if it names none.

    Raises:
        RequestError: there is no such file, it is damaged, or it is of another model or of other rewards.
    """
    return _read(config, lambda surrogate: check_surrogate(surrogate, config, revision, plugins), origin)


def surrogate_of_call(config: RunConfig, channels: int, origin: Origin) -> bytes | None:
    """The same for a pipeline that is loaded already, whose revision is not known: only its channels are compared.

    Raises:
        RequestError: there is no such file, it is damaged, or it is of other rewards or of another number of channels.
    """

    def check(surrogate: Surrogate) -> None:
        check_rewards(surrogate, config)
        found = surrogate.network.channels
        if found != channels:
            raise SurrogateFileError(f"it was trained on latents of {found} channels, and the model has {channels}")

    return _read(config, check, origin)


def _read(config: RunConfig, check: Callable[[Surrogate], None], origin: Origin) -> bytes | None:
    if config.surrogate is None or config.surrogate.file is None:
        return None
    name = config.surrogate.file
    path = packaged_surrogates().get(name, Path(name))
    try:
        content = read_regular_file(path, LARGEST_FILE)
        check(from_bytes(content))
    except OSError as error:
        names = ", ".join(packaged_surrogates())
        raise _error(
            name, f"it cannot be read ({error.strerror})", f"check the path, or give {names}", origin
        ) from error
    except SurrogateFileError as error:
        fix = "copy it again, name another one, or leave surrogate.file out to train one in this run"
        raise _error(name, str(error), fix, origin) from error
    return content


def check_surrogate(surrogate: Surrogate, config: RunConfig, revision: str, plugins: Mapping[str, str]) -> None:
    """Check that a surrogate was trained for the model and the rewards of a run.

    Raises:
        SurrogateFileError: it was not.
    """
    check_rewards(surrogate, config)
    if surrogate.record.get("model_revision") != revision:
        raise SurrogateFileError("it was trained with another model, VAE or adapter")
    if surrogate.record.get("plugins") != dict(plugins):
        raise SurrogateFileError("it was trained with other plugin files, whose rewards may differ")
    if any(surrogate.record.get(key) != given_size(config).get(key) for key in ("height", "width")):
        raise SurrogateFileError("it was trained on images of another size")


def check_rewards(surrogate: Surrogate, config: RunConfig) -> None:
    """Check that a surrogate was trained for all guiding rewards of a run.

    Raises:
        SurrogateFileError: it was not.
    """
    if missing := [name for name in config.rewards.guided if name not in surrogate.rewards]:
        known = ", ".join(surrogate.rewards)
        raise SurrogateFileError(f"it was trained for {known}, and not for {', '.join(missing)}")


def given_size(config: RunConfig) -> dict[str, int]:
    """Return the sides of the images that a configuration sets, by their keys: nothing for the model's own size."""
    sides = {"height": config.model.height, "width": config.model.width}
    return {key: side for key, side in sides.items() if side is not None}


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a surrogate's file, which names it in keys and tables."""
    return hashlib.sha256(content).hexdigest()


def named(content: bytes) -> str:
    """Return the SHA-256 of a surrogate's file with a prefix, so that no reader of YAML takes it for a number."""
    return f"sha256:{sha256(content)}"


def _error(name: str, problem: str, fix: str, origin: Origin) -> RequestError:
    return RequestError(
        file=origin(_KEY), key=_KEY, value=name, problem=f"the surrogate cannot be used: {problem}",
        allowed="a surrogate that was trained with the model, the rewards and the plugins of this run", fix=fix,
    )  # fmt: skip


def surrogate_identity(config: RunConfig, content: bytes | None, fronts: Any) -> dict[str, Any] | None:
    """Return the values of the section `surrogate` that decide pixels: a given file by its content.

    Without a file the fronts of the run decide what the surrogates are trained on, so they are part of it.
    """
    if config.surrogate is None:
        return None
    if content is not None:
        keys = {"queries", "unbiased", "strength", "fronts", "keep"}
        return {"sha256": sha256(content)} | config.surrogate.model_dump(mode="json", include=keys)
    return config.surrogate.model_dump(mode="json") | {"fronts": fronts}
