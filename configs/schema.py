"""The typed configuration of a run. Every check that needs no file is made here, once; trusted afterwards.

Letters in the descriptions are the paper's: T denoising steps, N candidates, K soup steps, L weights, M rewards.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from configs.compute import ComputeConfig
from configs.judge import JudgeConfig
from configs.location import Location, location_of
from configs.model import ModelConfig
from configs.strict_model import Names, StrictModel, WeightRow, as_tuple
from configs.weights import RULES, weights_by_rule

Method = Literal["srsoup", "weighted_sum", "unguided_first", "best_of", "unguided"]
METHODS_WITHOUT_GUIDANCE = frozenset({"best_of", "unguided"})
WEIGHT_TOLERANCE = 1e-6
LARGEST_CHUNK = 64
# What the workers are told with each call, of those parts of a configuration that they are made from.
_OF_A_CALL: dict[str, Any] = {
    "model": {"guidance_scale", "negative_prompt", "eta", "noise_level"},
    "compute": {"chunk"},
}


class SoupConfig(StrictModel):
    """How the exemplars' rewards are shared (Algorithm 2)."""

    steps: int = Field(20, ge=0, description="K, the first steps that share; 0..T. 0 is the weighted sum.")
    correction: Literal["none", "mean-shift", "renormalised"] = Field(
        "renormalised", description="How an exemplar's gradient is carried to another weight (Equation 11)."
    )


class GuidanceConfig(StrictModel):
    """How a search gradient moves a sample (Algorithm 1)."""

    step: Literal["sphere", "gradient"] = Field(
        "sphere", description="sphere: as long as a noise draw. gradient: Equation 7, tau = beta."
    )
    noise: Literal["plain", "antithetic"] = Field(
        "plain", description="antithetic: z and -z in pairs; needs an even number of queries."
    )
    normalisation: Literal["std", "tanh", "min-max"] = Field(
        "std", description="std: (r - mean) / std over the candidates. tanh of that caps outliers. min-max: to 0..1."
    )
    elite_fraction: float = Field(
        1.0, gt=0, le=1, description="of the candidates, the best that keep their reward; 1 keeps all"
    )
    satisfied_above: dict[str, float] = Field(
        {}, description="guided reward: target; a candidate past the target counts 0 for it"
    )


class BestOfConfig(StrictModel):
    """How many samples of the unguided model the best are chosen from."""

    samples: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="a whole number >= 1; auto: as many as SRSoup's queries of this configuration can score"
    )


class PromptsConfig(StrictModel):
    """Where the prompts come from: a file, or a list in the configuration itself."""

    file: str | None = Field(None, description=".txt, .json, .jsonl, .csv, .tsv or .parquet")
    list: Names | None = Field(None, description="the prompts themselves")
    github: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$",
        description="owner/repository@commit, 40 hex digits: `file` is a path in it, fetched once; needs sha256",
    )
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of the file on GitHub")
    column: str | None = Field(None, description="column or field that holds the prompt; null finds the usual")
    limit: int | None = Field(None, ge=1, description="only the first so many")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.list is None):
            raise ValueError(
                "prompts: both or none of file and list are there; give exactly one of prompts.file and prompts.list"
            )
        if (self.github is None) != (self.sha256 is None) or (self.github and self.file is None):
            raise ValueError(
                "prompts: github, sha256 and file go together; give prompts.file, prompts.github and prompts.sha256"
            )
        if self.list is not None and not self.list:
            raise ValueError("prompts.list: there are no prompts; give at least one")
        return self


class RewardsConfig(StrictModel):
    """The rewards by name, in the order of the weights. Higher is better, of every one."""

    guided: Names = Field(description="the M rewards that guide")
    held_out: Names = Field((), description="rewards that only score the final images")
    judge: JudgeConfig | None = Field(None, description="what vlm_judge asks; null where it is not named")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if not self.guided:
            raise ValueError("rewards.guided: there is no reward; name at least one")
        names = (*self.guided, *self.held_out)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            role = "guided" if len(set(self.guided)) < len(self.guided) else "held_out"
            raise ValueError(
                f"rewards.{role}: {', '.join(twice)} is named twice; name each reward once, guided or held out"
            )
        if ("vlm_judge" in names) != (self.judge is not None):
            raise ValueError(
                "rewards.judge: it is there and vlm_judge is not named, or the other way round; "
                "give both, with rewards.judge.url and rewards.judge.model, or neither"
            )
        return self


class ReportConfig(StrictModel):
    """What the report needs to know."""

    reference_point: dict[str, float] | None = Field(
        None, description="of the hypervolume, one value for each guided reward; null derives one"
    )


class RunConfig(StrictModel):
    """A run, whole."""

    name: str = Field(description="of the run: lower-case letters, digits, _ and -")
    output: str | None = Field(
        None, description="the run's folder: a path, or a URI such as s3://bucket/folder; null is runs/<name>"
    )
    method: Method | Annotated[tuple[Method, ...], BeforeValidator(as_tuple)] = "srsoup"
    seed: int = Field(0, ge=0, lt=2**63)
    seeds: int = Field(1, ge=1, description="fronts a prompt, each from a seed of its own")
    steps: int = Field(50, ge=1, le=1000, description="T, denoising steps")
    queries: int = Field(30, ge=1, description="N, candidates around each mean in each step")
    soup: SoupConfig = SoupConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    best_of: BestOfConfig = BestOfConfig()
    weights: Annotated[tuple[WeightRow, ...], BeforeValidator(as_tuple)] = Field(
        description=f"L rows of M entries, or a rule: {RULES}"
    )
    prompts: PromptsConfig
    model: ModelConfig = ModelConfig()
    rewards: RewardsConfig
    report: ReportConfig = ReportConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="before")
    @classmethod
    def _rule_to_rows(cls, data: Any) -> Any:
        """Weights that are named by a rule become rows, and are kept as rows in the run's record."""
        if isinstance(data, dict) and isinstance(data.get("weights"), dict):
            rewards = data.get("rewards")
            guided = rewards.get("guided") if isinstance(rewards, dict) else None
            if isinstance(guided, list | tuple) and guided:
                return data | {"weights": weights_by_rule(data["weights"], len(guided))}
        return data

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise ValueError(
                "this is no plain name; use lower-case letters, digits, _ and - only, with a letter or digit first"
            )
        return name

    @field_validator("output")
    @classmethod
    def _a_place(cls, output: str | None) -> str | None:
        if output:
            location_of(output)
        return output

    @field_validator("method")
    @classmethod
    def _methods_once(cls, method: Any) -> Any:
        if isinstance(method, tuple) and (not method or len(set(method)) < len(method)):
            raise ValueError("a method is named twice, or none at all; name at least one, and each once")
        return method

    @field_validator("weights")
    @classmethod
    def _on_the_simplex(cls, weights: tuple[WeightRow, ...]) -> tuple[WeightRow, ...]:
        if not weights:
            raise ValueError("there are no weights; give at least one row")
        for index, row in enumerate(weights):
            if any(w < 0 for w in row) or abs(math.fsum(row) - 1) > WEIGHT_TOLERANCE:
                raise ValueError(
                    f"row {index} is {list(row)}, which is off the simplex; "
                    "every entry must be >= 0 and each row must sum to 1"
                )
        return weights

    @model_validator(mode="after")
    def _rewards_fit(self) -> Self:
        n_rewards = len(self.rewards.guided)
        for index, row in enumerate(self.weights):
            if len(row) != n_rewards:
                raise ValueError(
                    f"weights: row {index} has {len(row)} entries, but rewards.guided names {n_rewards} rewards; "
                    "give one entry for each guided reward"
                )
        return self

    @model_validator(mode="after")
    def _targets_fit(self) -> Self:
        unknown = sorted(set(self.guidance.satisfied_above) - set(self.rewards.guided))
        if unknown:
            raise ValueError(
                f"guidance.satisfied_above: {', '.join(unknown)} guides nothing here; "
                f"name guided rewards only: {', '.join(self.rewards.guided)}"
            )
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        guided = set(self.methods) - METHODS_WITHOUT_GUIDANCE
        if guided & {"srsoup", "unguided_first"} and self.soup.steps > self.steps:
            raise ValueError(
                f"soup.steps: K is {self.soup.steps}, but steps, T, is {self.steps}; set K to 0..{self.steps}"
            )
        for key in ("eta", "noise_level"):
            if guided and getattr(self.model, key) == 0:
                raise ValueError(
                    f"model.{key}: at 0 no step has noise, so none can be guided; "
                    "set it above 0, or set method=unguided"
                )
        if guided and self.queries < 2:
            raise ValueError(
                f"queries: N is {self.queries}, and one candidate alone has no better or worse; set N to 2 or more"
            )
        if guided and self.guidance.noise == "antithetic" and self.queries % 2:
            raise ValueError(
                f"queries: N is {self.queries}, but antithetic noise comes in pairs; set N to an even number"
            )
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def workers(self) -> dict[str, Any]:
        """The part that the workers are made from: two runs that agree in it can share them."""
        return self.model_dump(mode="json", include={"model", "rewards", "compute"}, exclude=_OF_A_CALL)

    @property
    def output_folder(self) -> Location:
        return location_of(self.output) if self.output else Path("runs") / self.name

    @property
    def chunk_size(self) -> int:
        """Candidates in one unit of work; `auto` splits N into equal chunks of at most 64."""
        if self.compute.chunk != "auto":
            return self.compute.chunk
        return math.ceil(self.queries / math.ceil(self.queries / LARGEST_CHUNK))
