"""Checks of the keys that decide what is done in a step, with those of the rest of a configuration."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from configs.errors import InvalidValueError
from configs.sections.method import GuidanceConfig, SoupConfig
from configs.sections.model import ModelConfig
from configs.sections.surrogate import SurrogateConfig
from configs.weights import WEIGHT_TOLERANCE

# Methods that guide by candidates without a search gradient (`pipeline.guidance.rivals`).
RIVALS = frozenset({"best_candidate", "demon", "fk_steering"})
# Methods that mix fine-tuned models, and query no reward for it.
SOUPS_OF_ADAPTERS = frozenset({"model_soup", "output_soup"})
# Options of rivals, and the methods that take them.
_TAKERS = {"demon": ("demon",), "temperature": ("demon", "fk_steering")}


def with_mean_queries(data: dict[str, Any]) -> dict[str, Any]:
    """Return `queries: {auto: N}` as queries: N with soup.queries: auto, and any other configuration unchanged.

    Raises:
        InvalidValueError: `queries` is another mapping, or the section `soup` says something else.
    """
    rule = data.get("queries")
    if not isinstance(rule, Mapping):
        return data
    if set(rule) != {"auto"} or type(rule["auto"]) is not int:
        raise InvalidValueError(
            f"{dict(rule)} is no number of candidates", "give a whole number, or {auto: N}, as in {auto: 16}", "queries"
        )
    soup = data.get("soup", {})
    if isinstance(soup, Mapping):
        if soup.get("queries", "auto") != "auto":
            raise InvalidValueError(
                f"soup.queries is {soup['queries']}, but queries is {dict(rule)}",
                "leave soup.queries out, or give queries as a number",
                "soup.queries",
            )
        soup = {**soup, "queries": "auto"}
    return data | {"queries": rule["auto"], "soup": soup}


def check_sharing(
    soup: SoupConfig,
    guidance: GuidanceConfig,
    methods: Collection[str],
    best_of_samples: object,
    with_surrogate: bool,
) -> None:
    """Refuse combinations with `soup.steps: auto`, and with `guidance.noise: distinct`, that make no sense.

    Raises:
        InvalidValueError: there is such a combination.
    """
    auto = soup.steps == "auto"
    if guidance.noise == "distinct" and not (auto and "srsoup" in methods):
        raise InvalidValueError(
            "only weightings that pool their gradients gain from noises of their own",
            "set method=srsoup and soup.steps=auto, or guidance.noise=plain",
            "guidance.noise",
        )
    if not auto:
        return
    others = sorted(set(methods) & {"unguided_first"})
    if "srsoup" not in methods or others:
        problem = f"the method {others[0]} needs a number of steps" if others else "no method of this run takes it"
        raise InvalidValueError(
            f"soup.steps is auto, and {problem}", "set soup.steps to a number, or method=srsoup", "soup.steps"
        )
    if "best_of" in methods and best_of_samples == "auto":
        raise InvalidValueError(
            "auto takes the queries of srsoup, which with soup.steps=auto are not known beforehand",
            "set best_of.samples to a number",
            "best_of.samples",
        )
    if with_surrogate:
        raise InvalidValueError(
            "soup.steps is auto, which measures the cosines of rewards and not those of a surrogate's error",
            "set soup.steps to a number, or leave surrogate out",
            "soup.steps",
        )


def check_mean_queries(soup: SoupConfig, n: int, weights: Collection[Collection[float]], n_rewards: int) -> None:
    """Check that the budget of `queries: {auto: N}` suffices for two candidates around each of the M exemplars.

    Raises:
        InvalidValueError: it does not.
    """
    if soup.steps != "auto" or soup.queries != "auto":
        return
    positive = sum(w > WEIGHT_TOLERANCE for row in weights for w in row)
    least = max(-(-2 * n_rewards**2 // positive), -(-2 * n_rewards // len(weights)))
    if n < least:
        raise InvalidValueError(
            f"with a mean of {n} candidates for each of {len(weights)} weightings, the exemplars of {n_rewards} "
            "rewards cannot have two candidates each",
            f"set queries={{auto: {least}}} or more",
            "queries",
        )


def check_soup_steps(soup: SoupConfig, steps: int, methods: Collection[str]) -> None:
    """Check that the soup steps lie within the T steps of the guided methods.

    Raises:
        InvalidValueError: they do not, or the method has no steps before them.
    """
    if soup.steps == "auto":
        return
    if {"srsoup", "unguided_first"} & set(methods) and soup.steps > steps:
        raise InvalidValueError(
            f"soup.steps (K) is {soup.steps}, but steps (T) is {steps}", f"set soup.steps to 0..{steps}", "soup.steps"
        )
    if "srsoup" in methods and soup.first + soup.steps > steps:
        raise InvalidValueError(
            f"soup.first is {soup.first} and soup.steps (K) is {soup.steps}, which is more than the {steps} steps (T)",
            f"set soup.first to 0..{steps - soup.steps}",
            "soup.first",
        )
    if "unguided_first" in methods and soup.first:
        raise InvalidValueError(
            "the method unguided_first begins with the K unguided steps, so they cannot come later",
            "set soup.first=0, or leave the method unguided_first out",
            "soup.first",
        )


def check_combining(
    guidance: GuidanceConfig, methods: Collection[str], guided: Sequence[str], with_surrogate: bool
) -> None:
    """Refuse ways to combine rewards that the methods do not have, or that have no effect.

    Raises:
        InvalidValueError: there is such a combination.
    """
    default = type(guidance).model_fields["smoothing"].default
    tchebycheff = guidance.scalarisation == "tchebycheff"
    if guidance.smoothing != default and not tchebycheff:
        raise InvalidValueError(
            "the weighted sum is not smoothed",
            "set guidance.scalarisation=tchebycheff, or leave guidance.smoothing out",
            "guidance.smoothing",
        )
    if tchebycheff and (others := sorted({"srsoup", "unguided_first"} & set(methods))):
        raise InvalidValueError(
            f"the method {others[0]} does not score the candidates of every weighting, so their means are not known",
            "set method=weighted_sum, or guidance.scalarisation=linear",
            "guidance.scalarisation",
        )
    for key, is_set in (("scalarisation", tchebycheff), ("conflict", guidance.conflict != "none")):
        if is_set and (len(guided) < 2 or with_surrogate):
            problem = (
                "there is one guided reward" if len(guided) < 2 else "a surrogate has one gradient for all rewards"
            )
            raise InvalidValueError(
                f"{problem}, so there is nothing to combine",
                f"leave guidance.{key} out" + (", or leave surrogate out" if with_surrogate else ""),
                f"guidance.{key}",
            )


def check_rivals(guidance: GuidanceConfig, methods: Collection[str]) -> None:
    """Refuse options of a search gradient for methods that have none, and the options of rivals without them.

    Raises:
        InvalidValueError: there is such an option.
    """
    rivals, fields = sorted(RIVALS & set(methods)), type(guidance).model_fields
    with_gradient = set(methods) - RIVALS - {"best_of", "unguided"} - SOUPS_OF_ADAPTERS
    for key, needs_all in (("scalarisation", True), ("conflict", True), ("step", False), ("strength", False)):
        if getattr(guidance, key) != fields[key].default and rivals and (needs_all or not with_gradient):
            raise InvalidValueError(
                f"the method {rivals[0]} has no search gradient, so guidance.{key} has no effect on it",
                f"leave guidance.{key} out, or {rivals[0]}",
                f"guidance.{key}",
            )
    shaped = set(methods) - {"fk_steering", "best_of", "unguided"} - SOUPS_OF_ADAPTERS
    for key in ("noise", "normalisation", "elite_fraction", "satisfied_above"):
        if "fk_steering" in methods and not shaped and getattr(guidance, key) != fields[key].default:
            raise InvalidValueError(
                f"fk_steering resamples by the rewards themselves, so guidance.{key} has no effect on it",
                f"leave guidance.{key} out",
                f"guidance.{key}",
            )
    for key, takers in _TAKERS.items():
        if getattr(guidance, key) != fields[key].default and not set(takers) & set(methods):
            named = " and ".join(takers)
            raise InvalidValueError(
                f"guidance.{key} is for {named}, which this run does not have",
                f"set method={takers[0]}, or leave guidance.{key} out",
                f"guidance.{key}",
            )


def check_soup_of_adapters(model: ModelConfig, methods: Collection[str], guided: Sequence[str]) -> None:
    """Refuse a soup of fine-tuned models without one adapter for each reward, and adapters that no method mixes.

    Raises:
        InvalidValueError: adapters are missing, or have no effect.
    """
    soups, adapters = sorted(SOUPS_OF_ADAPTERS & set(methods)), model.adapters_by_reward
    if not soups and adapters:
        raise InvalidValueError(
            "no method of this run mixes the adapters of rewards",
            "set method=model_soup or output_soup, or leave model.adapters_by_reward out",
            "model.adapters_by_reward",
        )
    if soups and set(adapters) != set(guided):
        wrong = sorted(set(guided) - set(adapters)) or sorted(set(adapters) - set(guided))
        problem = "has no adapter" if wrong[0] in guided else "has an adapter, and is not guided"
        raise InvalidValueError(
            f"{soups[0]} mixes one adapter for each guided reward, and {wrong[0]} {problem}",
            "give model.adapters_by_reward one entry for each of rewards.guided, with the LoRA of that reward",
            "model.adapters_by_reward",
        )
    if model.mix != "deltas" and "model_soup" not in methods:
        raise InvalidValueError(
            "only the method model_soup mixes weights", "set method=model_soup, or leave model.mix out", "model.mix"
        )


def check_surrogate(
    section: SurrogateConfig, guidance: GuidanceConfig, methods: Collection[str], takers: Collection[str]
) -> None:
    """Refuse a surrogate that no method takes, or whose options contradict those of the guidance.

    Args:
        takers: the methods that take a surrogate.

    Raises:
        InvalidValueError: it cannot be used.
    """
    if not set(takers) & set(methods):
        raise InvalidValueError(
            f"no method of this run takes a surrogate: {', '.join(methods)}",
            f"add one of the methods {' and '.join(takers)}, or leave surrogate out",
            "surrogate",
        )
    if section.strength not in (None, 1) and guidance.step != "sphere":
        raise InvalidValueError(
            f"guidance.step is {guidance.step}, which leaves no room for fresh noise",
            "set guidance.step=sphere, or leave surrogate.strength out",
            "surrogate.strength",
        )
    if options := guidance.shaping_options:
        raise InvalidValueError(
            f"{options[0]} shapes the rewards of the candidates, and a surrogate predicts the rewards themselves",
            f"leave guidance.{options[0]} out, or leave surrogate out",
            f"guidance.{options[0]}",
        )


def check_keep(keeps: Mapping[str, str], weights: Collection[Collection[float]], guided: Sequence[str]) -> None:
    """Check that the weights have a one-hot row for every reward if samples are chosen by their spread.

    Args:
        keeps: the value of each key that says how samples are chosen.

    Raises:
        InvalidValueError: a row is missing.
    """
    ends = {index for row in weights for index, w in enumerate(row) if w > 1 - WEIGHT_TOLERANCE}
    missing = [name for index, name in enumerate(guided) if index not in ends]
    for key, keep in keeps.items():
        if keep == "spread" and missing:
            raise InvalidValueError(
                f"{key} is spread, and no weighting is for {missing[0]} alone, so the end of the front is not known",
                f"add one-hot rows to weights, or set {key}=weighted",
                key,
            )
