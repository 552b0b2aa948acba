"""The source of a model and its adapters: the embedded model, a local folder, or a pinned commit of the hub.

Reads files and imports no torch. A local part is identified by its content, a part of the hub by its commit.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from configs.file_digest import sha256_of
from diffusion.checks.tensor_file import read_tensor_file
from diffusion.errors import ModelError, NotHereError

EMBEDDED = "mini"
MODEL_FILES = (".json", ".safetensors", ".txt", ".model", ".jinja")
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
DEFAULT_ADAPTER_FILE = "pytorch_lora_weights.safetensors"
VAE_WEIGHTS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A LoRA on top of a model.

    Attributes:
        name: a .safetensors file or the folder of one, or, with a revision, owner/name on the hub.
        weight: factor of the adapter's change to the model's weights.
        revision: commit on the hub; None for a local file.
        file: file of the hub's repository to load.
    """

    name: str
    weight: float = 1.0
    revision: str | None = None
    file: str = DEFAULT_ADAPTER_FILE


@dataclass(frozen=True)
class Vae:
    """A VAE in place of a model's own.

    Attributes:
        name: a local folder, or, with a revision, owner/name on the hub.
        revision: commit on the hub; None for a local folder.
    """

    name: str
    revision: str | None = None


@dataclass(frozen=True)
class Source:
    """A model by its name.

    Attributes:
        name: "mini", a local folder, or, with a revision, owner/name on the hub.
        revision: commit on the hub; None for a local model.
        adapters: LoRAs, in the order in which they are loaded.
        vae: the VAE in place of the model's own; None for the model's own.
        by_reward: the names of rewards, each with the LoRA that was fine-tuned for it, for soups of models. They act
            only where a sampling mixes them.
    """

    name: str
    revision: str | None = None
    adapters: tuple[Adapter, ...] = ()
    vae: Vae | None = None
    by_reward: tuple[tuple[str, Adapter], ...] = ()

    @property
    def path(self) -> str:
        """The first argument of `from_pretrained`."""
        return self.name if self.revision else str(local_folder(self.name))


def local_folder(name: str) -> Path:
    """Return the folder of a local model: that of the embedded model for "mini", else the path itself.

    Raises:
        ModelError: the embedded model is not installed.
    """
    if name != EMBEDDED:
        return Path(name)
    spec = importlib.util.find_spec("mini")
    if spec is None or spec.origin is None:
        raise ModelError("the embedded model is not installed", "the package `mini`", "reinstall srsoup")
    return Path(spec.origin).parent / "weights" / "pipeline"


def metadata_folder(source: Source, fetch: bool = True) -> Path:
    """Return a folder with the model's configuration files (JSON). For a local model it is the model's folder.

    Args:
        source: the model.
        fetch: whether files of the hub (some kilobytes) are downloaded if they are not on this machine.

    Raises:
        NotHereError: the files are not on this machine, and `fetch` is False.
        ModelError: the hub does not give the files.
    """
    if source.revision is None:
        return local_folder(source.name)
    from huggingface_hub import snapshot_download

    with of_hub(f"{source.name} at {source.revision}", "model.name", fetch):
        folder = snapshot_download(
            source.name, revision=source.revision, allow_patterns=["*.json"], local_files_only=not fetch
        )
    if not fetch and not (Path(folder) / "model_index.json").is_file():
        raise NotHereError(source.name)
    return Path(folder)


def adapter_file(adapter: Adapter, fetch: bool = True) -> Path:
    """Return the file of an adapter.

    Args:
        adapter: the adapter.
        fetch: whether a file of the hub is downloaded if it is not on this machine.

    Raises:
        NotHereError: the file is not on this machine, and `fetch` is False.
        ModelError: the hub does not give the file.
    """
    if adapter.revision is None:
        return _in_folder(Path(adapter.name)) if Path(adapter.name).is_dir() else Path(adapter.name)
    from huggingface_hub import hf_hub_download

    options: dict[str, Any] = {"revision": adapter.revision, "local_files_only": not fetch}
    with of_hub(f"{adapter.file} of {adapter.name} at {adapter.revision}", "model.adapters", fetch):
        path = Path(hf_hub_download(adapter.name, adapter.file, **options))
        if is_of_peft(path):
            hf_hub_download(adapter.name, str(PurePosixPath(adapter.file).with_name(PEFT_CONFIG)), **options)
        return path


def is_of_peft(path: Path) -> bool:
    """Return whether peft's own `save_pretrained` wrote an adapter, so that alpha is in the file beside it.

    Raises:
        ModelError: the file cannot be read.
    """
    return any(name.startswith("base_model.model.") for name in read_tensor_file(path, "model.adapters").tensors)


def _in_folder(folder: Path) -> Path:
    """The file of an adapter that a trainer saved in a folder."""
    files = [folder / name for name in (PEFT_FILE, DEFAULT_ADAPTER_FILE) if (folder / name).is_file()]
    files = files or sorted(folder.glob("*.safetensors"))
    if len(files) != 1 and not (files and files[0].name == PEFT_FILE):
        raise ModelError(
            f"the folder {folder} holds {len(files)} files that may be the adapter",
            f"a folder with {PEFT_FILE}, {DEFAULT_ADAPTER_FILE} or one other .safetensors",
            "name the file of the adapter", "model.adapters",
        )  # fmt: skip
    return files[0]


def vae_folder(vae: Vae, fetch: bool = True) -> Path:
    """Return a folder with the configuration of a VAE. For a local VAE it is the VAE's folder.

    Args:
        vae: the VAE.
        fetch: whether the file of the hub is downloaded if it is not on this machine.

    Raises:
        NotHereError: the file is not on this machine, and `fetch` is False.
        ModelError: the hub does not give the file.
    """
    if vae.revision is None:
        return Path(vae.name)
    from huggingface_hub import hf_hub_download

    with of_hub(f"config.json of {vae.name} at {vae.revision}", "model.vae", fetch):
        file = hf_hub_download(vae.name, "config.json", revision=vae.revision, local_files_only=not fetch)
    return Path(file).parent


def model_revision(source: Source) -> str:
    """Return the identity of a model's weights, which changes if any weight does.

    Parts of the hub are identified by their commit, so nothing is downloaded.
    """
    names = [source.revision or _contents(local_folder(source.name))]
    names += [
        f"{adapter.name}@{adapter.revision}/{adapter.file}" if adapter.revision else _adapter_contents(adapter)
        for adapter in source.adapters
    ]
    for reward, adapter in source.by_reward:
        content = f"{adapter.name}@{adapter.revision}/{adapter.file}" if adapter.revision else None
        names.append(f"{reward} {content or _adapter_contents(adapter)}")
    if vae := source.vae:
        names.append(f"vae {vae.name}@{vae.revision}" if vae.revision else f"vae {_contents(Path(vae.name))}")
    return names[0] if len(names) == 1 else hashlib.sha256("\n".join(names).encode()).hexdigest()


def _adapter_contents(adapter: Adapter) -> str:
    path = adapter_file(adapter)
    beside = path.with_name(PEFT_CONFIG)
    return sha256_of(path) + (sha256_of(beside) if is_of_peft(path) and beside.is_file() else "")


def _contents(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in MODEL_FILES and path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def of_hub(what: str, key: str, fetch: bool = True) -> Iterator[None]:
    """Turn the errors of the hub, or of the way to it, into NotHereError and ModelError.

    Args:
        what: what the hub was asked for, for the message.
        key: key of the configuration that names it.
        fetch: whether downloads are allowed; if not, a file that is not on this machine is a NotHereError.
    """
    # HTTPError is the base of the errors of the library that the hub is asked with, whichever it is.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        EntryNotFoundError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except (OSError, EntryNotFoundError, HTTPError) as error:
        if not fetch and isinstance(error, LocalEntryNotFoundError):
            raise NotHereError(what) from error
        raise ModelError(
            f"the hub does not give {what}: {(str(error) or type(error).__name__).splitlines()[0]}",
            "owner/name of a repository that you may read, and one of its commits",
            "check name and revision, log in with `hf auth login` if the model is gated, or give a local copy",
            key,
        ) from error
