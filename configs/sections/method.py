"""The sections `soup` and `guidance`: the options of the methods.

The letters in the descriptions are the paper's: T denoising steps, N candidates, K soup steps, M rewards.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel


class SoupConfig(StrictModel):
    """How the exemplars' rewards are shared (Algorithm 2)."""

    steps: Literal["auto"] | Annotated[int, Field(ge=0, le=1000)] = Field(
        20, description="K, the number of steps that share the exemplars' rewards; at most T; 0 gives the weighted "
        "sum; auto decides in every step by measured cosines which weightings have candidates of their own and which "
        "borrow from the nearest one that has",
    )  # fmt: skip
    first: int = Field(
        0,
        ge=0,
        le=1000,
        description="number of weighted-sum steps before the K soup steps; 0 begins with the soup steps",
    )
    correction: Literal["none", "mean-shift", "renormalised"] = Field(
        "renormalised",
        description="how an exemplar's gradient is carried to another weighting (Equation 11); renormalised is the "
        "released code's way",
    )

    threshold: float = Field(
        0.7,
        ge=0,
        le=1,
        description="least expected cosine of the search gradients with which a weighting borrows; below sqrt(1/2) it "
        "gains less by borrowing from half the weightings than they cost; with steps: auto only",
    )
    every_reward: bool = Field(
        True,
        description="whether a weighting may borrow a reward from one that does not use it, whose candidates are then "
        "scored by it too; false saves queries if a reward is dear; with steps: auto only",
    )
    queries: Literal["fixed", "auto"] = Field(
        "fixed",
        description="fixed draws N candidates around each evaluated weighting in each step; auto gives fewer "
        "evaluated weightings more candidates each, up to the queries and the candidates of the weighted sum with N. "
        "`queries: {auto: N}` sets it; with steps: auto only",
    )

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have no effect, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if self.first == 0:
            data.pop("first", None)
        if self.steps != "auto":
            for key in ("threshold", "every_reward", "queries"):
                data.pop(key, None)
        return data

    @model_validator(mode="after")
    def _check_auto(self) -> Self:
        if self.steps == "auto":
            if self.first:
                raise InvalidValueError(
                    f"soup.first is {self.first}, but with soup.steps=auto the cosines decide when rows share",
                    "leave soup.first out, or set soup.steps to a number",
                    "soup.first",
                )
            return self
        for key in ("threshold", "every_reward", "queries"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise InvalidValueError(
                    f"soup.{key} has no effect if soup.steps is {self.steps}",
                    f"set soup.steps=auto, or leave soup.{key} out",
                    f"soup.{key}",
                )
        return self


def _by_reward(fractions: Any) -> Any:
    """Return a mapping unchanged, and the number 1, which keeps all candidates of every reward, as the empty mapping.

    Raises:
        InvalidValueError: the value is another number. Earlier versions took one fraction for all rewards.
    """
    if not isinstance(fractions, int | float) or isinstance(fractions, bool):
        return fractions
    if fractions == 1:
        return {}
    raise InvalidValueError(
        "one fraction for all rewards is not allowed",
        f"name the reward that the fraction is for, such as {{compressibility: {fractions}}}",
    )


Place = Literal["exemplars", "everywhere"]


class GuidanceConfig(StrictModel):
    """How a search gradient moves a sample (Algorithm 1)."""

    step: Literal["sphere", "gradient"] = Field(
        "sphere",
        description="length of a step: sphere makes it as long as a noise draw; gradient is Equation 7 with tau = beta",
    )
    noise: Literal["plain", "antithetic", "distinct"] = Field(
        "plain",
        description="noise of the candidates; antithetic draws pairs z and -z, and leaves the last -z out if queries "
        "is odd; distinct draws half of the noises for each weighting apart, which then takes the gradients of others "
        "within soup.threshold too, with soup.steps: auto only",
    )
    strength: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of a move that is along the gradient; the rest is fresh noise, so that the move keeps its "
        "length; less than 1 with step: sphere only",
    )
    scalarisation: Literal["linear", "tchebycheff"] = Field(
        "linear",
        description="how the rewards of a weighting become one: linear is the weighted sum (Equation 9); tchebycheff "
        "is the smooth Tchebycheff distance to the best mean of each reward, which reaches hollow parts of a front; "
        "with method: weighted_sum only",
    )
    smoothing: float = Field(
        0.1,
        gt=0,
        le=100,
        description="mu of the smooth Tchebycheff distance, in units of the front's extent: less makes the reward that "
        "is farthest behind count more; with scalarisation: tchebycheff only",
    )
    conflict: Literal["none", "pcgrad"] = Field(
        "none",
        description="what happens if the gradients of two rewards oppose each other: none adds them; pcgrad first "
        "takes out of each the part that lowers the other",
    )
    demon: Literal["tanh", "boltzmann"] = Field(
        "tanh",
        description="how the method demon makes one noise of the candidates' noises: with the factors tanh(s / tau) or "
        "exp(s / tau) of their normalised weighted sums s",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="tau of demon, in standard deviations of the weighted sum over the candidates, and of fk_steering, "
        "in standard deviations of each reward over the particles of the first step",
    )
    normalisation: Literal["std", "tanh", "min-max"] = Field(
        "std",
        description="how the candidates' rewards are normalised: std is (r - mean) / std; tanh is the tanh of that, "
        "which caps outliers; min-max maps to 0..1",
    )
    elite_fraction: Annotated[dict[str, Annotated[float, Field(gt=0, le=1)]], BeforeValidator(_by_reward)] = Field(
        {},
        description="for each guided reward, the fraction of the candidates, the best ones, that keep their reward; "
        "all others count 0. A reward without a fraction keeps all",
    )
    elite_in: Place = Field(
        "exemplars",
        description="where elite_fraction acts: exemplars is the weightings of that reward alone, in soup steps only, "
        "as in the released code; everywhere is all weightings in all steps",
    )
    satisfied_above: dict[str, float] = Field(
        {},
        description="targets of guided rewards; a candidate's reward above its target counts as 0, and mean and std "
        "are those of the other candidates",
    )
    satisfied_in: Place = Field(
        "everywhere",
        description="where satisfied_above acts: everywhere is the released code's way; exemplars as for elite_in",
    )

    def check_rewards(self, guided: Sequence[str]) -> None:
        """Check that every option for one reward names a guided reward.

        Raises:
            InvalidValueError: an option names another reward.
        """
        for key in ("elite_fraction", "satisfied_above"):
            unknown = sorted(set(getattr(self, key)) - set(guided))
            if unknown:
                raise InvalidValueError(
                    f"{', '.join(unknown)} is not a guided reward of this run",
                    f"name guided rewards only: {', '.join(guided)}",
                    f"guidance.{key}",
                )

    @model_validator(mode="after")
    def _check_strength(self) -> Self:
        if self.strength < 1 and self.step != "sphere":
            raise InvalidValueError(
                f"guidance.step is {self.step}, which leaves no room for fresh noise",
                "set guidance.step=sphere, or guidance.strength=1",
                "guidance.strength",
            )
        return self

    @property
    def shaping_options(self) -> list[str]:
        """The keys that are set to change how rewards become factors of the noises."""
        changed = {
            "normalisation": self.normalisation != "std",
            "elite_fraction": bool(self.elite_fraction),
            "satisfied_above": bool(self.satisfied_above),
        }
        return [key for key, is_set in changed.items() if is_set]

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have no effect, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if not self.elite_fraction:
            data["elite_fraction"] = 1.0
            data.pop("elite_in", None)
        if not self.satisfied_above:
            data.pop("satisfied_in", None)
        if self.strength == 1:
            data.pop("strength", None)
        if self.scalarisation == "linear":
            data.pop("scalarisation", None)
            data.pop("smoothing", None)
        if self.conflict == "none":
            data.pop("conflict", None)
        if (self.demon, self.temperature) == ("tanh", 1.0):
            data.pop("demon", None)
            data.pop("temperature", None)
        return data
