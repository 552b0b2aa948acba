"""Sweeps: many configurations from one, by products of values. Each becomes a run folder of its own."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from configs.errors import RequestError
from configs.load import COMMAND_LINE, load_config, read_mapping
from configs.schema import RunConfig

SWEEP_KEY = "sweep"
_MANY = 1_000


def load_sweep(path: Path, overrides: Sequence[str] = (), over: Sequence[str] = ()) -> tuple[RunConfig, ...]:
    """One configuration for each point of a sweep.

    The points are those of the file's own `sweep`, a list of mappings {dotted key: list of values}, each of which
    gives the product of its lists; or, where the command line has any `over`, the one product of those.

    Args:
        overrides: `a.b=value`, set in every point; a swept key wins.
        over: `a.b=value,value,...`; the values are read as YAML.

    Raises:
        RequestError: there is nothing to sweep, a block or an `over` does not read, two points have one name, or a
            point is wrong by itself.
    """
    blocks = [_over(over)] if over else _blocks(path, read_mapping(path).get(SWEEP_KEY))
    points = [dict(zip(block, values, strict=True)) for block in blocks for values in product(*block.values())]
    if not points or len(points) > _MANY:
        raise _error(path, SWEEP_KEY, len(points), "the number of points", f"1..{_MANY}", "give other lists of values")
    configs = [_config(path, overrides, point) for point in points]
    names = [config.name for config in configs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise _error(path, SWEEP_KEY, twice, "two points have this name", "points that differ", "name each value once")
    return tuple(configs)


def is_sweep(path: Path) -> bool:
    """Whether a file holds a sweep of its own."""
    return SWEEP_KEY in read_mapping(path)


def _config(path: Path, overrides: Sequence[str], point: Mapping[str, Any]) -> RunConfig:
    """The configuration of one point: its name and its folder say the point."""
    given = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in point.items())]
    base = load_config(path, given, swept=True)
    label = point_name(point)
    folder = base.output_folder / label
    return load_config(path, [*given, f"name={base.name}_{label}", f"output={json.dumps(str(folder))}"], swept=True)


def point_name(point: Mapping[str, Any]) -> str:
    """A plain name of a point, such as `method-srsoup_soup-steps-10`: fit for a folder and a run's name."""
    texts = (f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items())
    return "_".join(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") for text in texts)


def _over(over: Sequence[str]) -> dict[str, list[Any]]:
    block: dict[str, list[Any]] = {}
    for text in over:
        key, equals, values = text.partition("=")
        try:
            listed = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            listed = None
        if not equals or not key or not listed or key in block:
            raise RequestError(
                file=COMMAND_LINE, key="--over", value=text, problem="this is not KEY=VALUE,VALUE,... of a new key",
                allowed="a dotted key and one value or more, such as soup.steps=0,10,20", fix="write it so",
            )  # fmt: skip
        block[key] = listed
    return block


def _blocks(path: Path, data: Any) -> list[dict[str, list[Any]]]:
    blocks = data if isinstance(data, list) else [data]
    for block in blocks:
        fits = isinstance(block, dict) and block
        if not fits or not all(isinstance(k, str) and isinstance(v, list) and v for k, v in block.items()):
            raise _error(
                path, SWEEP_KEY, data, "there is nothing to sweep" if data is None else "this does not read as a sweep",
                "a list of mappings {dotted key: [values]}", "add --over KEY=VALUE,VALUE, or such a list to the file",
            )  # fmt: skip
    return blocks


def _error(path: Path, key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file=str(path), key=key, value=value, problem=problem, allowed=allowed, fix=fix)
