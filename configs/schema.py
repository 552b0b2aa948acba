"""The typed configuration of a run. Every check that needs no file is made here, once, and is relied on afterwards.

The letters in the descriptions are the paper's: T denoising steps, N candidates, K soup steps, L weights, M rewards.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from configs.errors import InvalidValueError
from configs.location import Location, location_of
from configs.sections.adaptive import AdaptiveConfig, check_adaptive
from configs.sections.best_of import BestOfConfig
from configs.sections.compute import ComputeConfig
from configs.sections.lookahead import LookaheadConfig
from configs.sections.method import GuidanceConfig, SoupConfig
from configs.sections.model import ModelConfig
from configs.sections.prompts import PromptsConfig as PromptsConfig
from configs.sections.rewards import ReportConfig, RewardsConfig
from configs.sections.surrogate import SurrogateConfig
from configs.step_checks import (
    SOUPS_OF_ADAPTERS,
    check_combining,
    check_keep,
    check_mean_queries,
    check_rivals,
    check_sharing,
    check_soup_of_adapters,
    check_soup_steps,
    check_surrogate,
    with_mean_queries,
)
from configs.strict_model import StrictModel, WeightRow, as_tuple, check_texts
from configs.weights import LARGEST, RULES, WEIGHT_TOLERANCE, weights_by_rule, with_exact_one_hot

Method = Literal[
    "srsoup", "weighted_sum", "unguided_first", "best_candidate", "demon", "fk_steering", "best_of", "model_soup",
    "output_soup", "unguided",
]  # fmt: skip
SURROGATE_METHODS = frozenset({"srsoup", "weighted_sum"})
METHODS_WITHOUT_GUIDANCE = frozenset({"best_of", "unguided"}) | SOUPS_OF_ADAPTERS
LARGEST_CHUNK = 64
# A folder's name has at most 255 bytes on most file systems.
LONGEST_NAME = 200
# Keys of the sections `model` and `compute` that are passed with each call, so the workers are not made from them.
_PASSED_WITH_CALLS: dict[str, Any] = {
    "model": {"guidance_scale", "negative_prompt", "height", "width", "eta", "noise_level"},
    "compute": {"chunk"},
}


class RunConfig(StrictModel):
    """The whole configuration of a run."""

    name: str = Field(description="name of the run, of lower-case letters, digits, _ and -")
    output: str | None = Field(
        None, description="folder of the results: a path, or a URI such as s3://bucket/folder; null for runs/<name>"
    )
    method: Method | Annotated[tuple[Method, ...], BeforeValidator(as_tuple)] = Field(
        "srsoup", description="the sampling method, or a list of methods that are all run on every prompt"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the run, from which each prompt's seed is derived")
    seeds: int = Field(1, ge=1, le=10_000, description="number of fronts for each prompt, each from its own seed")
    steps: int = Field(50, ge=1, le=1000, description="T, the number of denoising steps")
    queries: int = Field(
        30,
        ge=1,
        le=10_000,
        description="N, the number of candidates around each mean in each step; {auto: N} is the same with "
        "soup.queries: auto",
    )
    soup: SoupConfig = Field(SoupConfig(), description="the steps that share the exemplars' rewards")
    guidance: GuidanceConfig = Field(GuidanceConfig(), description="how a search gradient moves a sample")
    surrogate: SurrogateConfig | None = Field(
        None, description="a learned stand-in for the rewards, for the methods srsoup and weighted_sum; null for none"
    )
    best_of: BestOfConfig = Field(BestOfConfig(), description="how many samples the method best_of chooses from")
    weights: Annotated[tuple[WeightRow, ...], BeforeValidator(as_tuple)] = Field(
        description=f"L rows of M entries, one row for each image of a front, or a rule: {RULES}"
    )
    adaptive: AdaptiveConfig | None = Field(
        None, description="the rounds of weights that are re-spaced, for the methods srsoup and weighted_sum; "
        "{adaptive: L} of weights sets it; null for the same weights in all fronts",
    )  # fmt: skip
    prompts: PromptsConfig = Field(description="where the prompts come from")
    model: ModelConfig = Field(ModelConfig(), description="the pretrained model and how it is sampled")
    lookahead: LookaheadConfig = Field(
        LookaheadConfig(), description="how a candidate becomes the image that the rewards score"
    )
    rewards: RewardsConfig = Field(description="the rewards that guide and those that only score")
    report: ReportConfig = Field(ReportConfig(), description="what the report needs to know")
    compute: ComputeConfig = Field(ComputeConfig(), description="where the work is done")

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any) -> Any:
        """Check all texts, and replace a rule for the weights by its rows, which the run's record keeps too."""
        check_texts(data)
        data = with_mean_queries(data) if isinstance(data, dict) else data
        if isinstance(data, dict) and isinstance(data.get("weights"), dict):
            rewards = data.get("rewards")
            guided = rewards.get("guided") if isinstance(rewards, dict) else None
            if isinstance(guided, list | tuple) and guided:
                section = {"adaptive": data.get("adaptive") or {}} if "adaptive" in data["weights"] else {}
                return data | {"weights": weights_by_rule(data["weights"], len(guided))} | section
        return data

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise InvalidValueError(
                "this is not a plain name",
                "use lower-case letters, digits, _ and - only, and begin with a letter or digit",
            )
        if len(name) > LONGEST_NAME:
            raise InvalidValueError(f"the name has {len(name):,} characters", f"use at most {LONGEST_NAME}")
        return name

    @field_validator("output")
    @classmethod
    def _check_output(cls, output: str | None) -> str | None:
        if output and output.startswith("~"):
            raise InvalidValueError("~ does not lead to a home folder here", "write the whole path of the folder")
        if output:
            location_of(output)
        return output

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: Any) -> Any:
        if isinstance(method, tuple) and (not method or len(set(method)) < len(method)):
            raise InvalidValueError(
                "no method is named, or one is named twice", "name at least one method, and name each once"
            )
        return method

    @field_validator("weights")
    @classmethod
    def _check_simplex(cls, weights: tuple[WeightRow, ...]) -> tuple[WeightRow, ...]:
        if not 1 <= len(weights) <= LARGEST:
            raise InvalidValueError(f"there are {len(weights):,} rows of weights", f"give 1 to {LARGEST:,} rows")
        for index, row in enumerate(weights):
            if any(w < 0 for w in row) or abs(math.fsum(row) - 1) > WEIGHT_TOLERANCE:
                raise InvalidValueError(
                    f"row {index} is {list(row)}, which is off the simplex",
                    "make every entry at least 0 and let each row sum to 1",
                )
        return tuple(tuple(with_exact_one_hot(row)) for row in weights)

    @model_validator(mode="after")
    def _check_row_lengths(self) -> Self:
        n_rewards = len(self.rewards.guided)
        for index, row in enumerate(self.weights):
            if len(row) != n_rewards:
                raise InvalidValueError(
                    f"row {index} has {len(row)} entries, but rewards.guided names {n_rewards} rewards",
                    "give one entry for each guided reward",
                    "weights",
                )
        return self

    @model_validator(mode="after")
    def _check_reward_options(self) -> Self:
        self.guidance.check_rewards(self.rewards.guided)
        return self

    @model_validator(mode="after")
    def _check_guided_methods(self) -> Self:
        guided = set(self.methods) - METHODS_WITHOUT_GUIDANCE
        check_soup_steps(self.soup, self.steps, guided)
        for key in ("eta", "noise_level"):
            if guided and getattr(self.model, key) == 0:
                raise InvalidValueError(
                    "at 0 no step has noise, so none can be guided",
                    "set it above 0, or set method=unguided",
                    f"model.{key}",
                )
        if guided and self.queries < 2:
            raise InvalidValueError(
                f"queries (N) is {self.queries}, and a single candidate cannot be compared with others",
                "set queries to 2 or more",
                "queries",
            )
        return self

    @model_validator(mode="after")
    def _check_sharing(self) -> Self:
        has_surrogate, guided = self.surrogate is not None, self.rewards.guided
        check_sharing(self.soup, self.guidance, self.methods, self.best_of.samples, has_surrogate)
        check_combining(self.guidance, self.methods, guided, has_surrogate)
        check_rivals(self.guidance, self.methods)
        check_soup_of_adapters(self.model, self.methods, guided)
        check_mean_queries(self.soup, self.queries, self.weights, len(guided))
        keeps = {"best_of.keep": self.best_of.keep} if "best_of" in self.methods else {}
        if self.surrogate is not None:
            keeps["surrogate.keep"] = self.surrogate.keep
        check_keep(keeps, self.weights, guided)
        return self

    @model_validator(mode="after")
    def _check_lookahead(self) -> Self:
        if self.lookahead.downscale > 1 and self.guidance.satisfied_above:
            raise InvalidValueError(
                "the rewards of smaller images have another scale, and guidance.satisfied_above names rewards of whole "
                "ones",
                "leave lookahead.downscale out, or guidance.satisfied_above",
                "lookahead.downscale",
            )
        return self

    @model_validator(mode="after")
    def _check_adaptive(self) -> Self:
        if self.adaptive is not None:
            trains = self.surrogate is not None and self.surrogate.file is None
            check_adaptive(self.weights, self.methods, sorted(SURROGATE_METHODS), trains)
        return self

    @model_validator(mode="after")
    def _check_surrogate(self) -> Self:
        if self.surrogate is not None:
            check_surrogate(self.surrogate, self.guidance, self.methods, sorted(SURROGATE_METHODS))
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not set, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        for key in ("surrogate", "adaptive"):
            if getattr(self, key) is None:
                data.pop(key, None)
        if self.lookahead == LookaheadConfig():
            data.pop("lookahead", None)
        return data

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the run, as a tuple also if there is only one."""
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def workers(self) -> dict[str, Any]:
        """The part of the configuration that workers are made from. Runs with the same part can share workers."""
        return self.model_dump(mode="json", include={"model", "rewards", "compute"}, exclude=_PASSED_WITH_CALLS)

    @property
    def output_folder(self) -> Location:
        """The folder of the results: `output`, or by default runs/<name>."""
        return location_of(self.output) if self.output else Path("runs") / self.name

    @property
    def chunk_size(self) -> int:
        """The number of candidates in one unit of work. `auto` splits N into equal chunks of at most 64."""
        if self.compute.chunk != "auto":
            return self.compute.chunk
        return math.ceil(self.queries / math.ceil(self.queries / LARGEST_CHUNK))
