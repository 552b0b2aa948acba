"""Reads the header of a safetensors file: names, dtypes and shapes of its tensors. Imports no torch.

The file begins with the length of its header (8 bytes, little endian) and the header (JSON). The rest are the numbers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from diffusion.errors import ModelError

# The longest header that safetensors itself reads.
MOST_HEADER = 100_000_000
FLOATING = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
# Bytes of one number.
_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8, "BOOL": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
}  # fmt: skip
_LFS = b"version https://git-lfs"


class TensorInfo(NamedTuple):
    """The dtype of a tensor, as safetensors names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class TensorFile(NamedTuple):
    """The header of a safetensors file: its tensors by name, and its metadata."""

    tensors: dict[str, TensorInfo]
    metadata: Mapping[str, str]


def read_tensor_file(path: Path, key: str = "model.name") -> TensorFile:
    """Return the header of a safetensors file, and check that the file holds what the header says.

    Args:
        path: the file, or a link to it.
        key: key of the configuration that names the file, for the message.

    Raises:
        ModelError: the file cannot be read, is cut short, or its header is wrong.
    """

    def refused(problem: str, fix: str = "download the file again, or save it again with safetensors") -> ModelError:
        return ModelError(f"{path} cannot be read as safetensors, because {problem}", "a safetensors file", fix, key)

    check_no_pointer(path, key)
    if not path.is_file():
        raise refused(f"{unreadable(path)}", "give the path of a regular file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise refused(f"its {size} bytes end before its header does; the file was cut short")
            if length > MOST_HEADER:
                raise refused(f"its header of {length} bytes is longer than {MOST_HEADER}")
            header = json.loads(file.read(length).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise refused(f"its header is broken: {str(error)[:200]}") from error
    if not isinstance(header, dict):
        raise refused("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise refused("the values of its metadata are no texts")
    end = _end_of_numbers(header)
    if isinstance(end, str):
        raise refused(end)
    if end != size - 8 - length:
        cut = "the file was cut short" if end > size - 8 - length else "the file has bytes that belong to no tensor"
        raise refused(f"its header describes {end} bytes of numbers and {size - 8 - length} are there; {cut}")
    tensors = {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    return TensorFile(tensors, metadata)


def check_no_pointer(path: Path, key: str = "model.name") -> None:
    """Check that Git LFS has put the file itself in the place of its pointer.

    Raises:
        ModelError: the file is a pointer.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(_LFS))
        if start == _LFS:
            raise ModelError(
                f"{path} is a pointer of Git LFS and not the file itself",
                "files with their content",
                "run `git lfs pull` in the folder of the model, or download the file from the hub",
                key,
            )


def unreadable(path: Path) -> str:
    """Return why a path is no regular file, as a clause."""
    if path.is_symlink() and not path.exists():
        return f"it is a link to {path.readlink()}, which does not exist"
    if path.is_dir():
        return "it is a folder"
    return "it is no regular file" if path.exists() else "it does not exist"


def _end_of_numbers(header: Mapping[str, Any]) -> int | str:
    """Return the bytes of numbers that a header describes, or, as a clause, what is wrong with one of its entries."""
    spans = []
    for name, entry in header.items():
        found = entry.get("dtype") if isinstance(entry, dict) else entry
        if not isinstance(entry, dict) or not isinstance(found, str) or found not in _SIZES:
            return f"the dtype of its tensor {name[:200]} is {str(found)[:50]}"
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            return f"the shape or the place of its tensor {name[:200]} is not given in whole numbers"
        if offsets[1] - offsets[0] != math.prod(shape) * _SIZES[entry["dtype"]]:
            return f"its tensor {name[:200]} of shape {shape} does not have as many bytes as it says"
        spans.append((offsets[0], offsets[1]))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            return "its tensors overlap, or have gaps between them"
        end = stop
    return end


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
