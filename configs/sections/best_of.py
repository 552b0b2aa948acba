"""The section `best_of`: how many unguided samples are drawn, and which of them are kept."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel


class BestOfConfig(StrictModel):
    """How many unguided samples best_of chooses from, and how."""

    samples: Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        "auto",
        description="number of unguided samples to choose from; auto takes as many as SRSoup's queries of the same "
        "configuration can score",
    )
    keep: Literal["weighted", "spread"] = Field(
        "weighted",
        description="which sample a weighting keeps: weighted takes the best one by its weighted sum of the rewards; "
        "spread takes different samples with a large joint hypervolume, and needs one-hot weights of every reward",
    )
    generations: int = Field(
        1,
        ge=1,
        le=100,
        description="number of generations that the samples are drawn in: those after the first start from mutated "
        "noises of the best samples so far, an evolutionary search",
    )
    mutation: float = Field(
        0.5, gt=0, le=1, description="share of fresh noise in the noise that a sample of a later generation starts from"
    )

    @model_validator(mode="after")
    def _check_generations(self) -> Self:
        if self.samples != "auto" and self.generations > self.samples:
            raise InvalidValueError(
                f"best_of.generations is {self.generations}, but there are only {self.samples} samples",
                f"set it to {self.samples} or less, or set more best_of.samples",
                "best_of.generations",
            )
        if self.mutation != 0.5 and self.generations == 1:
            raise InvalidValueError(
                "best_of.generations is 1, so no noise is mutated",
                "set best_of.generations to 2 or more, or leave best_of.mutation out",
                "best_of.mutation",
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys at their defaults, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if self.keep == "weighted":
            data.pop("keep", None)
        if self.generations == 1:
            data.pop("generations", None)
            data.pop("mutation", None)
        return data
