"""What the parts of a configuration have in common."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# YAML has lists where a frozen model holds tuples; strict mode alone would refuse them.
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
WeightRow = Annotated[tuple[float, ...], BeforeValidator(as_tuple)]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def check_hub_name(key: str, name: str, revision: str | None) -> None:
    if revision is not None and not HUB_NAME.fullmatch(name):
        raise ValueError(
            f"{key}: {name!r} has a revision, but is no owner/name on the hub; "
            "name it so, or leave revision out for a local one"
        )


class StrictModel(BaseModel):
    """Frozen, strict (no "3" for 3), and closed (an unknown key is an error)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)
