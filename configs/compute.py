"""Where the work of a run is done."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.strict_model import StrictModel

# Of `compute`.
DECIDES_BITS = frozenset({"chunk", "threads"})


class NodesConfig(StrictModel):
    """Which nodes of a cluster an actor may be on."""

    labels: dict[str, str] = Field({}, description="Ray node label: value, or !value, in(a,b), !in(a,b)")
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="custom Ray resource: how much of it each actor takes"
    )

    @model_validator(mode="after")
    def _custom(self) -> Self:
        if ours := sorted({"CPU", "GPU", "memory"} & set(self.resources)):
            raise ValueError(
                f"compute: {', '.join(ours)} is no custom resource; name custom ones, "
                "and set threads, diffusion_actors and gpu_share for the others"
            )
        return self


class ComputeConfig(StrictModel):
    """Where the work is done. Of these only `chunk` and `threads` decide bits."""

    chunk: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="a whole number >= 1, of candidates in one unit of work; auto splits N evenly into at most 64",
    )
    threads: int = Field(1, ge=1, description="CPU threads of an actor")
    device: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="where the diffusion model and rewards that are networks compute; auto: GPUs, if any"
    )
    placement: Literal["auto", "separate", "colocated"] = Field(
        "auto",
        description="separate: rewards that are networks have GPUs of their own. colocated: each GPU holds both. "
        "auto: separate, or colocated where there is one GPU",
    )
    gpu_share: float = Field(0.25, gt=0, lt=1, description="of a GPU, for the reward actor on it, colocated")
    cells: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        1, description="a whole number >= 1; auto: one for every 32 diffusion and reward actors that hold a model"
    )
    diffusion_actors: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="a whole number >= 1; auto: one a GPU, or one a CPU core where there is no GPU"
    )
    reward_actors: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="a whole number >= 1, on GPUs and on CPUs each; auto: by the work that was measured"
    )
    diffusion_nodes: NodesConfig = NodesConfig()
    reward_nodes: NodesConfig = NodesConfig()
    prompts_in_flight: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="a whole number >= 1; auto: two a diffusion actor"
    )
    call_seconds: float = Field(
        600.0, gt=0, description="a worker that computes one call for longer hangs, and is replaced"
    )
