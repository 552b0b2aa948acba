"""The section `lookahead`: how a candidate becomes the image that the rewards score."""

from typing import Literal

from pydantic import Field

from configs.strict_model import StrictModel


class LookaheadConfig(StrictModel):
    """How a candidate becomes the image that the rewards score: the less exact, the cheaper.

    The final images are always made in full.
    """

    guidance: bool = Field(
        True,
        description="off predicts a candidate's image without classifier-free guidance, which halves that pass through "
        "the denoiser; the means are guided as ever",
    )
    downscale: Literal[1, 2, 4] = Field(
        1,
        description="the sides of a candidate's image are divided by this, by the mean of its latents, which divides "
        "the decoder's work by the square",
    )
