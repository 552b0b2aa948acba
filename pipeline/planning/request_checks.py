"""Checks of a request that need the rewards or the prompts, and no model."""

from importlib.util import find_spec

from configs.errors import RequestError
from configs.plain.data import MAX_VALUES, count_values
from configs.schema import RunConfig
from pipeline.planning.model_check import Origin
from rewards import registry
from rewards.errors import RewardError

# Planning this many takes half a minute.
MOST_FRONTS = 500_000
# What a run records besides its configuration, such as units and versions, has room in the rest.
MOST_RECORDED = MAX_VALUES - 1_000


def check_size(config: RunConfig, n_prompts: int, origin: Origin) -> None:
    """Refuse a run of more fronts than a driver can plan in seconds."""
    fronts = n_prompts * config.seeds * len(config.methods)
    if fronts > MOST_FRONTS:
        raise RequestError(
            file=origin("seeds"),
            key="seeds",
            value=config.seeds,
            problem=f"the run has {fronts:,} fronts ({n_prompts:,} prompts, each with seeds and methods)",
            allowed=f"at most {MOST_FRONTS:,} fronts in one run",
            fix="set fewer seeds, or prompts.limit, or split the prompts among several runs",
        )


def check_record(config: RunConfig, origin: Origin) -> None:
    """Refuse a configuration whose record in the run folder would hold more values than are read back.

    The record has a row of weights for each weighting, also if a rule in the file gives them.
    """
    rows, columns = len(config.weights), len(config.rewards.guided)
    values = count_values(config.model_dump(mode="json"))
    if values > MOST_RECORDED:
        raise RequestError(
            file=origin("weights"),
            key="weights",
            value=f"{rows:,} rows for {columns} rewards",
            problem=f"the record of the run would hold {values:,} values, of which {rows * columns:,} are weights",
            allowed=f"at most {MOST_RECORDED:,} values in a configuration, with its weights written out",
            fix="give fewer rows of weights, or put prompts into a file",
        )


def check_rewards(config: RunConfig, origin: Origin) -> None:
    """Refuse a reward that does not exist or cannot be created."""
    known = registry.names()
    for role in ("guided", "held_out"):
        for index, name in enumerate(getattr(config.rewards, role)):
            if name not in known:
                raise RequestError(
                    file=origin(f"rewards.{role}"),
                    key=f"rewards.{role}.{index}",
                    value=name,
                    problem="there is no reward with this name",
                    allowed=", ".join(known),
                    fix=f"did you mean {registry.nearest(name)}? If it is in a file of your own, pass --plugin FILE",
                )
            try:
                registry.create(name)
            except (ImportError, AttributeError, RewardError) as error:
                raise RequestError(
                    file=origin(f"rewards.{role}"),
                    key=f"rewards.{role}.{index}",
                    value=name,
                    problem=f"the reward cannot be created: {error}",
                    allowed="a reward that its package or plugin declares correctly",
                    fix="correct its definition; `srsoup rewards --check` shows more",
                ) from error


def check_reference_point(config: RunConfig, origin: Origin) -> None:
    """Refuse a reference point that does not have one value for each guided reward."""
    point = config.report.reference_point
    if point is not None and set(point) != set(config.rewards.guided):
        raise RequestError(
            file=origin("report.reference_point"),
            key="report.reference_point",
            value=point,
            problem="the reference point does not have exactly one value for each guiding reward",
            allowed="one value for each of " + ", ".join(config.rewards.guided),
            fix="set these values, or set report.reference_point=null to derive them",
        )


def check_tracker(config: RunConfig, origin: Origin) -> None:
    """Refuse a tracker whose package is not installed. It is not imported."""
    name = config.report.tracker
    if name is not None and find_spec(name) is None:
        raise RequestError(
            file=origin("report.tracker"),
            key="report.tracker",
            value=name,
            problem=f"the package {name} is not installed",
            allowed="null, or a tracker whose package is installed",
            fix=f"install it with `pip install 'srsoup[{name}]'`, or set report.tracker=null",
        )
