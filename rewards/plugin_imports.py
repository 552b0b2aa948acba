"""Lets a process import the files that came with a plugin. They lie in the cache of its machine, by their content."""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from rewards.errors import PluginError
from rewards.plugin_files import SentFile


def placed(files: Sequence[SentFile], digest: str) -> Path:
    """Write files into the cache of this machine, and return their folder, which Python can search.

    Raises:
        PluginError: the cache cannot be written, or its files were changed.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HOME) / "srsoup" / "plugins" / digest
    try:
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=place.parent))
            for path, content in files:
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                (draft / path).write_bytes(content)
            try:
                draft.rename(place)
            except OSError:
                shutil.rmtree(draft)
        changed = [path for path, content in files if (place / path).read_bytes() != content]
    except OSError as error:
        raise PluginError(
            f"the files of the plugin cannot be written into {place} ({error.strerror})",
            "set HF_HOME to a folder that this user can write",
        ) from error
    if changed:
        raise PluginError(f"{place / changed[0]} was changed", f"remove the folder {place}")
    return place


def make_importable(names: Iterable[str], folder: Path) -> None:
    """Let this process find the modules of these names in a folder, before all other places.

    Raises:
        PluginError: the process has imported another module of the same name, or another plugin brought one.
    """
    names = tuple(names)
    for name in names:
        if _finder().places.get(name, folder) != folder:
            raise PluginError(f"two plugins bring different files by the name {name}", "rename one of them")
        known = sys.modules.get(name)
        if known is not None and not _is_below(known, folder):
            if not _same_content(known, folder):
                raise PluginError(
                    f"{name} of the plugin cannot be imported: {_place_of(known)} has this name and is in use",
                    "rename the plugin's file or folder",
                )
            _forget(name)
    _finder().places.update(dict.fromkeys(names, folder))


def forget_imports() -> None:
    """Forget the modules of all plugins, so that files that were edited can be sent again."""
    for name in _finder().places:
        _forget(name)
    _finder().places.clear()


class _SentModules(MetaPathFinder):
    """Finds the modules that came with plugins, by the first part of their names."""

    def __init__(self) -> None:
        self.places: dict[str, Path] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = self.places.get(fullname)
        return None if place is None else PathFinder.find_spec(fullname, [str(place)])


def _finder() -> _SentModules:
    for known in sys.meta_path:
        if isinstance(known, _SentModules):
            return known
    finder = _SentModules()
    sys.meta_path.insert(0, finder)
    return finder


def _origin(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _place_of(module: ModuleType) -> str:
    return str(_origin(module) or f"module {module.__name__}")


def _is_below(module: ModuleType, folder: Path) -> bool:
    origin = _origin(module)
    return origin is not None and origin.is_relative_to(folder)


def _same_content(module: ModuleType, folder: Path) -> bool:
    """Whether an imported module is the file that was sent, as in a notebook that has imported it before."""
    origin = _origin(module)
    if origin is None or not origin.is_file():
        return False
    sent = folder / (f"{module.__name__}/__init__.py" if origin.name == "__init__.py" else origin.name)
    return sent.is_file() and sent.read_bytes() == origin.read_bytes()


def _forget(name: str) -> None:
    for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[known]
