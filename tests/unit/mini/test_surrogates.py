"""The surrogates that come with the embedded model are whole, small, and of that model."""

import pytest

from configs.load import load_config
from configs.packaged import config_file
from diffusion.source import Source, model_revision
from diffusion.surrogate.network import from_bytes, to_bytes
from mini.surrogates import packaged_surrogates
from pipeline.planning.plan import make_plan


@pytest.mark.parametrize("name", packaged_surrogates())
def test_a_packaged_surrogate_is_of_the_embedded_model(name: str) -> None:
    content = packaged_surrogates()[name].read_bytes()
    surrogate = from_bytes(content)
    assert len(content) < 1_000_000 and to_bytes(surrogate) == content
    assert name == ("five_rewards" if len(surrogate.rewards) == 5 else "_".join(surrogate.rewards))
    assert surrogate.record["model_revision"] == model_revision(Source("mini"))
    assert (surrogate.deviation_BM > 0).all()


def test_the_recommended_configuration_takes_at_most_a_third_of_the_queries_and_two_fifths_of_the_decodes() -> None:
    """By the plan; docs/results.md has what a run counted."""
    from pipeline.planning.cost import expected_cost

    costs = {}
    for name in ("best_mini", "weighted_sum_mini"):
        config = load_config(config_file(name), [])
        plan = make_plan(config, lambda key: key)
        costs[name] = expected_cost(plan.tasks[0], config.steps)
    best, other = costs["best_mini"], costs["weighted_sum_mini"]
    assert best.queries <= other.queries / 3 and best.decodes <= other.decodes * 2 / 5
