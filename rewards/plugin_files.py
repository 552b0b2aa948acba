"""The Python files and data that a plugin brings with it: what lies beside it on the machine that starts the run.

Files are read without running them, sent with the plugin, and written into the cache of the machine that loads it.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from configs.file_digest import read_regular_file
from rewards.errors import PluginError

MOST_BYTES = 4_000_000
MOST_FILES = 1_000
# The import names of SRSoup itself, which no file of a plugin may take.
_OURS = frozenset({"actors", "configs", "diffusion", "evaluation", "mini", "pipeline", "rewards", "srsoup"})

SentFile = tuple[str, bytes]
"""A path with `/`, relative to the folder that Python searches, and the content."""


def files_of_folder(folder: Path) -> tuple[SentFile, ...]:
    """Read all files of a folder, as `NAME/...` in the order of their paths, but for hidden ones and Python's caches.

    Links are not followed out of the folder: a link to a folder is left out.

    Raises:
        PluginError: the folder has more than `MOST_FILES` files or `MOST_BYTES` bytes, or one cannot be read.
    """
    paths = list[Path]()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        paths += [Path(place, name) for name in names if not name.startswith(".") and not name.endswith(".pyc")]
        if len(paths) > MOST_FILES:
            raise PluginError(
                f"plugin {folder} has more than {MOST_FILES:,} files", "give the folder that holds the code alone"
            )
    return _read_all(folder.name, ((path.relative_to(folder.parent), path) for path in sorted(paths)))


def files_beside(source: str, folder: Path, own_name: str) -> tuple[SentFile, ...]:
    """Read what a file imports from its own folder: modules `NAME.py`, with what they import, and packages `NAME/`.

    Raises:
        PluginError: such a file is named like a package that is installed, so that it is not clear which one is meant.
    """
    found = dict[str, Path]()
    packages = dict[str, Path]()
    sources = [source]
    while sources:
        for name in _imported(sources.pop()):
            module, package = folder / f"{name}.py", folder / name
            if name in found or name in packages or module.name == own_name:
                continue
            if package.is_dir() and any(package.glob("*.py")):
                packages[name] = package
                sources += [_text(path) for path in sorted(package.rglob("*.py"))]
            elif module.is_file():
                found[name] = module
                sources.append(_text(module))
            else:
                continue
            check_name(name, place := module if name in found else package)
            if _elsewhere(name, place):
                raise PluginError(f"{place} of the plugin has the name of an installed package", f"rename {place}")
    modules = _read_all(own_name, ((PurePosixPath(path.name), path) for path in found.values()))
    return tuple(sorted((*modules, *(file for path in packages.values() for file in files_of_folder(path)))))


def package_of(module: str) -> tuple[Path, str] | None:
    """Return the folder or the file of a module's first part, and the path of the module itself below its parent.

    Only the first part is looked up, so that no code runs: `a.b` is `a/b.py` or `a/b/__init__.py`.

    Returns:
        (folder `a`, "a/b.py"), (file `a.py`, "a.py"), or None if there is no such module.
    """
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    try:
        spec = find_spec(parts[0])
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return (origin, origin.name) if len(parts) == 1 and origin.suffix == ".py" else None
    home = origin.parent.parent
    for path in (PurePosixPath(*parts).with_suffix(".py"), PurePosixPath(*parts, "__init__.py")):
        if (home / path).is_file():
            return origin.parent, str(path)
    return None


def digest_of(files: Iterable[SentFile]) -> str:
    """Return the SHA-256 of the lines `SHA-256 path` of all files, in the order of their paths."""
    lines = (f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def top_names(files: Iterable[SentFile]) -> set[str]:
    """Return the names by which the files are imported: `a` of `a/b.py`, `c` of `c.py`."""
    return {PurePosixPath(path).parts[0].removesuffix(".py") for path, _ in files}


def _imported(source: str) -> Iterator[str]:
    """Yield the first part of each name that a source imports. One that is no Python is reported when it is run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def check_name(name: str, path: Path) -> None:
    """Check that no module of Python or of SRSoup has this import name.

    Raises:
        PluginError: one has.
    """
    if name in _OURS or name in sys.stdlib_module_names:
        raise PluginError(f"{path} of the plugin has the name of a package of Python or of SRSoup", f"rename {path}")


def _elsewhere(name: str, path: Path) -> bool:
    """Whether Python finds a module of this name in another place than beside the plugin."""
    spec = PathFinder.find_spec(
        name, [place for place in sys.path if Path(place or ".").resolve() != path.parent.resolve()]
    )
    return spec is not None and spec.origin is not None


def _read_all(plugin: str, files: Iterable[tuple[PurePosixPath | Path, Path]]) -> tuple[SentFile, ...]:
    read, left = list[SentFile](), MOST_BYTES
    for relative, path in files:
        try:
            content = read_regular_file(path, left)
        except OSError as error:
            raise PluginError(
                f"plugin {plugin}: {path} cannot be sent ({error.strerror})",
                f"keep its files under {MOST_BYTES:,} bytes in all, and load larger ones in `setup` from a place that "
                "all machines see",
            ) from error
        left -= len(content)
        read.append((relative.as_posix(), content))
    return tuple(read)


def _text(path: Path) -> str:
    try:
        return read_regular_file(path, MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return ""
