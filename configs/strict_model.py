"""What the sections of a configuration have in common: a strict base class and a few types."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from configs.errors import InvalidValueError


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and any other value unchanged."""
    return tuple(value) if isinstance(value, list) else value


# YAML has lists, but a frozen model holds tuples, and strict mode alone would refuse the lists.
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
WeightRow = Annotated[tuple[float, ...], BeforeValidator(as_tuple)]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
_UNWRITABLE = re.compile(r"[\0\ud800-\udfff]")
_NAME = r"[A-Za-z0-9_]([\w.-]*\w)?"
HUB_NAME = re.compile(rf"(?!.*(--|\.\.))(?=.{{1,96}}$){_NAME}/{_NAME}(?<!\.git)", re.ASCII)


def check_hub_name(key: str, name: str, revision: str | None) -> None:
    """Check that a name with a revision is a name on the Hugging Face hub.

    Raises:
        InvalidValueError: the name has a revision, but is not of the form owner/name.
    """
    if revision is not None and not HUB_NAME.fullmatch(name):
        raise InvalidValueError(
            f"{name!r} has a revision, but is not a name on the hub",
            "write it as owner/name, or leave revision out if it is a local path",
            key,
        )


def check_repository_path(key: str, path: str) -> None:
    """Check that a text is a path within a repository, which cannot lead out of the folder that it is downloaded to.

    Raises:
        InvalidValueError: the path is absolute or empty, has a part such as `..`, or characters that no path needs.
    """
    if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable() or "\\" in path:
        raise InvalidValueError(
            f"{path!r} is not a path within a repository",
            "write it relative to the top of the repository, such as folder/file.txt, without . and ..",
            key,
        )


class StrictModel(BaseModel):
    """A frozen section without coercion ("3" is not 3) and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


def check_texts(value: Any, keys: tuple[str, ...] = ()) -> None:
    """Check that all texts in plain data can be written to a file and, as paths, be passed to the system.

    Raises:
        InvalidValueError: a text holds a NUL character, or half of a surrogate pair, which no encoding has.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            check_texts(key, keys)
            check_texts(inner, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            check_texts(inner, keys)
    elif isinstance(value, str) and (found := _UNWRITABLE.search(value)):
        what = "a NUL character" if found[0] == "\0" else "half of a surrogate pair, which is not a character"
        raise InvalidValueError(f"the text holds {what}", "remove it", ".".join(keys))
