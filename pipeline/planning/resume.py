"""The folder of a run before anything is written to it: can it be, and does it hold another run already?"""

from collections.abc import Mapping
from typing import Any

import yaml

from configs.errors import RequestError
from configs.location import Location, RemotePath
from pipeline.planning.model_check import Origin
from pipeline.records import holds, read_file
from pipeline.storage.disk import store_of

# What a record has beside the configuration.
_BESIDE = ("model_revision", "plugins")


def chunk_of_folder(folder: Location, identity: Mapping[str, Any], origin: Origin) -> int | None:
    """The chunk of the run that the folder holds, which memory may have made smaller; None where it holds none.

    Args:
        identity: what a run in the folder has to agree in: the configuration's keys, `model_revision` and `plugins`.
        origin: names the file, or the command line, that the value of a key came from.

    Raises:
        RequestError: the folder cannot be written, or holds a run that differs.
    """
    try:
        if trouble := store_of(folder).trouble(folder):
            raise OSError(trouble)
        record = read_file(folder, "config.yaml") if holds(folder, "config.yaml") else None
    except OSError as error:
        raise folder_error(folder, str(error), origin("output")) from error
    if record is None:
        return None
    held = yaml.safe_load(record)
    held = held if isinstance(held, dict) else {}
    _check_same(folder, identity, held, origin)
    chunk: int | None = held.get("chunk")
    return chunk


def folder_error(folder: Location, problem: str, file: str) -> RequestError:
    """That a run cannot be written where it was asked for; `file` asked for it."""
    allowed, fix = "a folder that you can write, or one that can be made", "set output=... to another place"
    if isinstance(folder, RemotePath):
        allowed = "a bucket that is there, and that your credentials may write"
        fix = (
            "check bucket and endpoint_override of the URI, and the credentials in the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)"
        )
    return RequestError(file=file, key="output", value=str(folder), problem=problem, allowed=allowed, fix=fix)


def _check_same(folder: Location, identity: Mapping[str, Any], held: Mapping[str, Any], origin: Origin) -> None:
    """Refuse to mix two configurations in one folder; says the first key that differs."""
    # A run of before there were plugins had none.
    there = _flat(held.get("config", {})) | {"plugins": {}} | {key: held[key] for key in _BESIDE if key in held}
    here = _flat({key: value for key, value in identity.items() if key not in _BESIDE})
    here |= {key: identity[key] for key in _BESIDE}
    for key, value in here.items():
        if there.get(key) != value:
            raise RequestError(
                file=origin(key),
                key=key,
                value=value,
                problem=f"{folder} holds a run with {key} = {there.get(key)!r}",
                allowed="the configuration that the folder was begun with",
                fix="set output=... to a new folder, or remove the old one",
            )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
