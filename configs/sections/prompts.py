"""The section `prompts`: the source of the prompts."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from configs.errors import InvalidValueError
from configs.strict_model import Commit, Names, StrictModel, check_hub_name, check_repository_path

SOURCES = ("file", "list", "dataset", "packaged")
"""The keys of which exactly one says where the prompts are."""
PLACE = "{prompt}"
"""Where a template has the prompt."""
_LONGEST_TEMPLATE = 10_000


class PromptDatasetConfig(StrictModel):
    """A data set on the Hugging Face hub: a split of it, or files of its repository, which are pinned by SHA-256.

    One of its columns holds the prompts, and another one may hold tags.
    """

    name: str = Field(description="owner/name of the data set on the hub")
    revision: Commit = Field(description="commit of the data set, 40 hexadecimal digits")
    split: str | None = Field(
        None, pattern=r"^\w+(\.\w+)*$", description="split to read, such as train; null if files is given"
    )
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] | None = Field(
        None,
        description="files to read in place of a split, in this order: the path of each in the repository, and its "
        "SHA-256; they have the formats of prompts.file, and need no package `datasets`",
    )
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
        if (self.split is None) == (self.files is None) or (self.files is not None and self.subset is not None):
            raise InvalidValueError(
                "a data set is read by a split, and perhaps a subset, or by files",
                "give one of split and files, and subset with a split only",
                "prompts.dataset",
            )
        if self.files is not None and not self.files:
            raise InvalidValueError("there are no files", "name at least one", "prompts.dataset.files")
        for file in self.files or ():
            check_repository_path("prompts.dataset.files", file)
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        for key in ("tags", "files"):
            if getattr(self, key) is None:
                data.pop(key, None)
        return data


class PromptsConfig(StrictModel):
    """Where the prompts come from: files, a data set on the hub, a packaged list, or a list in the configuration."""

    file: str | None = Field(
        None,
        min_length=1,
        description="path of a prompt file: .txt, .json, .jsonl, .ndjson, .csv, .tsv, each also with .gz, or .parquet; "
        "or a folder or a pattern of such files; null if another source is given",
    )
    list: Names | None = Field(None, description="the prompts themselves; null if another source is given")
    dataset: PromptDatasetConfig | None = Field(
        None, description="data set on the hub with the prompts, whose splits need srsoup[datasets]; null if another "
        "source is given",
    )  # fmt: skip
    packaged: Literal["imagenet"] | None = Field(
        None,
        description="a list that comes with SRSoup: imagenet is the names of the 1,000 classes of ILSVRC 2012; null if "
        "another source is given",
    )
    synonyms: Literal["first", "all"] = Field(
        "first", description="which names of each class of the packaged list are prompts: the first one, or all"
    )
    template: str | None = Field(
        None,
        max_length=_LONGEST_TEMPLATE,
        description=f"text around every prompt, with {PLACE} once, such as 'a photo of {PLACE}'; all else in it, also "
        "other braces, is plain text; null for the prompts alone",
    )
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

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: str | None) -> str | None:
        if template is not None and (times := template.count(PLACE)) != 1:
            raise InvalidValueError(
                f"the template has {PLACE} {times} times", f"write {PLACE} once, where the prompt belongs"
            )
        return template

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [key for key in SOURCES if getattr(self, key) is not None]
        if len(given) != 1:
            raise InvalidValueError(
                f"prompts has {' and '.join(given) or 'none of file, list, dataset and packaged'}",
                "give exactly one of prompts.file, prompts.list, prompts.dataset and prompts.packaged",
                "prompts",
            )
        if self.synonyms != "first" and self.packaged is None:
            raise InvalidValueError(
                "prompts.synonyms is for a packaged list, and the prompts are not those of one",
                "give prompts.packaged, or leave prompts.synonyms out",
                "prompts.synonyms",
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

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        for key in ("packaged", "template"):
            if getattr(self, key) is None:
                data.pop(key, None)
        if self.packaged is None:
            data.pop("synonyms", None)
        return data
