"""Plugins: code with rewards that its user writes.

A plugin is Python code with `REWARDS = {"name": function or class}`: a file, a folder with an `__init__.py`, or a
module. It is sent to the workers with what it imports from its own folder, so other machines need no copy, but they
need every other package that it imports.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from configs.file_digest import read_regular_file
from configs.plain.texts import described, shown
from rewards.errors import PluginError
from rewards.plugin_files import (
    MOST_BYTES,
    SentFile,
    check_name,
    digest_of,
    files_beside,
    files_of_folder,
    package_of,
    top_names,
)  # fmt: skip
from rewards.plugin_imports import make_importable, placed

TABLE = "REWARDS"


@dataclass(frozen=True)
class Plugin:
    """A plugin's source and the files that it brings with it, which are read once.

    Attributes:
        name: the name of its file, folder or module, for messages and for the record of a run.
        source: the content of the file that declares its rewards.
        files: what it brings with it; of a folder or a module, all its files.
        module: the import name of a folder or a module; empty for a file.
    """

    name: str
    source: str
    files: tuple[SentFile, ...] = ()
    module: str = ""

    @classmethod
    def read(cls, place: Path) -> "Plugin":
        """Read a file with what it imports from its folder, a folder, or a module that this process can import.

        Nothing is run. Of a module, all files of the package are read that its first part names.

        Raises:
            PluginError: it cannot be read, or is not UTF-8.
        """
        if place.is_dir():
            if not (place / "__init__.py").is_file():
                raise PluginError(f"plugin {place} has no __init__.py", f"declare {TABLE} in {place}/__init__.py")
            return cls._of_package(place.resolve(), f"{place.resolve().name}/__init__.py", place.resolve().name)
        if not place.exists() and (found := package_of(str(place))):
            return cls._of_package(*found, str(place))
        try:
            source = read_regular_file(place, MOST_BYTES).decode()
        except (OSError, ValueError) as error:
            fix = "check the path, or give the name of a module that Python finds"
            raise PluginError(f"plugin {place} cannot be read ({error})", fix) from error
        return cls(place.name, source, files_beside(source, place.parent, place.name))

    @classmethod
    def _of_package(cls, package: Path, entry: str, module: str) -> "Plugin":
        if package.is_file():
            return cls.read(package)
        check_name(package.name, package)
        files = files_of_folder(package)
        try:
            return cls(module, dict(files)[entry].decode(), files, module)
        except UnicodeDecodeError as error:
            raise PluginError(f"plugin {module}: {entry} is not UTF-8", "save it as UTF-8") from error

    @property
    def sha256(self) -> str:
        """The SHA-256 of the source, or of all files by their paths if there are several, 64 hexadecimal digits."""
        if not self.files:
            return hashlib.sha256(self.source.encode()).hexdigest()
        return digest_of(self.sent)

    @property
    def sent(self) -> tuple[SentFile, ...]:
        """All files, the one that declares the rewards included."""
        return self.files if self.module else ((self.name, self.source.encode()), *self.files)

    def load(self) -> Mapping[str, Callable[..., Any]]:
        """Run the source as its own module, and return its table `REWARDS`.

        Raises:
            PluginError: the source does not run, or has no table of names with functions or classes.
        """
        try:
            module = self._imported()
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:
            # A plugin that calls sys.exit() would end the command as if all were done.
            raise PluginError(
                f"plugin {self.name} does not run: {described(error)}",
                "correct the file, or install what it imports on every machine that queries its rewards",
            ) from error
        table: Any = getattr(module, TABLE, None)
        if not _is_table(table):
            raise PluginError(
                f"plugin {self.name}: {TABLE} is {shown(table)}",
                f'set {TABLE} = {{"name": function or class}}, see docs/own_reward.md',
            )
        declared: Mapping[str, Callable[..., Any]] = table
        return declared

    def _imported(self) -> ModuleType:
        if self.files:
            make_importable(top_names(self.files), placed(self.sent, self.sha256))
        if self.module:
            return import_module(self.module)
        module = ModuleType(f"srsoup_plugin_{self.sha256[:16]}")
        # An import does the same. Without it dataclasses and pickle do not find the module of its classes.
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.source, self.name, "exec"), module.__dict__)
        except BaseException:
            sys.modules.pop(module.__name__, None)
            raise
        return module


def _is_table(table: object) -> bool:
    """Whether this is a mapping, not empty, of names to functions or classes."""
    if not isinstance(table, dict) or not table:
        return False
    return all(isinstance(k, str) and k.isprintable() and k.strip() and callable(v) for k, v in table.items())
