"""A vision-language model behind an OpenAI-compatible endpoint, asked for a number an image."""

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

from rewards.base import RewardInfo
from rewards.chat_endpoint import Endpoint, EndpointSettings
from rewards.errors import RewardError

NUMBER = re.compile(r"\s*[-+]?\d+(\.\d+)?\s*")
# A number and nothing else.
MOST_TOKENS = 16


class JudgeSettings(EndpointSettings, Protocol):
    """What a judge needs to know, besides how its endpoint is asked.

    Attributes:
        model: name that the server knows.
        template: the question; "{prompt}" in it becomes the prompt.
        low, high: the lowest and the highest answer that the question allows.
        concurrency: requests under way at once.
        deadline: seconds for one call, of a chunk of images.
        cache: folder of the answers; None is srsoup/judge in XDG_CACHE_HOME.
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
    """The number that the model answers to the question about image and prompt, in low..high.

    The image goes as a PNG file, at temperature 0. The answer must be a number and nothing else, and is kept on the
    disk under the hash of question, model, address and pixels: the same question is asked once, also by later runs.

    Args:
        settings: of a run's configuration (`rewards.judge`); None can be listed, but not set up.
    """

    info = RewardInfo(
        name="vlm_judge",
        description="the higher the model behind rewards.judge marks image and prompt",
        unit="mark",
        range=(0.0, 10.0),
        reads_prompt=True,
        differentiable=False,
        batch_sensitive=False,
        source="an OpenAI-compatible chat endpoint of your choice",
        licence="of the model that is asked",
        preprocessing="PNG at full size; the model's own after that",
    )

    def __init__(self, settings: JudgeSettings | None = None) -> None:
        self._settings = settings
        self._endpoint: Endpoint | None = None
        if settings is not None:
            self.info = replace(type(self).info, range=(settings.low, settings.high))

    def setup(self, device: str) -> None:
        """Open nothing yet: the endpoint is first asked by `score`."""
        if self._settings is None:
            raise RewardError(
                "vlm_judge has no endpoint", "set rewards.judge.url and rewards.judge.model in the configuration"
            )
        self._endpoint = Endpoint(self._settings)
        self._cache = Path(self._settings.cache) if self._settings.cache else default_cache()
        self._cache.mkdir(parents=True, exist_ok=True)

    def score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Marks, float32 (n,).

        Raises:
            EndpointError: an answer could not be had within the limits; what was answered is in the cache.
        """
        if self._endpoint is None or self._settings is None:
            raise RewardError("vlm_judge is not set up, or closed", "call setup() first")
        deadline = time.monotonic() + self._settings.deadline
        files = [_png(image) for image in images.cpu().numpy()]
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            marks = [pool.submit(self._mark, *asked, deadline) for asked in zip(files, prompts, strict=True)]
            try:
                return torch.tensor([mark.result() for mark in marks], dtype=torch.float32)
            except RewardError:
                # The chunk is lost: ask nothing more for it.
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
        mark = self._endpoint.ask(self._body(file, question), deadline, self._number)
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

    def _number(self, text: str) -> float:
        """The answer as a mark; a number among words, or past the scale, is none."""
        assert self._settings is not None
        low, high = self._settings.low, self._settings.high
        if not NUMBER.fullmatch(text):
            raise ValueError(f"an answer that is no number ({text!r:.80})")
        if not low <= float(text) <= high:
            raise ValueError(f"an answer outside {low:g}..{high:g} ({text!r:.80})")
        return float(text)


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "srsoup" / "judge"


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def _write_whole(path: Path, text: str) -> None:
    """Several actors may answer the same question: the last rename wins, and no reader sees a half."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as part:
        part.write(text)
    os.replace(part.name, path)
