"""A vision-language model behind an OpenAI-compatible endpoint, which gives each image a mark."""

import base64
import hashlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from configs.sections.judge import judge_cache
from rewards.base import RewardInfo
from rewards.chat_endpoint import Endpoint, EndpointSettings
from rewards.errors import RewardError

NUMBER = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*")
# Longest answer in tokens. It is enough for a number, and for nothing else.
MOST_TOKENS = 16


class JudgeSettings(EndpointSettings, Protocol):
    """The settings of a judge, with those of its endpoint.

    Attributes:
        model: name of the model, as the server knows it.
        template: question to the model; "{prompt}" in it is replaced by the prompt.
        low: lowest mark that the question allows.
        high: highest mark that the question allows.
        concurrency: number of requests that are open at once.
        deadline: seconds that one call of `score`, for a chunk of images, may take.
        cache: folder in which answers are kept; None for srsoup/judge in XDG_CACHE_HOME.
    """

    @property
    def model(self) -> str: ...
    @property
    def template(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def deadline(self) -> float: ...
    @property
    def cache(self) -> str | None: ...


class VlmJudge:
    """The mark, in low..high, that the model gives in answer to a question about the image and the prompt.

    The image is sent as a PNG file, with temperature 0. The answer must be a number and nothing else. It is kept on
    disk under the hash of address, model, question, scale and pixels, so later runs do not send the request again.

    Args:
        settings: the section `rewards.judge` of a configuration. Without settings the reward can be listed, but not
            set up.
    """

    info = RewardInfo(
        name="vlm_judge",
        description="the better the mark that the model behind rewards.judge gives, the higher",
        unit="mark",
        range=(0.0, 10.0),
        reads_prompt=True,
        differentiable=False,
        batch_sensitive=False,
        source="an OpenAI-compatible chat endpoint of your choice",
        licence="that of the model you choose",
        preprocessing="PNG at full size, then the model's own preprocessing",
    )

    def __init__(self, settings: JudgeSettings | None = None) -> None:
        self._settings = settings
        self._endpoint: Endpoint | None = None
        if settings is not None:
            self.info = replace(type(self).info, range=(settings.low, settings.high))

    def setup(self, device: str) -> None:
        """Read the key and make the cache folder. The first request is sent by `score`.

        Raises:
            RewardError: there are no settings, or the key cannot be sent.
        """
        if self._settings is None:
            raise RewardError(
                "vlm_judge has no endpoint to query",
                "set rewards.judge.url and rewards.judge.model in the configuration",
            )
        self._endpoint = Endpoint(self._settings)
        self._cache = Path(self._settings.cache) if self._settings.cache else judge_cache()
        self._cache.mkdir(parents=True, exist_ok=True)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the marks, float32 (n,).

        Raises:
            EndpointError: an answer did not come within the limits. The answers that came are in the cache.
        """
        if self._endpoint is None or self._settings is None:
            raise RewardError("vlm_judge is not set up, or it is closed", "call setup() first")
        deadline = time.monotonic() + self._settings.deadline
        files = [_png(image) for image in images.cpu().numpy()]
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            marks = [pool.submit(self._mark, *query, deadline) for query in zip(files, prompts, strict=True)]
            try:
                return torch.tensor([mark.result() for mark in marks], dtype=torch.float32)
            except RewardError:
                # The chunk has failed, so its other requests are not sent.
                pool.shutdown(cancel_futures=True)
                raise

    def close(self) -> None:
        self._endpoint = None

    def _mark(self, file: bytes, prompt: str, deadline: float) -> float:
        assert self._endpoint is not None and self._settings is not None
        question = self._settings.template.replace("{prompt}", prompt)
        place = self._cache / f"{self._key(file, question)}.json"
        if place.is_file():
            return float(json.loads(place.read_text(encoding="utf-8"))["mark"])
        mark = self._endpoint.request(self._body(file, question), deadline, self._parse_mark)
        _write_whole(place, json.dumps({"mark": mark, "model": self._settings.model, "question": question}))
        return float(mark)

    def _key(self, file: bytes, question: str) -> str:
        assert self._settings is not None
        scale = (self._settings.low, self._settings.high)
        identity = json.dumps([self._settings.url, self._settings.model, question, *scale])
        return hashlib.sha256(identity.encode() + b"\0" + file).hexdigest()

    def _body(self, file: bytes, question: str) -> dict[str, Any]:
        assert self._settings is not None
        picture = "data:image/png;base64," + base64.b64encode(file).decode()
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": picture}}]
        return {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
        }

    def _parse_mark(self, text: str) -> float:
        """The mark of an answer. A number among words, or outside the scale, is refused."""
        assert self._settings is not None
        low, high = self._settings.low, self._settings.high
        if not NUMBER.fullmatch(text):
            raise ValueError(f"an answer that is not a number ({text!r:.80})")
        if not low <= float(text) <= high:
            raise ValueError(f"an answer outside {low:g}..{high:g} ({text!r:.80})")
        return float(text)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def _write_whole(path: Path, text: str) -> None:
    """Write a file and rename it into place.

    Several actors may get the same answer at once. The last rename wins, and no reader sees half a file.
    """
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as part:
        part.write(text)
    os.replace(part.name, path)
