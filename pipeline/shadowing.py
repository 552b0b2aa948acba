"""Files that Python would import in place of SRSoup's own packages, whose names are everyday words.

Imports only the standard library, and no module of the names that it looks for: `srsoup.py` runs it before any other
module of SRSoup.
"""

import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("actors", "configs", "diffusion", "evaluation", "mini", "pipeline", "rewards")
ALLOWED = "a name other than " + ", ".join(PACKAGES)
# The folder that holds these packages and `srsoup.py`.
HOME = Path(__file__).absolute().parents[1]


def shadows_here() -> tuple[Path, ...]:
    """The files and folders that this process imports, or has imported, in place of SRSoup's packages."""
    return _strangers((name, _found(name)) for name in PACKAGES)


def shadows_on_workers() -> tuple[Path, ...]:
    """The same for Ray's workers, which search first the current folder of the driver and the folder of its script."""
    script = os.path.dirname(os.path.realpath(sys.argv[0]))
    path = [os.getcwd(), *([script] if script in sys.path else []), *sys.path]
    return _strangers((name, PathFinder.find_spec(name, path)) for name in PACKAGES)


def problem_of(shadows: Iterable[Path]) -> str:
    """What is wrong with such files, as a clause."""
    names = ", ".join(dict.fromkeys(f"`{path.stem}`" for path in shadows))
    return f"Python would import this in place of SRSoup's own {names}"


def fix_of(shadows: Iterable[Path]) -> str:
    """How to get rid of such files, as an imperative."""
    renames = (f"{path.name} (for example to my_{path.name})" for path in shadows)
    return f"rename {', '.join(renames)}, or start in a folder without it"


def message_of(shadows: Iterable[Path]) -> str:
    """The whole message, in the form of a `configs.errors.RequestError`, whose module may be among those hidden."""
    shadows = tuple(shadows)
    files = "".join(f"\n  file:    {path}" for path in shadows)
    return f"{problem_of(shadows)}{files}\n  allowed: {ALLOWED}\n  fix:     {fix_of(shadows)}"


def _found(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ValueError:
        # A module that was made by hand and has no spec.
        return ModuleSpec(name, None, origin=getattr(sys.modules[name], "__file__", None))


def _strangers(found: Iterable[tuple[str, ModuleSpec | None]]) -> tuple[Path, ...]:
    """The places of those packages that are not ours. A package that is not found is found by a finder of another kind,
    such as that of an editable installation."""
    places = ((name, _place(spec)) for name, spec in found if spec is not None)
    return tuple(place for name, place in places if place is not None and not _same(place, HOME / name))


def _place(spec: ModuleSpec) -> Path | None:
    """The folder of a package, with or without an `__init__.py`, or the file of a module."""
    if spec.origin and spec.has_location:
        file = Path(spec.origin)
        return file.parent if file.stem == "__init__" else file
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]) if folders else Path(spec.origin or f"{spec.name} (made by a program)")


def _same(place: Path, ours: Path) -> bool:
    return place.absolute() == ours or (place.exists() and os.path.samefile(place, ours))
