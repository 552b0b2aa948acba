"""Checks the folder of a run before anything is written: can it be written, and does it hold another run?"""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import RequestError
from configs.location import Location, RemotePath
from configs.plain.data import parse_yaml
from configs.schema import LARGEST_CHUNK
from pipeline.planning.model_check import Origin
from pipeline.records import has_file, read_file
from pipeline.storage.disk import BEFORE_THE_RECORD, store_of

# The keys of `config.yaml`, besides the configuration, that must not change in a folder.
_EXTRA_KEYS = ("model_revision", "plugins", "surrogate_file")
# The sections and keys that a configuration leaves out where they have no effect, or whose entries users choose.
_MAY_BE_LEFT_OUT = (
    "guidance.", "soup.", "model.vae", "model.height", "model.width", "model.gradient_checkpointing",
    "rewards.accept_sha256.", "surrogate.", "prompts.packaged", "prompts.synonyms", "prompts.template",
    "prompts.dataset.files.",
)  # fmt: skip


def chunk_of_folder(folder: Location, identity: Mapping[str, Any], origin: Origin) -> int | None:
    """Return the chunk of the run that the folder holds, or None if it holds no run.

    The chunk may be smaller than the requested one, because an earlier driver halves it if memory runs out.

    Args:
        folder: the run's folder.
        identity: the values that must not change in a folder: keys of the configuration, `model_revision`, `plugins`.
        origin: returns the file, or "command line", that set a key.

    Raises:
        RequestError: the folder cannot be written, or holds a run with another identity.
    """
    try:
        if problem := store_of(folder).write_problem(folder):
            raise OSError(problem)
        content = read_file(folder, "config.yaml") if has_file(folder, "config.yaml") else None
        names = store_of(folder).names(folder) if content is None else []
    except OSError as error:
        raise folder_error(folder, str(error), origin("output")) from error
    if content is None:
        _check_no_foreign_files(folder, names, origin)
        return None
    record = _record_of(folder, content)
    _check_same(folder, identity, record, origin)
    return _checked_chunk(folder, record, identity["compute"]["chunk"])


def _check_no_foreign_files(folder: Location, names: Sequence[str], origin: Origin) -> None:
    """Refuse a folder without a run that holds other files: a run would write and remove files among them."""
    foreign = [name for name in names if not name.startswith(BEFORE_THE_RECORD)]
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise RequestError(
            file=origin("output"), key="output", value=str(folder),
            problem=f"the folder holds {len(foreign)} files or folders ({shown}), but no config.yaml of a run",
            allowed="a folder that is new, empty, or holds a run of this configuration",
            fix="set output=... to a new folder; if this was a run, put its config.yaml back",
        )  # fmt: skip


def folder_error(folder: Location, problem: str, file: str) -> RequestError:
    """Return the error that a run cannot be written to its folder; `file` is the file that set `output`."""
    allowed, fix = "a folder that you can write or make", "set output=... to another folder"
    if isinstance(folder, RemotePath):
        allowed = "a bucket that exists and that your credentials can write"
        fix = (
            "check bucket and endpoint_override of the URI, and the credentials in the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)"
        )
    return RequestError(file=file, key="output", value=str(folder), problem=problem, allowed=allowed, fix=fix)


def _record_of(folder: Location, content: bytes) -> Mapping[str, Any]:
    """The content of a run's `config.yaml`."""
    try:
        record = parse_yaml(content.decode())
    except ValueError as error:
        raise _record_error(folder, f"the record of the run cannot be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise _record_error(folder, "the record of the run has no configuration")
    return record


def _checked_chunk(folder: Location, record: Mapping[str, Any], requested: Any) -> int | None:
    """The chunk of a run's record. A driver writes the requested size or, with `auto`, a half of it or less."""
    chunk = record.get("chunk")
    allowed = range(1, LARGEST_CHUNK + 1) if requested == "auto" else (requested,)
    if chunk is not None and (type(chunk) is not int or chunk not in allowed):
        raise _record_error(folder, f"the record of the run has the chunk {chunk!r:.80}")
    return chunk


def _record_error(folder: Location, problem: str) -> RequestError:
    return RequestError(
        file=str(folder / "config.yaml"), key="(the file)", value=str(folder), problem=problem,
        allowed="the file as a run has written it",
        fix="put its content back, or set output=... to a new folder",
    )  # fmt: skip


def _check_same(folder: Location, identity: Mapping[str, Any], record: Mapping[str, Any], origin: Origin) -> None:
    """Refuse to mix two configurations in one folder, and name the first key that differs."""
    # Versions without plugins wrote no key `plugins`, and those without `skip_empty` skipped no prompt.
    recorded = {"prompts.skip_empty": False} | _flat(record.get("config", {})) | {"plugins": {}, "surrogate_file": None}
    recorded |= {key: record[key] for key in _EXTRA_KEYS if key in record}
    requested = _flat({key: value for key, value in identity.items() if key not in _EXTRA_KEYS})
    # A key that only the record has is compared with None.
    left_out = sorted(key for key in recorded.keys() - requested.keys() if key.startswith(_MAY_BE_LEFT_OUT))
    requested |= dict.fromkeys(left_out) | {key: identity[key] for key in _EXTRA_KEYS}
    for key, value in requested.items():
        if recorded.get(key) != value:
            held = f"with {key} = {recorded[key]!r}" if key in recorded else f"without {key}"
            raise RequestError(
                file=origin(key),
                key=key,
                value=value,
                problem=f"{folder} holds a run {held}",
                allowed="the configuration with which the run in the folder was started",
                fix="set output=... to a new folder, or remove the old folder",
            )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
