"""The section `surrogate`: a learned stand-in for the rewards, as control variate of the search gradients."""

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel


class SurrogateConfig(StrictModel):
    """A small network that predicts the rewards from the look-ahead latents, and whose gradient guides too.

    Without `file` it is trained in rounds of fronts, by the order of their keys. The first round has no surrogate, and
    queries `queries` (N) candidates. Each further round uses the surrogate that was trained on the rounds before it.
    """

    file: str | None = Field(
        None,
        min_length=1,
        description="a trained surrogate: the path of a .safetensors file, such as "
        "runs/NAME/surrogate/round-3.safetensors of another run of the same model and rewards, or the name of one that "
        "comes with SRSoup; null trains one in this run",
    )
    queries: int = Field(
        2, ge=0, le=10_000, description="N of the fronts that have a surrogate; 0 guides by the surrogate alone"
    )
    unbiased: bool = Field(
        True,
        description="true adds what the queries tell about the surrogate's error, so that the gradient is unbiased; "
        "false moves along the surrogate's gradient alone, and the queries serve to train it",
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="guidance.strength of the fronts that have a surrogate; null for the same as the other fronts",
    )
    fronts: int = Field(
        1,
        ge=1,
        le=1000,
        description="number of fronts that are guided with the surrogate for each prompt; each weighting keeps one "
        "sample of them all",
    )
    keep: Literal["weighted", "spread"] = Field(
        "weighted",
        description="which sample of several fronts a weighting keeps: weighted takes the best one by its weighted sum "
        "of the rewards; spread takes different samples with a large joint hypervolume, and needs one-hot weights of "
        "every reward",
    )
    rows: int = Field(
        1,
        ge=1,
        le=1000,
        description="number of weightings whose gradients of the surrogate one backward pass computes: more take less "
        "time and more memory, and the last bits of the results depend on it",
    )
    rounds: int = Field(
        4, ge=1, le=20, description="number of rounds; each has twice as many fronts as the one before it, and the "
        "last one has all that are left; without effect if file is given",
    )  # fmt: skip
    first_round: int = Field(8, ge=1, le=1_000_000, description="number of fronts in the first round")
    pairs: int = Field(
        4, ge=2, le=10_000, description="number of candidates of each row and step that are kept to train with"
    )

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have no effect, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if self.fronts == 1:
            data.pop("fronts", None)
        if self.keep == "weighted":
            data.pop("keep", None)
        if self.rows == 1:
            data.pop("rows", None)
        return data

    @model_validator(mode="after")
    def _check_keep(self) -> Self:
        if self.keep != "weighted" and self.fronts == 1:
            raise InvalidValueError(
                "surrogate.fronts is 1, so each weighting keeps its own sample",
                "set surrogate.fronts to 2 or more, or leave surrogate.keep out",
                "surrogate.keep",
            )
        return self

    @model_validator(mode="after")
    def _check_queries(self) -> Self:
        if self.queries == 1:
            raise InvalidValueError(
                "surrogate.queries is 1, and a single candidate cannot be compared with others",
                "set it to 0 or to 2 or more",
                "surrogate.queries",
            )
        if self.queries and self.file is not None and not self.unbiased:
            raise InvalidValueError(
                f"surrogate.queries is {self.queries}, but with a file and unbiased=false nothing would use them",
                "set surrogate.queries=0, or surrogate.unbiased=true",
                "surrogate.queries",
            )
        if self.queries == 0 and self.file is None and self.rounds > 2:
            raise InvalidValueError(
                f"surrogate.queries is 0, so only the first of the {self.rounds} rounds has rewards to train with",
                "set surrogate.rounds=2, or surrogate.queries to 2 or more",
                "surrogate.rounds",
            )
        return self
