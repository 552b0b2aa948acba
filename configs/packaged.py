"""Configurations that come with SRSoup, by name: an installed package has them too."""

import difflib
from pathlib import Path

from configs.errors import RequestError

FOLDER = Path(__file__).parent
# How many names an error suggests.
_NEAREST = 5


def packaged_configs() -> dict[str, Path]:
    """Name -> file, of every configuration in this folder, in `experiments/` and in `released/`."""
    folders = (FOLDER, FOLDER / "experiments", FOLDER / "released")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def config_file(config: str | Path) -> Path:
    """The file that a path, or the name of a packaged configuration, stands for. A file that exists goes first.

    Raises:
        RequestError: there is no such file, and it is no such name; suggests the nearest names.
    """
    path, packaged = Path(config), packaged_configs()
    is_there, is_folder = _exists(path)
    if is_there and not is_folder:
        return path
    if str(config) in packaged:
        return packaged[str(config)]
    if is_folder:
        raise _error(path, "this is a folder", "name a YAML file in this folder")
    if path.stem in packaged:
        raise _error(path, "there is no such file", f"check the path, or give {path.stem}, which comes with SRSoup")
    near = difflib.get_close_matches(path.stem.lower(), packaged, n=_NEAREST, cutoff=0.0)
    problem = "there is no such file, and SRSoup comes with no configuration of this name"
    raise _error(path, problem, f"check the path, or give one of the nearest names: {', '.join(near)}")


def _exists(path: Path) -> tuple[bool, bool]:
    """Whether there is something at a path, and whether it is a folder. A path that no system takes leads nowhere."""
    try:
        return path.exists(), path.is_dir()
    except (OSError, ValueError):
        return False, False


def _error(path: Path, problem: str, fix: str) -> RequestError:
    allowed = "a YAML file with the keys of a run, or the name of a configuration that comes with SRSoup"
    return RequestError(file="command line", key="CONFIG", value=str(path), problem=problem, allowed=allowed, fix=fix)
