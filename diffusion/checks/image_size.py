"""The sizes of images that a model can make, from the configurations of its parts. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.checks.json_file import read_json
from diffusion.errors import ModelError
from diffusion.families import Family

# The largest side of latents: images of 8,192 pixels with a VAE whose images are 8 times as wide.
MOST_LATENTS = 1024


@dataclass(frozen=True)
class ImageSizes:
    """The sizes that a model can make, in pixels. A size is (height, width).

    Attributes:
        own: the size that the model makes if none is given.
        multiple: each side is a multiple of this: the pixels of one latent, times the side of a patch of latents.
        most: the longest side.
    """

    own: tuple[int, int]
    multiple: int
    most: int

    def chosen(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Return the size of images; None is the model's own side.

        Raises:
            ModelError: the model has no images with such a side; names the key and the nearest side that it has.
        """
        given = (height, width)
        for key, side in zip(("height", "width"), given, strict=True):
            if side is not None and (side % self.multiple or not self.multiple <= side <= self.most):
                raise ModelError(
                    f"the {key} of the images is {side} pixels, which is not one of the model's sizes",
                    f"multiples of {self.multiple}, {self.multiple}..{self.most} (its own: {self.own[0]} x "
                    f"{self.own[1]}, height x width)",
                    f"set model.{key}={self.nearest(side)}",
                    f"model.{key}",
                )
        sides = (side if side is not None else own for side, own in zip(given, self.own, strict=True))
        height, width = sides
        return height, width

    def nearest(self, side: int) -> int:
        """Return the side nearest to a given one that the model can make. Of two that are as near, it is the larger."""
        rounded = (side + self.multiple // 2) // self.multiple * self.multiple
        return min(max(rounded, self.multiple), self.most)

    def tokens(self, size: tuple[int, int]) -> int:
        """Return the number of patches of an image, which a transformer reads as tokens."""
        height, width = size
        return (height // self.multiple) * (width // self.multiple)


def image_sizes(family: Family, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> ImageSizes:
    """Return the sizes of a model.

    Args:
        family: family of the model.
        denoiser: configuration of the denoiser, which `dimensions.check_denoiser` has checked.
        vae: configuration of the VAE.

    Raises:
        ModelError: the size of the patches or the number of positions is no number.
    """
    size = family.own_side(denoiser)
    height, width = (size, size) if isinstance(size, int) else size
    pixels = pixels_of_a_latent(vae)
    patch, positions, most = family.packed, None, MOST_LATENTS
    if family.patch is not None:
        patch = family.patch_of(denoiser)
        positions = denoiser.get("pos_embed_max_size", family.positions)
        for key, value in (("patch_size", patch), ("pos_embed_max_size", positions)):
            if value is not None and not (type(value) is int and 1 <= value <= MOST_LATENTS):
                raise ModelError(
                    f"the {family.denoiser} has the {key} {str(value)[:100]}", f"a whole number, 1..{MOST_LATENTS}",
                    f"correct {family.denoiser}/config.json of the model",
                )  # fmt: skip
    if positions is not None:
        most = min(most, positions * patch)
    multiple = pixels * patch
    return ImageSizes((height * pixels, width * pixels), multiple, most * pixels // multiple * multiple)


def sizes_of_folder(folder: Path, family: Family) -> ImageSizes:
    """Return the sizes of the model in a folder, or in a folder of its configuration files alone."""
    return image_sizes(family, *(read_json(folder / part / "config.json") for part in (family.denoiser, "vae")))


def pixels_of_a_latent(vae: Mapping[str, Any]) -> int:
    """Return how many times as wide as latents the images of a VAE are."""
    if halvings := vae.get("temperal_downsample"):  # of Qwen-Image, and misspelt by its authors
        return int(2 ** len(halvings))
    blocks = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or (64,)
    return int(2 ** (len(blocks) - 1))
