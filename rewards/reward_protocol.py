"""The protocol between a run and a server that computes a reward (docs/reward_server.md): JSON over HTTP.

GET  URL/health   -> {"protocol": 1, "version": text, "reward": declaration}
POST URL/score    {"images": [PNG as base64, ...], "prompts": [text, ...]} -> {"version": text, "scores": [number, ...]}

A declaration has the fields of `RewardInfo` that a server can promise. An error has the status 4xx if the same request
would fail again, and 5xx if it may be sent again, with {"error": text}.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rewards.base import RewardInfo

PROTOCOL = 1
MOST_IMAGES = 1_024
# An image of 2,048 x 2,048 pixels of noise is a PNG of 12 MB.
MOST_BYTES = 1 << 28
MOST_PIXELS = 1 << 24
# The largest float32.
LARGEST_SCORE = float(torch.finfo(torch.float32).max)
_TEXTS = ("description", "unit", "source", "licence", "preprocessing")
_FLAGS = ("reads_prompt", "batch_sensitive", "any_prompt")


def declaration_of(info: RewardInfo) -> dict[str, Any]:
    """Return what a server says about its reward, as plain data. An infinite bound is null."""
    texts = {name: getattr(info, name) for name in _TEXTS}
    flags = {name: getattr(info, name) for name in _FLAGS}
    return {"name": info.name, **texts, **flags, "range": [x if math.isfinite(x) else None for x in info.range]}


def info_of(declaration: object, name: str) -> RewardInfo:
    """Return a declaration as that of the reward `name` of a run. What a server does not say is taken at its worst.

    Raises:
        ValueError: it is no declaration; says what is wrong.
    """
    if not isinstance(declaration, Mapping):
        raise ValueError("its declaration is no object")
    texts = {key: declaration.get(key, "") for key in _TEXTS}
    flags = {key: declaration.get(key, True) for key in _FLAGS}
    if wrong := [key for key, value in texts.items() if not isinstance(value, str) or not value.isprintable()]:
        raise ValueError(f"{wrong[0]} in its declaration is no line of text")
    if wrong := [key for key, value in flags.items() if not isinstance(value, bool)]:
        raise ValueError(f"{wrong[0]} in its declaration is neither true nor false")
    bounds = declaration.get("range", [None, None])
    if not isinstance(bounds, list) or len(bounds) != 2 or any(not _is_bound(bound) for bound in bounds):
        raise ValueError("range in its declaration is not two numbers, or null for no bound")
    low = -math.inf if bounds[0] is None else float(bounds[0])
    high = math.inf if bounds[1] is None else float(bounds[1])
    if not low < high:
        raise ValueError("range in its declaration does not rise")
    texts["description"] = texts["description"] or "(no description)"
    return RewardInfo(name=name, range=(low, high), differentiable=False, **texts, **flags)


def request_body(images: Tensor, prompts: Sequence[str]) -> dict[str, Any]:
    """Return the body of a request for scores. Images are uint8 RGB, shape (n, 3, h, w). PNG loses nothing."""
    return {"images": [_png(image) for image in images.cpu().numpy()], "prompts": list(prompts)}


def images_and_prompts(body: object) -> tuple[Tensor, list[str]]:
    """Read the body of a request: images uint8 (n, 3, h, w) of one size, and n prompts.

    Raises:
        ValueError: it is no such body; says what is wrong.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the request is no object")
    pictures, prompts = body.get("images"), body.get("prompts")
    if not isinstance(pictures, list) or not isinstance(prompts, list) or len(pictures) != len(prompts):
        raise ValueError("images and prompts are not two lists of one length")
    if not 1 <= len(pictures) <= MOST_IMAGES:
        raise ValueError(f"there are {len(pictures)} images, and 1 to {MOST_IMAGES:,} are taken")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("a prompt is no text")
    images = [_pixels(picture, index) for index, picture in enumerate(pictures)]
    if len({image.shape for image in images}) > 1:
        raise ValueError("the images are not of one size")
    return torch.from_numpy(np.stack(images)), prompts


def scores_of(answer: object, n: int) -> tuple[Tensor, str]:
    """Read the JSON of an answer with scores: float32 (n,), and the version of the reward.

    Raises:
        ValueError: it is no such answer; says what is wrong.
    """
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if (
        not isinstance(answer, dict)
        or not isinstance(scores, list)
        or not all(type(score) in (int, float) for score in scores)
    ):
        raise ValueError("an answer whose scores are no list of numbers")
    if len(scores) != n:
        raise ValueError(f"{len(scores)} scores for {n} images")
    if bad := [index for index, score in enumerate(scores) if not abs(score) <= LARGEST_SCORE]:
        raise ValueError(f"the score {str(scores[bad[0]])[:40]} for image {bad[0]} of {n}")
    return torch.tensor([float(score) for score in scores], dtype=torch.float32), str(answer.get("version", ""))


def _is_bound(value: object) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(float(str(value))))


def _png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    # The least compression: a network within a cluster is faster than deflate.
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def _pixels(picture: object, index: int) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(picture), validate=True)), formats=["PNG"]) as image:
            if image.mode != "RGB" or image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has the mode {image.mode} and the size {image.width} x {image.height}")
            return np.asarray(image).transpose(2, 0, 1).copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"image {index} is no PNG file in RGB: {error}") from error
