"""The sections `rewards` and `report`."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from configs.errors import InvalidValueError
from configs.sections.judge import JudgeConfig
from configs.sections.reward_server import RewardServerConfig
from configs.strict_model import Names, StrictModel
from configs.weights import MOST_REWARDS


class RewardsConfig(StrictModel):
    """The rewards by name, in the order of the weights. For every reward, higher is better."""

    guided: Names = Field(description="names of the M rewards that guide the samples, in the order of the weights")
    held_out: Names = Field((), description="names of rewards that only score the final images")
    judge: JudgeConfig | None = Field(
        None, description="endpoint and question of the reward vlm_judge; null if vlm_judge is not named"
    )
    servers: dict[str, RewardServerConfig] = Field(
        {}, description="rewards that servers compute: the name of each, and its server"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="precision in which the networks of rewards compute products and convolutions: tf32 is faster on "
        "GPUs since Ampere, bfloat16 on these and on CPUs with avx512_bf16 or AMX; scores change in the third digit",
    )
    accept_sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        {},
        description="SHA-256 of weight files that are accepted instead of the pinned ones, by the file's name or by "
        "owner/repository/name",
    )

    @field_validator("guided")
    @classmethod
    def _check_guided(cls, guided: Names) -> Names:
        if not guided:
            raise InvalidValueError("there is no reward", "name at least one")
        return guided

    @field_validator("guided", "held_out")
    @classmethod
    def _check_number(cls, names: Names) -> Names:
        if len(names) > MOST_REWARDS:
            raise InvalidValueError(f"there are {len(names):,} rewards", f"name at most {MOST_REWARDS}")
        return names

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = (*self.guided, *self.held_out)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            role = "guided" if len(set(self.guided)) < len(self.guided) else "held_out"
            raise InvalidValueError(
                f"{', '.join(twice)} is named twice", "name each reward once, guided or held out", f"rewards.{role}"
            )
        if unused := [name for name in self.servers if name not in names]:
            raise InvalidValueError(
                f"{unused[0]} has a server, and is neither guided nor held out",
                "name it in rewards.guided or rewards.held_out, or remove its server",
                f"rewards.servers.{unused[0]}",
            )
        if ("vlm_judge" in names) != (self.judge is not None):
            raise InvalidValueError(
                "rewards.judge is set and vlm_judge is not named, or the other way round",
                "give both, with rewards.judge.url and rewards.judge.model, or neither",
                "rewards.judge",
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have no effect, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if self.precision == "float32":
            data.pop("precision", None)
        return data


class ReportConfig(StrictModel):
    """What the report needs to know."""

    reference_point: dict[str, float] | None = Field(
        None,
        description="reference point of the hypervolume, one value for each guided reward; null derives it from the "
        "scores",
    )
    tracker: Literal["wandb", "tensorboard", "mlflow"] | None = Field(
        None,
        description="tracker that gets the counts of the driver, and the tables and images of the report, with the "
        "login that you have there; each needs an extra, such as srsoup[wandb]",
    )
