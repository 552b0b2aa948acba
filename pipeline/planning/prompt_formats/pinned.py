"""Prompt files of a repository at a commit, each of which is checked by its SHA-256."""

from pathlib import Path

from configs.errors import RequestError
from configs.schema import PromptsConfig
from configs.sections.prompts import PromptDatasetConfig
from pipeline.planning.prompt_formats.hub_dataset import PromptsNotHereError
from rewards.errors import MissingFileError, WeightsError
from rewards.pinned_files import WeightFile, locate


def github_file(prompts: PromptsConfig) -> Path:
    """Return the file on GitHub at its commit. It is downloaded into HF_HOME if it is not there.

    Raises:
        RequestError: it is not on this machine and cannot be downloaded, or has another content.
    """
    repo, _, commit = str(prompts.github).partition("@")
    try:
        return locate(WeightFile(repo, commit, str(prompts.file), prompts.sha256, host="github"), is_weight=False)
    except WeightsError as error:
        raise _refused(
            error, str(prompts.github), "prompts.github", str(prompts.file),
            "or set prompts.file=... to your own copy and prompts.github=null prompts.sha256=null",
        ) from error  # fmt: skip


def dataset_files(dataset: PromptDatasetConfig, fetch: bool) -> list[Path]:
    """Return the files of a data set's repository, in the order of the configuration.

    Args:
        dataset: a data set with `files`.
        fetch: whether files that are not on this machine are downloaded.

    Raises:
        PromptsNotHereError: a file is not on this machine, and `fetch` is False.
        RequestError: a file cannot be downloaded, or has another content.
    """
    paths = []
    for name, sha256 in (dataset.files or {}).items():
        file = WeightFile(dataset.name, dataset.revision, name, sha256, host="dataset")
        try:
            paths.append(locate(file, is_weight=False, fetch=fetch))
        except WeightsError as error:
            if isinstance(error, MissingFileError) and not fetch:
                raise PromptsNotHereError(name) from error
            fix = "or set prompts.file=... to your own copies"
            raise _refused(error, dataset.name, "prompts.dataset.files", name, fix) from error
    return paths


def _refused(error: WeightsError, repository: str, key: str, file: str, otherwise: str) -> RequestError:
    return RequestError(
        file=repository, key=key, value=file, problem=error.problem, allowed="a file on this machine, or a network",
        fix=f"{error.fix}; {otherwise}",
    )  # fmt: skip
