"""The refusal of a LoRA. Imports no torch."""

from collections.abc import Collection

from diffusion.errors import ModelError

KEY = "model.adapters"


def refused(problem: str, fix: str | None = None) -> ModelError:
    """Return the error of a LoRA that cannot be used."""
    return ModelError(
        problem,
        "a LoRA of this model's family, .safetensors, in the layout of diffusers, peft or (for a UNet) kohya",
        fix or "remove the adapter from model.adapters, or use the model that it was trained on",
        KEY,
    )


def listed(names: Collection[str]) -> str:
    """Return the first three names, and how many more there are."""
    shown = ", ".join(name[:200] for name in list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
