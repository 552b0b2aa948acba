"""How the reward vlm_judge is asked."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from configs.strict_model import StrictModel

JUDGE_TEMPLATE = (
    "This image was made for the text below. How well does it show the text, and how good does it look? "
    "Answer with one number from 0 (not at all) to 10 (perfectly), and nothing else.\n\nText: {prompt}"
)


class JudgeConfig(StrictModel):
    """How the reward vlm_judge asks a model behind an OpenAI-compatible endpoint. Ceilings are of one reward actor."""

    url: str = Field(description="of the API, such as http://127.0.0.1:8000/v1; without user, key or query")
    model: str = Field(min_length=1, description="the name that the server knows")
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds the key; never the key")
    template: str = Field(JUDGE_TEMPLATE, description='the question; "{prompt}" in it becomes the prompt')
    low: float = Field(0.0, description="lowest answer")
    high: float = Field(10.0, description="highest answer")
    requests_per_minute: float = Field(60.0, gt=0)
    concurrency: int = Field(4, ge=1, le=64, description="requests under way at once")
    timeout: float = Field(60.0, gt=0, description="seconds of one request")
    retries: int = Field(4, ge=0, le=20, description="of one request")
    back_off: float = Field(1.0, ge=0, description="seconds before the first retry, doubled each time, at most 30")
    deadline: float = Field(600.0, gt=0, description="seconds for one chunk of images")
    max_requests: int | None = Field(None, ge=1, description="ceiling; null is none")
    max_cost: float | None = Field(None, gt=0, description="ceiling, in the currency of the prices; null is none")
    input_price: float = Field(0.0, ge=0, description="of a million tokens")
    output_price: float = Field(0.0, ge=0, description="of a million tokens")
    cache: str | None = Field(None, description="folder of the answers; null is srsoup/judge in the user's cache")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("rewards.judge.url: this is no plain address; give http(s)://HOST[:PORT]/PATH and no more")
        if self.low >= self.high:
            raise ValueError(f"rewards.judge.low: {self.low:g} is not below high, {self.high:g}; set it lower")
        if "{prompt}" not in self.template:
            raise ValueError('rewards.judge.template: the question has no "{prompt}"; put it where the prompt goes')
        if self.max_cost is not None and not self.input_price and not self.output_price:
            raise ValueError("rewards.judge.max_cost: there are no prices; set input_price and output_price")
        return self
