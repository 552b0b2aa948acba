"""Which model a run samples, and how."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from configs.strict_model import Commit, StrictModel, as_tuple, check_hub_name


class AdapterConfig(StrictModel):
    """A LoRA on top of the model."""

    name: str = Field(description="a .safetensors file, or, with revision, owner/name on the hub")
    revision: Commit | None = Field(None, description="commit on the hub, 40 hexadecimal digits; null is a local file")
    file: str = Field("pytorch_lora_weights.safetensors", description="which file of the hub's repository")
    weight: float = Field(1.0, description="its factor")

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_hub_name("model.adapters", self.name, self.revision)
        return self


class ModelConfig(StrictModel):
    """The pretrained model and how it is sampled."""

    name: str = Field(
        "mini",
        description='"mini", the embedded model, a local folder in diffusers layout, or, with revision, owner/name on '
        "the hub",
    )
    revision: Commit | None = Field(None, description="commit on the hub, 40 hexadecimal digits; null is a local model")
    adapters: Annotated[tuple[AdapterConfig, ...], BeforeValidator(as_tuple)] = Field((), description="LoRAs on top")
    guidance_scale: float = Field(5.0, ge=0, description="of classifier-free guidance; 1 is off")
    negative_prompt: str | None = Field(
        None, description="what guidance leads away from; null is the model's own: nothing"
    )
    eta: float | None = Field(
        None, ge=0, le=1, description="noise of DDIM: 0 is deterministic and cannot be guided; null is 1"
    )
    noise_level: float | None = Field(
        None, ge=0, description="noise of a flow (Stable Diffusion 3): 0 cannot be guided; null is 0.7"
    )
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    attention_slicing: bool = Field(False, description="attention in slices: less memory, more time; UNets only")
    vae_slicing: bool = Field(False, description="images decoded one by one: less memory, more time")
    offload_text_encoders: bool = Field(
        False, description="text encoders leave the GPU after each prompt is encoded: less memory, some seconds"
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_hub_name("model.name", self.name, self.revision)
        return self
