"""The sections `model` and `model.adapters`: the model of a run and how it is sampled."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from configs.errors import InvalidValueError
from configs.strict_model import Commit, StrictModel, as_tuple, check_hub_name, check_repository_path

# The largest number of pixels of a side. Most models allow fewer.
LONGEST_SIDE = 8192


class AdapterConfig(StrictModel):
    """A LoRA on top of the model."""

    name: str = Field(description="a .safetensors file or the folder of one, or, with revision, owner/name on the hub")
    revision: Commit | None = Field(
        None, description="commit of the adapter on the hub, 40 hexadecimal digits; null for a local file"
    )
    file: str = Field("pytorch_lora_weights.safetensors", description="file of the hub's repository to load")
    weight: float = Field(1.0, description="factor of the adapter's change to the model's weights")


def _check_places(key: str, adapters: Iterable[AdapterConfig]) -> None:
    for adapter in adapters:
        check_hub_name(key, adapter.name, adapter.revision)
        check_repository_path(key, adapter.file)


def _check_weights(adapters: Mapping[str, AdapterConfig]) -> None:
    for reward, adapter in adapters.items():
        if adapter.weight != 1:
            raise InvalidValueError(
                f"the adapter of {reward} has the weight {adapter.weight:g}, but the weightings of the run weigh it",
                "leave its weight out",
                f"model.adapters_by_reward.{reward}.weight",
            )


class VaeConfig(StrictModel):
    """A VAE in place of the model's own."""

    name: str = Field(description="a folder in diffusers layout, or, with revision, owner/name on the hub")
    revision: Commit | None = Field(
        None, description="commit of the VAE on the hub, 40 hexadecimal digits; null for a local folder"
    )

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        check_hub_name("model.vae", self.name, self.revision)
        return self


class ModelConfig(StrictModel):
    """The pretrained model and how it is sampled."""

    name: str = Field(
        "mini",
        description='"mini" for the embedded model, a local folder in diffusers layout, or, with revision, owner/name '
        "on the hub",
    )
    revision: Commit | None = Field(
        None, description="commit of the model on the hub, 40 hexadecimal digits; null for a local model"
    )
    adapters: Annotated[tuple[AdapterConfig, ...], BeforeValidator(as_tuple)] = Field(
        (), description="LoRAs on top of the model, loaded in this order"
    )
    adapters_by_reward: dict[str, AdapterConfig] = Field(
        {},
        description="for the methods model_soup and output_soup: the LoRA that was fine-tuned for each guided reward",
    )
    mix: Literal["deltas", "factors"] = Field(
        "deltas",
        description="what model_soup adds up with the weights w: deltas adds the changes B A of the weights, which is "
        "the soup of the fine-tuned models; factors adds the matrices A and B apart, as AlignProp's code does",
    )
    vae: VaeConfig | None = Field(
        None, description="VAE that decodes the latents in place of the model's own; null for the model's own"
    )
    guidance_scale: float = Field(5.0, ge=0, description="scale of classifier-free guidance; 1 turns the guidance off")
    negative_prompt: str | None = Field(
        None, description="text that classifier-free guidance leads away from; null for the model's own default"
    )
    height: int | None = Field(
        None,
        ge=1,
        le=LONGEST_SIDE,
        description="height of the images in pixels; null for the model's own; the model decides which multiples are "
        "allowed",
    )
    width: int | None = Field(
        None, ge=1, le=LONGEST_SIDE, description="width of the images in pixels; null for the model's own"
    )
    eta: float | None = Field(
        None, ge=0, le=1, description="noise of DDIM; 0 is deterministic, so it cannot be guided; null for 1"
    )
    noise_level: float | None = Field(
        None, ge=0, description="noise of a flow (Stable Diffusion 3, FLUX.1); 0 cannot be guided; null for 0.7"
    )
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="number format of the model's weights and activations"
    )
    attention_slicing: bool = Field(
        False, description="compute attention in slices, which takes less memory and more time; UNets only"
    )
    vae_slicing: bool = Field(False, description="decode images one by one, which takes less memory and more time")
    offload_text_encoders: bool = Field(
        False,
        description="keep the text encoders on the CPU except while a prompt is encoded, which takes less GPU memory "
        "and some seconds",
    )

    gradient_checkpointing: bool = Field(
        False,
        description="compute activations again in the backward passes of a surrogate, which takes less memory and more "
        "time",
    )

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        check_hub_name("model.name", self.name, self.revision)
        _check_places("model.adapters", self.adapters)
        _check_places("model.adapters_by_reward", self.adapters_by_reward.values())
        _check_weights(self.adapters_by_reward)
        return self

    @model_serializer(mode="wrap")
    def _without_unused_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that have no effect, so that runs of versions without these keys can be continued."""
        data: dict[str, Any] = serialise(self)
        if not self.gradient_checkpointing:
            data.pop("gradient_checkpointing", None)
        if not self.adapters_by_reward:
            data.pop("adapters_by_reward", None)
        if self.mix == "deltas":
            data.pop("mix", None)
        for key in ("vae", "height", "width"):
            if getattr(self, key) is None:
                data.pop(key, None)
        return data
