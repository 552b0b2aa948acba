"""Where a model and its adapters come from: the embedded one, a local folder, or a pinned commit of the hub.

Reads files; imports no torch. A local part is named by its contents, one of the hub by its commit.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs.file_digest import sha256_of
from diffusion.errors import ModelError, NotHereError

EMBEDDED = "mini"
MODEL_FILES = (".json", ".safetensors", ".txt", ".model")
DEFAULT_ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A LoRA on top of a model.

    Attributes:
        name: a .safetensors file, or, with a revision, owner/name on the hub.
        weight: its factor.
        revision: commit on the hub; None is a local file.
        file: which file of the hub's repository.
    """

    name: str
    weight: float = 1.0
    revision: str | None = None
    file: str = DEFAULT_ADAPTER_FILE


@dataclass(frozen=True)
class Source:
    """A model by name.

    Attributes:
        name: "mini", a local folder, or, with a revision, owner/name on the hub.
        revision: commit on the hub; None is local.
        adapters: in the order in which they are loaded.
    """

    name: str
    revision: str | None = None
    adapters: tuple[Adapter, ...] = ()

    @property
    def path(self) -> str:
        """What `from_pretrained` is given."""
        return self.name if self.revision else str(local_folder(self.name))


def local_folder(name: str) -> Path:
    """The folder of a local model: of the embedded one for "mini", else the path itself."""
    if name != EMBEDDED:
        return Path(name)
    spec = importlib.util.find_spec("mini")
    if spec is None or spec.origin is None:
        raise ModelError("the embedded model is not installed", "the package `mini`", "install srsoup again, whole")
    return Path(spec.origin).parent / "weights" / "pipeline"


def metadata_folder(source: Source, fetch: bool = True) -> Path:
    """A folder with the model's configuration files (JSON); a local model's own.

    Args:
        fetch: get a hub model's files, kilobytes, where they are not on this machine.

    Raises:
        NotHereError: they are not here, and not to be fetched.
        ModelError: the hub does not give them.
    """
    if source.revision is None:
        return local_folder(source.name)
    from huggingface_hub import snapshot_download

    with _of_hub(f"{source.name} at {source.revision}", "model.name", fetch):
        folder = snapshot_download(
            source.name, revision=source.revision, allow_patterns=["*.json"], local_files_only=not fetch
        )
    if not fetch and not (Path(folder) / "model_index.json").is_file():
        raise NotHereError(source.name)
    return Path(folder)


def adapter_file(adapter: Adapter, fetch: bool = True) -> Path:
    """The file of an adapter; arguments and errors as of `metadata_folder`."""
    if adapter.revision is None:
        return Path(adapter.name)
    from huggingface_hub import hf_hub_download

    with _of_hub(f"{adapter.file} of {adapter.name} at {adapter.revision}", "model.adapters", fetch):
        return Path(hf_hub_download(adapter.name, adapter.file, revision=adapter.revision, local_files_only=not fetch))


def model_revision(source: Source) -> str:
    """What names the weights: any change of one changes it. Hub parts go by commit, so nothing is downloaded."""
    names = [source.revision or _contents(local_folder(source.name))]
    names += [
        f"{adapter.name}@{adapter.revision}/{adapter.file}" if adapter.revision else sha256_of(Path(adapter.name))
        for adapter in source.adapters
    ]
    return names[0] if len(names) == 1 else hashlib.sha256("\n".join(names).encode()).hexdigest()


def _contents(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in MODEL_FILES):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def _of_hub(what: str, key: str, fetch: bool) -> Iterator[None]:
    """Turn the hub's errors into ours."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        yield
    except (OSError, EntryNotFoundError) as error:
        if not fetch and isinstance(error, LocalEntryNotFoundError):
            raise NotHereError(what) from error
        raise ModelError(
            f"the hub does not give {what}: {str(error).splitlines()[0]}",
            "owner/name of a repository that you may read, at a commit of it",
            "check name and revision, log in with `hf auth login` where the model is gated, or give a local copy",
            key,
        ) from error
