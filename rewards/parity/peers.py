"""The authors' own packages, each as a function from images and prompts to scores. None is a dependency of SRSoup."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from PIL.Image import Image

Score = Callable[[Sequence[Image], Sequence[str]], list[float]]


@dataclass(frozen=True)
class Peer:
    """What a reward is compared with.

    Attributes:
        package: the package, as pip calls it.
        load: function that loads the authors' model and returns the function that scores.
        tolerance: the difference that rounding may make; the authors of some compute in half precision.
    """

    package: str
    load: Callable[[], Score]
    tolerance: float

    @property
    def version(self) -> str | None:
        """The version of the package on this machine; None if it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def transformers_cosine(model: str, processor: str, **options: Any) -> Score:
    """The cosine of the features of a CLIP model, by the model and the processor of transformers."""
    from transformers import CLIPModel, CLIPProcessor

    network: Any = CLIPModel.from_pretrained(model, **options).eval()
    prepare: Any = CLIPProcessor.from_pretrained(processor)

    def score(images: Sequence[Image], prompts: Sequence[str]) -> list[float]:
        found = []
        for image, prompt in zip(images, prompts, strict=True):
            inputs = prepare(
                text=[prompt], images=[image], padding="max_length", truncation=True, max_length=77, return_tensors="pt"
            )
            with torch.inference_mode():
                output = network(**inputs)
            features = [torch.nn.functional.normalize(one, dim=-1) for one in (output.image_embeds, output.text_embeds)]
            found.append(float((features[0] * features[1]).sum()))
        return found

    return score


def _hpsv2(version: str) -> Score:
    import hpsv2  # type: ignore[import-not-found]

    return lambda images, prompts: [
        float(hpsv2.score(image, prompt, hps_version=version)[0])
        for image, prompt in zip(images, prompts, strict=True)
    ]  # fmt: skip


def _image_reward() -> Score:
    import ImageReward  # type: ignore[import-not-found]

    model = ImageReward.load("ImageReward-v1.0", device="cpu")
    return lambda images, prompts: [
        float(model.score(prompt, image)) for image, prompt in zip(images, prompts, strict=True)
    ]


def _aesthetic() -> Score:
    import clip  # type: ignore[import-not-found]

    from rewards.aesthetic import HEAD, load_head

    network, prepare = clip.load("ViT-L/14", device="cpu")
    head = load_head(HEAD)

    def score(images: Sequence[Image], prompts: Sequence[str]) -> list[float]:
        with torch.inference_mode():
            features = network.encode_image(torch.stack([prepare(image) for image in images])).float()
            return [float(value) for value in head(torch.nn.functional.normalize(features, dim=-1))[:, 0]]

    return score


_CLIP = "openai/clip-vit-large-patch14"
PEERS: Mapping[str, Peer] = {
    "clip_score": Peer("transformers", lambda: transformers_cosine(_CLIP, _CLIP), 1e-4),
    "pickscore": Peer(
        "transformers",
        lambda: transformers_cosine("yuvalkirstain/PickScore_v1", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        1e-4,
    ),
    "hpsv2": Peer("hpsv2", lambda: _hpsv2("v2.0"), 2e-3),
    "hpsv2.1": Peer("hpsv2", lambda: _hpsv2("v2.1"), 2e-3),
    "image_reward": Peer("image-reward", _image_reward, 2e-2),
    "aesthetic": Peer("clip", _aesthetic, 2e-2),
}
"""By the name of the reward. `imagenet_confidence` and `mini_clip` have no package of their authors to compare with."""
