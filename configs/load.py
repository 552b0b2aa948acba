"""Reads a configuration: one YAML file, with `a.b=value` overrides on top. It is read as data, never run as code."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.errors import COMMAND_LINE, RequestError
from configs.explain import Keys, Unchecked, overlap, request_error
from configs.file_digest import read_regular_file
from configs.location import check_output_of_file
from configs.plain.data import PlainYamlError, parse_yaml
from configs.schema import RunConfig
from configs.sections.judge import check_judge_is_confirmed
from configs.sections.prompts import SOURCES
from configs.sections.reward_server import check_servers_are_confirmed

_EMBEDDED = "mini"
# A file of this size takes seconds to read.
_MOST_BYTES = 4_000_000
_MOST_EXTENDED = 20


def load_config(
    path: Path, overrides: Sequence[str] = (), *, swept: bool = False, typed: Sequence[str] | None = None
) -> RunConfig:
    """Read a YAML file, set the overrides on top, and check the result.

    The file may come from a stranger. What it may decide only with the user's word is listed in docs/security.md.

    Args:
        path: a YAML file whose top level has the keys of `RunConfig`.
        overrides: texts `a.b=value`. The value is read as YAML, so `3` is a number and `[a, b]` is a list.
        swept: whether the file may have the key `sweep`, which is then ignored; see `configs.sweep`.
        typed: the texts `a.b=value` that the user typed, and that no file holds; by default all overrides.

    Raises:
        RequestError: the file cannot be read, or a value is not allowed, or needs the user's word.
    """
    data = read_mapping(path)
    if data.pop("sweep", None) is not None and not swept:
        raise RequestError(
            file=str(path), key="sweep", value="(a sweep)", problem="this file describes a sweep of many runs",
            allowed="a file of one run, without the key sweep",
            fix="run it with `srsoup sweep`, or list its runs with `srsoup check`",
        )  # fmt: skip
    from_command_line: set[Keys] = set()
    for override in overrides:
        from_command_line.add(_override(data, override, from_command_line))
    _drop_reference_point(data, from_command_line)
    _resolve_paths(data, Path.cwd())
    config = checked_config(data, str(path), from_command_line)
    _check_user_allows(config, overrides if typed is None else typed, str(path))
    return config


def checked_config(data: dict[str, Any], file: str, overrides: Collection[Keys] = ()) -> RunConfig:
    """Return the checked configuration that plain data holds.

    Args:
        data: a mapping with the keys of `RunConfig`.
        file: the file that the data was read from, for messages.
        overrides: the keys that were set on the command line instead.

    Raises:
        RequestError: a value is not allowed, or a key is missing or unknown.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise request_error(error, Unchecked(data, file, overrides)) from error


def origin(key: str, path: Path, overrides: Sequence[str]) -> str:
    """Return where the value of a dotted key came from: the file, or the command line."""
    given = [override.partition("=")[0].split(".") for override in overrides]
    return COMMAND_LINE if any(overlap(keys, key.split(".")) for keys in given) else str(path)


def read_mapping(path: Path, extended: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, unchecked, on top of the file that its key `extends` names.

    A key of this file replaces the whole value of that key in the other file. Relative paths are made absolute, from
    the folder of the file that holds them.

    Args:
        extended: files that already extend this one, which it must not extend in turn.

    Raises:
        RequestError: a file cannot be read, or is not a YAML mapping.
    """

    def wrong(problem: str, fix: str) -> RequestError:
        return RequestError(
            file=str(path), key="(the file)", value=str(path), problem=problem, fix=fix,
            allowed="a YAML file, UTF-8, with the keys of a run at its top level",
        )  # fmt: skip

    try:
        data = parse_yaml(read_regular_file(path, _MOST_BYTES).decode())
    except OSError as error:
        raise wrong(f"the file cannot be read: {error.strerror}", "check the path; configs/ holds examples") from error
    except UnicodeDecodeError as error:
        raise wrong(f"the file is not UTF-8: byte {error.start}", "save it as UTF-8") from error
    except PlainYamlError as error:
        raise wrong(error.problem, error.fix) from error
    except ValueError as error:
        raise wrong("the path holds a NUL character", "write a path without it") from error
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {type(data).__name__}, not keys with values"
        raise wrong(f"the file {found}", "begin with `name: ...`")
    _resolve_paths(data, path.absolute().parent)
    other = data.pop("extends", None)
    if other is None:
        return data
    base = path.parent / str(other)
    if not isinstance(other, str) or path.resolve() in extended or len(extended) >= _MOST_EXTENDED:
        raise wrong(
            f"the file extends itself, or more than {_MOST_EXTENDED} files in a row, or its `extends` is not a path",
            "let `extends` name another file, relative to this one",
        )
    return read_mapping(base, (*extended, path.resolve())) | data


def _override(data: dict[str, Any], override: str, earlier: set[Keys]) -> Keys:
    """Set one `a.b=value` in the data and return its keys. `earlier` are the keys of the overrides before it."""
    keys, value = _parsed(override)
    place = data
    for key in keys[:-1]:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[keys[-1]] = value
    if keys[0] == "prompts" and keys[1:2] and keys[1] in SOURCES:
        # A source of prompts on the command line replaces the one in the file.
        for other in (*SOURCES, "github", "sha256", "synonyms"):
            if other != keys[1] and not any(overlap(("prompts", other), given) for given in earlier):
                data["prompts"].pop(other, None)
    if keys in (("model", "name"), ("model", "vae", "name")) and (*keys[:-1], "revision") not in earlier:
        # The file's revision is a commit of the model or VAE that the file names, not of this one.
        place.pop("revision", None)
    return keys


def _check_user_allows(config: RunConfig, typed: Sequence[str], file: str) -> None:
    """Check that the user confirms what a configuration may not decide alone: see docs/security.md.

    Values are compared, and not the keys that were typed, because a `sweep` of the file may replace a typed value.
    """
    parsed = [_parsed(text) for text in typed]

    def typed_values(key: str) -> list[Any]:
        return [value for keys, given in parsed for value in _values_below(given, keys, tuple(key.split(".")))]

    if config.rewards.judge is not None:
        check_judge_is_confirmed(config.rewards.judge, typed_values, file)
    check_servers_are_confirmed(config.rewards.servers, typed_values, file)
    outputs = [os.path.expanduser(value) for value in typed_values("output") if isinstance(value, str)]
    if config.output and config.output not in outputs:
        check_output_of_file(config.output, file)


def _values_below(value: Any, keys: Keys, wanted: Keys) -> list[Any]:
    """The value of the key `wanted` in a value that was given for `keys`: one, or none if it is not in it."""
    if wanted[: len(keys)] != keys:
        return []
    for key in wanted[len(keys) :]:
        if not isinstance(value, dict) or key not in value:
            return []
        value = value[key]
    return [value]


def _drop_reference_point(data: dict[str, Any], overridden: Collection[Keys]) -> None:
    """Remove the file's reference point if the command line names other rewards: it is in the units of the file's."""
    report, rewards = data.get("report"), data.get("rewards")
    if not isinstance(report, dict) or not isinstance(rewards, dict):
        return
    point, guided = report.get("reference_point"), rewards.get("guided")
    if not isinstance(point, dict) or not isinstance(guided, list) or set(map(str, guided)) == set(point):
        return
    if any(overlap(keys, ("rewards", "guided")) for keys in overridden) and not any(
        overlap(keys, ("report", "reference_point")) for keys in overridden
    ):
        del report["reference_point"]


def _parsed(override: str) -> tuple[Keys, Any]:
    """The keys and the value of one `a.b=value`."""
    name, equals, text = override.partition("=")
    keys = tuple(name.split("."))
    problem, fix = "this override is not KEY=VALUE", "write it as KEY=VALUE"
    if equals and all(keys):
        try:
            return keys, parse_yaml(text)
        except PlainYamlError as error:
            problem, fix = f"the value cannot be read: {error.problem}", error.fix
    raise RequestError(
        file=COMMAND_LINE, key=name, value=override, problem=problem,
        allowed="KEY=VALUE with a dotted key, such as soup.steps=10", fix=fix,
    )  # fmt: skip


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make relative paths absolute, from this folder, and replace a leading `~`.

    A name with a revision or a repository is not a local path. `output` stays relative to the current folder.
    """
    for key, section in _sections_with_paths(data):
        value = section.get(key)
        elsewhere = section.get("revision") or section.get("github")
        if isinstance(value, str) and value and value != _EMBEDDED and not elsewhere:
            section[key] = str(folder / os.path.expanduser(value))
    if isinstance(output := data.get("output"), str):
        data["output"] = os.path.expanduser(output)


def _sections_with_paths(data: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The sections that may hold a local path, each with the key of the path."""
    prompts, model = data.get("prompts"), data.get("model")
    adapters = model.get("adapters") if isinstance(model, dict) else None
    vae = model.get("vae") if isinstance(model, dict) else None
    sections: list[tuple[str, Any]] = [("file", prompts), ("name", model), ("name", vae)]
    surrogate = data.get("surrogate")
    # Any other text is the name of a surrogate that comes with SRSoup.
    if isinstance(surrogate, dict) and str(surrogate.get("file")).endswith(".safetensors"):
        sections.append(("file", surrogate))
    by_reward = model.get("adapters_by_reward") if isinstance(model, dict) else None
    if isinstance(by_reward, dict):
        sections += [("name", adapter) for adapter in by_reward.values()]
    if isinstance(adapters, list):
        sections += [("name", adapter) for adapter in adapters]
    return [(key, section) for key, section in sections if isinstance(section, dict)]
