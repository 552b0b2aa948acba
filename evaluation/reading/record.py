"""Reads the record of a run, `config.yaml` and `driver.yaml`, and checks all that the report needs of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation.errors import ReportError
from pipeline.records import Location, read_file

Positive = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    """A mapping in `config.yaml`. It may have more keys, which the report only prints."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Rewards(_Strict):
    guided: Annotated[list[str], Field(min_length=1)]
    held_out: list[str] | None = None


class _Soup(_Strict):
    # With "auto" every step decides for itself.
    steps: int | Literal["auto"]


class _Report(_Strict):
    reference_point: dict[str, float] | None = None


class _Config(_Strict):
    name: str
    method: str | list[str] = "srsoup"
    seed: int
    seeds: Positive = 1
    # Images that were imported do not say how they were made.
    imported_from: str | None = None
    steps: Positive | None = None
    queries: Positive | None = None
    weights: Annotated[list[list[float]], Field(min_length=1)]
    rewards: _Rewards
    soup: _Soup | None = None
    report: _Report | None = None

    @model_validator(mode="after")
    def _check_steps(self) -> "_Config":
        missing = [key for key in ("steps", "queries") if getattr(self, key) is None]
        if missing and self.imported_from is None:
            raise ValueError(f"config.{missing[0]} is missing")
        return self

    @model_validator(mode="after")
    def _check_rewards(self) -> "_Config":
        guided, held_out = self.rewards.guided, self.rewards.held_out or []
        if len({*guided, *held_out}) < len(guided) + len(held_out):
            raise ValueError("a reward is named twice")
        if any(len(row) != len(guided) for row in self.weights):
            raise ValueError("a row of weights does not have one weight for each guided reward")
        point = self.report.reference_point if self.report else None
        if point is not None and set(point) != set(guided):
            raise ValueError("report.reference_point does not have one value for each guided reward")
        return self


class _Document(_Strict):
    config: _Config
    units: dict[str, str] | None = None
    versions: dict[str, str | None] | None = None
    model_revision: str | None = None
    chunk: int | None = None


class Record(NamedTuple):
    """What the record of a run says.

    Attributes:
        document: the content of `config.yaml`.
        guided, held_out: the names of rewards.
        methods: the methods in the configuration.
        fronts: the number of fronts when the run is finished, or None if `driver.yaml` does not say it.
    """

    document: Mapping[str, Any]
    guided: tuple[str, ...]
    held_out: tuple[str, ...]
    methods: tuple[str, ...]
    fronts: int | None


def read_record(path: Location) -> Record:
    """Reads `config.yaml` and `driver.yaml`.

    Raises:
        ReportError: the folder has no run, or `config.yaml` cannot be read or is not the record of a run.
    """
    file = path / "config.yaml"
    try:
        text = read_file(path, "config.yaml")
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{path}: the folder has no run (config.yaml is missing). Give a folder that `srsoup run` wrote."
        raise ReportError(message) from error
    except OSError as error:
        raise ReportError(f"{path}: the run cannot be read ({error}). Check the path and its permissions.") from error
    try:
        document: Mapping[str, Any] = yaml.safe_load(text)
        config = _Document.model_validate(document).config
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ReportError(
            f"{file}: the file is not the record of a run ({_reason(error)}). Restore the file, or run again into a "
            "new folder."
        ) from error
    methods = [config.method] if isinstance(config.method, str) else config.method
    held_out = tuple(config.rewards.held_out or ())
    return Record(document, tuple(config.rewards.guided), held_out, tuple(methods), _fronts(path))


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        return f"{key}: {first['msg']}" if key else str(first["msg"])
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def _fronts(path: Location) -> int | None:
    """Returns the number of fronts in `driver.yaml`, which only the text on progress needs, or None."""
    try:
        fronts = yaml.safe_load(read_file(path, "driver.yaml"))["fronts"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return None
    return fronts if type(fronts) is int else None
