"""The section `prompts`: the source of the prompts."""

from typing import Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from configs.errors import InvalidValueError
from configs.strict_model import Commit, Names, StrictModel, check_hub_name, check_repository_path


class PromptDatasetConfig(StrictModel):
    """A data set on the Hugging Face hub. One of its columns holds the prompts, and another one may hold tags."""

    name: str = Field(description="owner/name of the data set on the hub")
    revision: Commit = Field(description="commit of the data set, 40 hexadecimal digits")
    split: str = Field(pattern=r"^\w+(\.\w+)*$", description="split to read, such as train")
    column: str | None = Field(None, description="column with the prompts; null looks for a usual name")
    tags: str | None = Field(
        None, description="column with the tags of a prompt, a text or a list of texts; null reads no tags"
    )
    subset: str | None = Field(
        None, pattern=r"^[\w.-]+$", description="subset (configuration) of the data set; null if it has one only"
    )

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        check_hub_name("prompts.dataset.name", self.name, self.revision)
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `tags` if it is not set, so that runs of versions without it can be continued."""
        data: dict[str, Any] = serialise(self)
        if self.tags is None:
            data.pop("tags", None)
        return data


class PromptsConfig(StrictModel):
    """Where the prompts come from: files, a data set on the hub, or a list in the configuration itself."""

    file: str | None = Field(
        None,
        min_length=1,
        description="path of a prompt file: .txt, .json, .jsonl, .ndjson, .csv, .tsv, each also with .gz, or .parquet; "
        "or a folder or a pattern of such files; null if list or dataset is given",
    )
    list: Names | None = Field(None, description="the prompts themselves; null if file or dataset is given")
    dataset: PromptDatasetConfig | None = Field(
        None, description="data set on the hub with the prompts, which needs srsoup[datasets]; null if file or list is "
        "given",
    )  # fmt: skip
    github: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$",
        description="owner/repository@commit (40 hexadecimal digits) that file is a path in; it is downloaded once; "
        "needs sha256",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file on GitHub, 64 hexadecimal digits"
    )
    column: str | None = Field(
        None, description="column or field of the file that holds the prompts; null looks for a usual name"
    )
    tags: str | None = Field(
        None,
        description="column or field of the file with the tags of a prompt, a text or a list of texts, by which the "
        "report has results too; null looks for tags or tag, and takes the names of several files",
    )
    limit: int | None = Field(None, ge=1, description="number of prompts to take from the start; null takes all")
    skip_empty: bool = Field(
        False, description="leave out rows whose prompt is missing or blank; otherwise such a row is an error"
    )

    @field_validator("list")
    @classmethod
    def _check_list(cls, prompts: Names | None) -> Names | None:
        if prompts is not None and not prompts:
            raise InvalidValueError("there are no prompts", "give at least one")
        return prompts

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [key for key in ("file", "list", "dataset") if getattr(self, key) is not None]
        if len(given) != 1:
            raise InvalidValueError(
                f"prompts has {' and '.join(given) or 'none of file, list and dataset'}",
                "give exactly one of prompts.file, prompts.list and prompts.dataset",
                "prompts",
            )
        if self.dataset and self.column is not None:
            raise InvalidValueError(
                "prompts.column is the column of a file, and the prompts are those of a data set",
                "give prompts.dataset.column instead",
                "prompts.column",
            )
        if self.tags is not None and self.file is None:
            raise InvalidValueError(
                "prompts.tags is the column of a file, and the prompts are not those of a file",
                "give prompts.dataset.tags instead" if self.dataset else "give prompts.file, or leave prompts.tags out",
                "prompts.tags",
            )
        if (self.github is None) != (self.sha256 is None) or (self.github is not None and self.file is None):
            raise InvalidValueError(
                "prompts.github, sha256 and file go together, and one of them is missing",
                "give prompts.file, prompts.github and prompts.sha256",
                "prompts",
            )
        if self.github is not None and self.file is not None:
            check_repository_path("prompts.file", self.file)
            check_repository_path("prompts.github", self.github)
        return self
