"""Sweeps: many configurations from one, by products of values. Each configuration has its own run folder."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from configs.errors import COMMAND_LINE, RequestError
from configs.load import load_config, read_mapping
from configs.plain.data import PlainYamlError, parse_yaml
from configs.schema import RunConfig

SWEEP_KEY = "sweep"
_MANY = 1_000


def load_sweep(path: Path, overrides: Sequence[str] = (), over: Sequence[str] = ()) -> tuple[RunConfig, ...]:
    """Return one configuration for each point of a sweep.

    The file's key `sweep` is a list of blocks. A block is a mapping {dotted key: list of values}, and its points are
    the product of its lists. If `over` is given, it replaces these blocks by a single one.

    Args:
        path: the YAML file that all points share.
        overrides: texts `a.b=value`, which are set in every point. A swept key wins over them.
        over: texts `a.b=value,value,...`. The values are read as YAML.

    Raises:
        RequestError: there is nothing to sweep, a block or an `over` cannot be read, two points have the same name,
            or the configuration of a point is wrong.
    """
    blocks = [_over(over)] if over else _blocks(path, read_mapping(path).get(SWEEP_KEY))
    n_points = sum(math.prod(map(len, block.values())) for block in blocks)
    if not 1 <= n_points <= _MANY:
        problem = "the sweep has too many points" if n_points else "the sweep has no points"
        raise _error(path, SWEEP_KEY, n_points, problem, f"1..{_MANY} points", "give other lists of values")
    points = [dict(zip(block, values, strict=True)) for block in blocks for values in product(*block.values())]
    # The blocks of a file are the file's words, and not the user's.
    typed = [*overrides, *(text for block in blocks for text in _texts(block) if over)]
    configs = [_config(path, overrides, point, typed) for point in points]
    names = [config.name for config in configs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise _error(path, SWEEP_KEY, twice, "two points have this name", "points that differ", "give each value once")
    return tuple(configs)


def is_sweep(path: Path) -> bool:
    """Return whether a file has the key `sweep`."""
    return SWEEP_KEY in read_mapping(path)


def _config(path: Path, overrides: Sequence[str], point: Mapping[str, Any], typed: Sequence[str]) -> RunConfig:
    """The configuration of one point. The point is part of its name and of its folder."""
    given = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in point.items())]
    base = load_config(path, given, swept=True, typed=typed)
    label = point_name(point)
    output = f"output={json.dumps(str(base.output_folder / label))}"
    # The output is within that of `base`, which has been checked.
    return load_config(path, [*given, f"name={base.name}_{label}", output], swept=True, typed=[*typed, output])


def _texts(block: Mapping[str, Sequence[Any]]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, values in block.items() for value in values]


def point_name(point: Mapping[str, Any]) -> str:
    """Return a plain name for a point, such as `method-srsoup_soup-steps-10`, for its folder and its run."""
    texts = (f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items())
    return "_".join(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") for text in texts)


def _over(over: Sequence[str]) -> dict[str, list[Any]]:
    block: dict[str, list[Any]] = {}
    for text in over:
        key, equals, values = text.partition("=")
        try:
            listed = parse_yaml(f"[{values}]")
        except PlainYamlError as error:
            raise _over_error(text, f"the values cannot be read: {error.problem}", error.fix) from error
        if not equals or not key or not listed or key in block:
            problem = "this is not KEY=VALUE,VALUE,..., or its key was given before"
            raise _over_error(text, problem, "write each key once, as KEY=VALUE,VALUE,...")
        block[key] = listed
    return block


def _over_error(text: str, problem: str, fix: str) -> RequestError:
    allowed = "a dotted key and one value or more, such as soup.steps=0,10,20"
    return RequestError(file=COMMAND_LINE, key="--over", value=text, problem=problem, allowed=allowed, fix=fix)


def _blocks(path: Path, data: Any) -> list[dict[str, list[Any]]]:
    blocks = data if isinstance(data, list) else [data]
    for block in blocks:
        fits = isinstance(block, dict) and block
        if not fits or not all(isinstance(k, str) and isinstance(v, list) and v for k, v in block.items()):
            problem = "there is nothing to sweep" if data is None else "this does not describe a sweep"
            raise _error(
                path, SWEEP_KEY, data, problem,
                "a list of mappings {dotted key: [values]}", "add --over KEY=VALUE,VALUE, or such a list to the file",
            )  # fmt: skip
    return blocks


def _error(path: Path, key: str, value: Any, problem: str, allowed: str, fix: str) -> RequestError:
    return RequestError(file=str(path), key=key, value=value, problem=problem, allowed=allowed, fix=fix)
