"""Finds weight files in a local folder, an installed package or a cache, or downloads them. Each file is checked."""

import hashlib
import os
import shlex
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from configs.file_digest import sha256_of
from rewards.errors import MissingFileError, WeightsError

# The environment variable that names a folder. It is searched first, for <owner>/<repository>/<file>.
LOCAL_FOLDER = "SRSOUP_WEIGHTS"
DOWNLOAD_SECONDS = 60.0
GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class WeightFile:
    """One file of one revision of a repository, or of one version of a package.

    Attributes:
        repo: "owner/repository"; for a package its name, which is also the name of its folder.
        revision: full commit hash; for a package its version.
        name: path of the file in the repository, or in the package's folder.
        sha256: SHA-256 of the file's content; None if it is not known. Such a file is only read from the hub's cache,
            and only if its content is the one that the hub records for the revision.
        host: site that has the repository; "dataset" is a data set's repository on the Hugging Face hub.

    Raises:
        WeightsError: the repository or the name would lead out of the folder that the file is kept in.
    """

    repo: str
    revision: str
    name: str
    sha256: str | None
    host: Literal["huggingface", "dataset", "github", "pypi"] = "huggingface"

    def __post_init__(self) -> None:
        # Both become parts of paths. The file that they name is never outside the cache or the user's folder.
        for text in (self.repo, self.name):
            if any(part in ("", ".", "..") for part in text.split("/")):
                raise WeightsError(
                    f"{text!r} is not a path within a repository", "write it relative to the top, without . and .."
                )

    @property
    def path(self) -> str:
        """The repository and the name: owner/repository/name."""
        return f"{self.repo}/{self.name}"

    @property
    def download_command(self) -> str:
        """The command that downloads the file, on a machine that has a network."""
        if self.host == "huggingface":
            return f"hf download {self.repo} {self.name} --revision {self.revision}"
        if self.host == "dataset":
            return f"hf download {self.repo} {self.name} --repo-type dataset --revision {self.revision}"
        if self.host == "pypi":
            return f"pip install {self.repo}=={self.revision}"
        place = shlex.quote(self.path)
        return f'curl --create-dirs -L -o "${LOCAL_FOLDER}"/{place} {self.url}'

    @property
    def url(self) -> str:
        """The address of a file on GitHub, at the revision."""
        return f"{GITHUB}/{self.repo}/{self.revision}/{urllib.parse.quote(self.name)}"

    def __str__(self) -> str:
        kind = "version" if self.host == "pypi" else "revision"
        return f"{self.name} of {self.repo} ({kind} {self.revision})"


class _OtherContentError(WeightsError):
    """A file whose SHA-256, `found`, is not the expected one."""

    def __init__(self, problem: str, fix: str, found: str) -> None:
        super().__init__(problem, fix)
        self.found = found


_accepted: ContextVar[Mapping[str, str]] = ContextVar("_accepted", default=MappingProxyType({}))


@contextmanager
def accepting(digests: Mapping[str, str]) -> Iterator[None]:
    """Have `locate` expect other contents than the pinned ones, which the user has named.

    Args:
        digests: SHA-256 by the file's name, or by owner/repository/name. The file must then have this content: the
            pinned one is not accepted beside it, because the same configuration must give the same scores everywhere.
    """
    token = _accepted.set(digests)
    try:
        yield
    finally:
        _accepted.reset(token)


def accepted_digest(file: WeightFile, digests: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that the user has named for a file; None if the pinned one holds."""
    return digests.get(file.path, digests.get(file.name))


def locate(file: WeightFile, *, is_weight: bool = True, fetch: bool = True) -> Path:
    """Return the path of a file, after a check of its content.

    The folder of the environment variable SRSOUP_WEIGHTS is searched first, then the cache of HF_HOME. A file that is
    in neither is downloaded into that cache, unless HF_HUB_OFFLINE is set. The file of a package is read from the
    installed package.

    Args:
        is_weight: whether the file belongs to a reward, so that the user may accept another content; see `accepting`.
        fetch: whether a file of the hub is downloaded if it is not on this machine.

    Raises:
        MissingFileError: the file is not on this machine, and cannot be downloaded or was not to be.
        WeightsError: its SHA-256 is not the expected one, or not known.
    """
    if is_weight:
        file = replace(file, sha256=accepted_digest(file, _accepted.get()) or file.sha256)
    try:
        return _located(file, fetch)
    except _OtherContentError as error:
        hint = (
            f"; if it is the file that you mean, accept it by rewards.accept_sha256='{{{file.path}: {error.found}}}', "
            f"or by --accept-sha256 {file.path}={error.found} where no configuration is read"
        )
        raise WeightsError(error.problem, error.fix + hint * is_weight) from error


def _located(file: WeightFile, fetch: bool) -> Path:
    local = _in_local_folder(file)
    if local is None:
        if file.host in ("huggingface", "dataset"):
            path = _from_huggingface(file, fetch)
        else:
            path = {"github": _from_github, "pypi": _from_package}[file.host](file)
        _check(file, path, file.sha256 or _recorded_sha256(file, path))
        return path
    if file.sha256 is None:
        raise WeightsError(
            f"{local}: the SHA-256 of {file} is not known here, so a copy in {LOCAL_FOLDER} cannot be checked",
            f"remove it and run `{file.download_command}`",
        )
    _check(file, local, file.sha256)
    return local


def in_package(file: WeightFile) -> Path | None:
    """Return the path of a file in its package, without running the package; None if either is missing."""
    spec = find_spec(file.repo)
    places = (spec.submodule_search_locations if spec else None) or ()
    return next((path for place in places if (path := Path(place) / file.name).is_file()), None)


def _check(file: WeightFile, path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise _OtherContentError(
            f"{path}: this is not the expected {file}: its SHA-256 is {found}, not {expected}",
            f"remove it, and download it again with `{file.download_command}`",
            found,
        )


def _in_local_folder(file: WeightFile) -> Path | None:
    folder = os.environ.get(LOCAL_FOLDER)
    path = Path(folder) / file.path if folder else None
    return path if path is not None and path.is_file() else None


def _recorded_sha256(file: WeightFile, path: Path) -> str:
    """The SHA-256 that the hub records for a large file: the name of the file's blob in the cache."""
    recorded = path.resolve().name
    if len(recorded) != hashlib.sha256().digest_size * 2:
        raise WeightsError(
            f"{path}: the hub's cache has no SHA-256 of {file}", f"remove it, and run `{file.download_command}`"
        )
    return recorded


def _from_huggingface(file: WeightFile, fetch: bool) -> Path:
    # Imported here, because the import takes a second and rewards without weights do not need it.
    from huggingface_hub import hf_hub_download

    try:
        kind = "dataset" if file.host == "dataset" else "model"
        options: dict[str, Any] = {"revision": file.revision, "repo_type": kind, "local_files_only": not fetch}
        return Path(hf_hub_download(file.repo, file.name, **options))
    except (OSError, ValueError) as error:
        raise _missing(file, error) from error


def _from_github(file: WeightFile) -> Path:
    from huggingface_hub import constants

    if file.sha256 is None:
        raise WeightsError(f"{file} is on GitHub, and has no SHA-256 to check it by", "give its SHA-256")
    path = Path(constants.HF_HOME) / "srsoup" / file.sha256 / file.name
    if path.is_file():
        return path
    if constants.HF_HUB_OFFLINE:
        raise _missing(file, OSError("HF_HUB_OFFLINE is set"))
    try:
        _download(file, path)
    except OSError as error:
        raise _missing(file, error) from error
    return path


def _from_package(file: WeightFile) -> Path:
    if file.sha256 is None:
        raise WeightsError(f"{file} is in a package, and has no SHA-256 to check it by", "give its SHA-256")
    path = in_package(file)
    if path is None:
        raise _missing(file, OSError("the package is not installed"))
    return path


def _download(file: WeightFile, path: Path) -> None:
    """Download a file into a temporary file beside it, check it, and rename it. A failure leaves no file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        try:
            with urllib.request.urlopen(file.url, timeout=DOWNLOAD_SECONDS) as answer:
                shutil.copyfileobj(answer, part, 1 << 20)
            part.flush()
            os.fsync(part.fileno())
            _check(file, Path(part.name), str(file.sha256))
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def _missing(file: WeightFile, error: Exception) -> MissingFileError:
    reason = str(error).strip().splitlines()
    digest = f", SHA-256 {file.sha256}" if file.sha256 else ""
    return MissingFileError(
        f"{file}{digest} is not on this machine and was not downloaded "
        f"({type(error).__name__}: {reason[0] if reason else ''})",
        f"run `{file.download_command}` on a machine with a network, "
        f"or set {LOCAL_FOLDER} to a folder that holds {file.repo}/{file.name}",
    )
