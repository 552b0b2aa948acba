"""Sections of a configuration: the method's options, the prompts, the rewards and the report.

The letters in the descriptions are the paper's: T denoising steps, N candidates, K soup steps, M rewards.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from configs.errors import InvalidValueError
from configs.judge import JudgeConfig
from configs.strict_model import Names, StrictModel
from configs.weights import MOST_REWARDS


class SoupConfig(StrictModel):
    """How the exemplars' rewards are shared (Algorithm 2)."""

    steps: int = Field(
        20, ge=0, le=1000, description="K, the number of first steps that share the exemplars' rewards; at most T; 0 "
        "gives the weighted sum",
    )  # fmt: skip
    correction: Literal["none", "mean-shift", "renormalised"] = Field(
        "renormalised",
        description="how an exemplar's gradient is carried to another weighting (Equation 11); renormalised is the "
        "released code's way",
    )


class GuidanceConfig(StrictModel):
    """How a search gradient moves a sample (Algorithm 1)."""

    step: Literal["sphere", "gradient"] = Field(
        "sphere",
        description="length of a step: sphere makes it as long as a noise draw; gradient is Equation 7 with tau = beta",
    )
    noise: Literal["plain", "antithetic"] = Field(
        "plain", description="noise of the candidates; antithetic draws pairs z and -z, so queries must be even"
    )
    normalisation: Literal["std", "tanh", "min-max"] = Field(
        "std",
        description="how the candidates' rewards are normalised: std is (r - mean) / std; tanh is the tanh of that, "
        "which caps outliers; min-max maps to 0..1",
    )
    elite_fraction: float = Field(
        1.0, gt=0, le=1, description="fraction of the candidates, the best ones, that keep their reward; 1 keeps all"
    )
    satisfied_above: dict[str, float] = Field(
        {}, description="targets of guided rewards; a candidate's reward above its target counts as 0"
    )


class BestOfConfig(StrictModel):
    """How many unguided samples best_of chooses from."""

    samples: Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        "auto",
        description="number of unguided samples to choose from; auto takes as many as SRSoup's queries of the same "
        "configuration can score",
    )


class PromptsConfig(StrictModel):
    """Where the prompts come from: a file, or a list in the configuration itself."""

    file: str | None = Field(
        None, description="path of a prompt file: .txt, .json, .jsonl, .csv, .tsv or .parquet; null if list is given"
    )
    list: Names | None = Field(None, description="the prompts themselves; null if file is given")
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
    limit: int | None = Field(None, ge=1, description="number of prompts to take from the start; null takes all")

    @field_validator("list")
    @classmethod
    def _check_list(cls, prompts: Names | None) -> Names | None:
        if prompts is not None and not prompts:
            raise InvalidValueError("there are no prompts", "give at least one")
        return prompts

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.file is None) == (self.list is None):
            raise InvalidValueError(
                "prompts has both file and list, or neither",
                "give exactly one of prompts.file and prompts.list",
                "prompts",
            )
        if (self.github is None) != (self.sha256 is None) or (self.github and self.file is None):
            raise InvalidValueError(
                "prompts.github, sha256 and file go together, and one of them is missing",
                "give prompts.file, prompts.github and prompts.sha256",
                "prompts",
            )
        return self


class RewardsConfig(StrictModel):
    """The rewards by name, in the order of the weights. For every reward, higher is better."""

    guided: Names = Field(description="names of the M rewards that guide the samples, in the order of the weights")
    held_out: Names = Field((), description="names of rewards that only score the final images")
    judge: JudgeConfig | None = Field(
        None, description="endpoint and question of the reward vlm_judge; null if vlm_judge is not named"
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
        if ("vlm_judge" in names) != (self.judge is not None):
            raise InvalidValueError(
                "rewards.judge is set and vlm_judge is not named, or the other way round",
                "give both, with rewards.judge.url and rewards.judge.model, or neither",
                "rewards.judge",
            )
        return self


class ReportConfig(StrictModel):
    """What the report needs to know."""

    reference_point: dict[str, float] | None = Field(
        None,
        description="reference point of the hypervolume, one value for each guided reward; null derives it from the "
        "scores",
    )
