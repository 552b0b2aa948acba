"""All hostile inputs, kind by kind."""

from collections.abc import Iterator

from tests.support.hostile import (
    model_folders,
    pictures,
    plugins,
    prompt_files,
    run_folders,
    surroundings,
    values,
    yaml_files,
)
from tests.support.hostile.case import Case

MODULES = (yaml_files, values, plugins, run_folders, prompt_files, model_folders, pictures, surroundings)
KINDS = tuple(module.KIND for module in MODULES)


def all_cases() -> Iterator[Case]:
    """Every case of every kind."""
    for module in MODULES:
        yield from module.cases()
