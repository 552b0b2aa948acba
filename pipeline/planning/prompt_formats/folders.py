"""The files that a path stands for: a single file, the files of a folder, or the matches of a pattern."""

import glob
import os
import re
from pathlib import Path

from pipeline.planning.prompt_formats.formats import FORMATS, suffix_of
from pipeline.planning.prompt_formats.rows import WrongFileError

# Files of these names have text, but no prompts.
_DOCUMENTS = {"changelog", "classes", "license", "licence", "notice", "readme", "requirements"}
# The names that data sets give to the files of a split.
_SPLIT = re.compile(r"(train|test|val|valid|validation|dev|eval)(-\d+-of-\d+(-\w+)?)?\.", re.IGNORECASE)


def prompt_files(path: Path) -> list[Path]:
    """Return the files of a path, sorted by name; the path itself if it is neither a folder nor a pattern.

    Raises:
        WrongFileError: no file is found, or the files differ in format or belong to several splits.
    """
    if "\0" in str(path):
        raise WrongFileError("its path has a NUL character", "correct the path")
    if path.is_dir():
        paths = [file for file in sorted(path.iterdir()) if not file.name.startswith((".", "_")) and not file.is_dir()]
        return _of_one_format(paths, f"the folder {path}", f"give a pattern, such as {path / '*.txt'}")
    if not glob.has_magic(str(path)) or os.path.lexists(path):
        return [path]
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    files = [file for file in found if not file.is_dir()]
    if unknown := next((file for file in files if suffix_of(file) not in FORMATS), None):
        raise WrongFileError(
            f"the pattern matches {unknown}, whose suffix belongs to no known format", "narrow the pattern"
        )
    return _of_one_format(files, f"the pattern {path}", "correct the pattern; ** matches folders at any depth")


def _of_one_format(paths: list[Path], where: str, fix: str) -> list[Path]:
    files = [path for path in paths if suffix_of(path) in FORMATS]
    if not files:
        raise WrongFileError(f"{where} has no file of a known format", fix)
    formats = {suffix_of(file): file for file in files}
    if len(formats) > 1:
        shown = " and ".join(file.name for file in list(formats.values())[:2])
        raise WrongFileError(f"{where} has files of different formats: {shown}", fix)
    if document := next((file for file in files if file.stem.lower() in _DOCUMENTS), None):
        raise WrongFileError(f"{where} has {document.name}, which seems to have no prompts", fix)
    splits = {match[1].lower(): file for file in files if (match := _SPLIT.match(file.name))}
    if len(splits) > 1:
        shown = " and ".join(file.name for file in list(splits.values())[:2])
        raise WrongFileError(
            f"{where} has files of different splits: {shown}", "give the files of one split by a pattern"
        )
    return files
