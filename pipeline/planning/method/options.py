"""The options of the method, read from a configuration."""

from configs.schema import RunConfig
from configs.sections.method import GuidanceConfig
from pipeline.guidance.combining.options import Combining
from pipeline.guidance.rivals.selection import Selection
from pipeline.guidance.runner import Guidance
from pipeline.guidance.shaping import Shaping
from pipeline.guidance.sharing.auto_step import Sharing
from pipeline.planning.cost import hidden_exemplars, queries_of


def guidance_of(config: RunConfig, method: str) -> Guidance:
    """Return the options with which a method guides; those that it does not have are at their defaults."""
    soup, guidance = config.soup, config.guidance
    auto = method == "srsoup" and soup.steps == "auto"
    # With `auto` every step may share, so K is T.
    k = config.steps if soup.steps == "auto" else soup.steps
    return Guidance(
        candidates=config.queries,
        soup_steps=k if method in ("srsoup", "unguided_first") else 0,
        step=guidance.step,
        correction=soup.correction,
        # Methods beside `auto` draw noises that all rows share.
        noise="plain" if guidance.noise == "distinct" and not auto else guidance.noise,
        first="unguided" if method == "unguided_first" else "soup",
        shaping=_shaping(config),
        soup_first=soup.first if method == "srsoup" and k else 0,
        strength=guidance.strength,
        sharing=Sharing(soup.threshold, soup.every_reward, soup.queries == "auto") if auto else None,
        combining=Combining(guidance.scalarisation, guidance.smoothing, guidance.conflict),
        selection=_selection(guidance, method),
        particle_temperature=guidance.temperature if method == "fk_steering" else None,
    )


def _selection(guidance: GuidanceConfig, method: str) -> Selection | None:
    if method == "best_candidate":
        return Selection("best")
    return Selection(guidance.demon, guidance.temperature) if method == "demon" else None


def _shaping(config: RunConfig) -> Shaping:
    guidance, guided = config.guidance, config.rewards.guided
    return Shaping(
        guidance.normalisation,
        tuple(guidance.elite_fraction.get(name, 1.0) for name in guided),
        tuple(guidance.satisfied_above.get(name) for name in guided),
        guidance.elite_in,
        guidance.satisfied_in,
    )


def samples_of(config: RunConfig) -> int:
    """Return n of best-of-n. With `auto` it is the largest n that costs no more queries than SRSoup, but at least L."""
    if config.best_of.samples != "auto":
        return config.best_of.samples
    # With soup.steps=auto the configuration refuses this, because SRSoup's queries are not known beforehand.
    k = config.steps if config.soup.steps == "auto" else config.soup.steps
    soup_steps = min(k, config.steps)
    queries = queries_of(config.queries, config.weights, soup_steps, config.steps - soup_steps)
    queries += config.queries * hidden_exemplars(config.weights) * config.soup.first
    return max(len(config.weights), queries // len(config.rewards.guided))
