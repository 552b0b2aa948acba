"""The section `rewards.judge`: the endpoint and the question of the reward vlm_judge."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from configs.errors import InvalidValueError
from configs.strict_model import StrictModel

JUDGE_TEMPLATE = (
    "This image was made for the text below. How well does it show the text, and how good does it look? "
    "Answer with one number from 0 (not at all) to 10 (perfectly), and nothing else.\n\nText: {prompt}"
)

_URL_FIX = "give http(s)://HOST[:PORT]/PATH and no more"


class JudgeConfig(StrictModel):
    """How vlm_judge queries a model behind an OpenAI-compatible endpoint. All limits hold for each reward actor."""

    url: str = Field(
        description="address of the API, such as http://127.0.0.1:8000/v1, without user name, key or query"
    )
    model: str = Field(min_length=1, description="name of the model, as the server knows it")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="name of the environment variable that holds the key; never the key itself"
    )
    template: str = Field(
        JUDGE_TEMPLATE, description='question to the model; "{prompt}" in it is replaced by the prompt'
    )
    low: float = Field(0.0, description="lowest mark that the question allows")
    high: float = Field(10.0, description="highest mark that the question allows")
    requests_per_minute: float = Field(60.0, gt=0, description="highest rate at which requests are sent")
    concurrency: int = Field(4, ge=1, le=64, description="number of requests that are open at once")
    timeout: float = Field(60.0, gt=0, description="seconds that one request may take")
    retries: int = Field(4, ge=0, le=20, description="number of times that a failed request is sent again")
    back_off: float = Field(
        1.0, ge=0, description="seconds before the first retry; they double with each retry, up to 30"
    )
    deadline: float = Field(600.0, gt=0, description="seconds that one chunk of images may take")
    max_requests: int | None = Field(None, ge=1, description="highest number of requests; null for no limit")
    max_cost: float | None = Field(
        None, gt=0, description="highest cost, in the currency of the prices; null for no limit"
    )
    input_price: float = Field(0.0, ge=0, description="price of a million input tokens")
    output_price: float = Field(0.0, ge=0, description="price of a million output tokens")
    cache: str | None = Field(
        None, description="folder in which answers are kept; null for srsoup/judge in the user's cache"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise InvalidValueError(f"the address cannot be read: {error}", _URL_FIX) from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InvalidValueError("this is not a plain address", _URL_FIX)
        return url

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: str) -> str:
        if "{prompt}" not in template:
            raise InvalidValueError('the question has no "{prompt}"', "put it where the prompt goes")
        return template

    @model_validator(mode="after")
    def _check_scale_and_prices(self) -> Self:
        if self.low >= self.high:
            raise InvalidValueError(
                f"low is {self.low:g}, which is not below high, {self.high:g}", "set it lower", "rewards.judge.low"
            )
        if self.max_cost is not None and not self.input_price and not self.output_price:
            raise InvalidValueError(
                "there are no prices, so the cost is not known",
                "set input_price and output_price",
                "rewards.judge.max_cost",
            )
        return self
