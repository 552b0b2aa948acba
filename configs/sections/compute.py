"""The section `compute`: where the work of a run is done."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel

# The keys of `compute` that change the bits of the results.
DECIDES_BITS = frozenset({"chunk", "threads"})


class NodesConfig(StrictModel):
    """The nodes of a cluster that actors of one kind may run on."""

    labels: dict[str, str] = Field(
        {}, description="labels that a Ray node must have, as label: value, or with !value, in(a,b), !in(a,b)"
    )
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="custom Ray resources, and how much of each one actor takes"
    )

    @field_validator("resources")
    @classmethod
    def _check_resources(cls, resources: dict[str, float]) -> dict[str, float]:
        if ours := sorted({"CPU", "GPU", "memory"} & set(resources)):
            raise InvalidValueError(
                f"{', '.join(ours)} is not a custom resource",
                "name custom resources only; set threads, diffusion_actors and gpu_share for the others",
            )
        return resources


class ComputeConfig(StrictModel):
    """Where the work is done. Of these keys only `chunk` and `threads` change the bits of the results."""

    chunk: Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)] = Field(
        "auto", description="candidates in one unit of work; auto splits N evenly into units of at most 64"
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of each actor")
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto",
        description="where the diffusion model and those rewards that are networks compute; auto uses GPUs if there "
        "are any",
    )
    placement: Literal["auto", "separate", "colocated"] = Field(
        "auto",
        description="separate gives rewards that are networks their own GPUs; colocated puts a diffusion actor and a "
        "reward actor on each GPU; auto is separate, or colocated if there is only one GPU",
    )
    gpu_share: float = Field(
        0.25, gt=0, lt=1, description="share of a GPU that its reward actor takes if placement is colocated"
    )
    cells: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        1, description="number of cells; auto starts one for every 32 diffusion and reward actors that hold a model"
    )
    diffusion_actors: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto",
        description="number of diffusion actors; auto starts one for each GPU, or for each CPU core without GPUs",
    )
    reward_actors: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto", description="number of reward actors on GPUs, and again on CPUs; auto follows the measured work"
    )
    diffusion_nodes: NodesConfig = Field(NodesConfig(), description="nodes that diffusion actors may run on")
    reward_nodes: NodesConfig = Field(NodesConfig(), description="nodes that reward actors may run on")
    prompts_in_flight: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto", description="prompts that are worked on at once; auto is two for each diffusion actor"
    )
    call_seconds: float = Field(
        600.0, gt=0, le=1e6, description="seconds after which a call counts as hung and its worker is replaced"
    )
