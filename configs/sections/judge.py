"""The section `rewards.judge`: the endpoint and the question of the reward vlm_judge, and who may be queried."""

import os
import shlex
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from configs.errors import InvalidValueError, RequestError
from configs.sections.hosts import Typed, check_host_is_confirmed, plain_address
from configs.strict_model import StrictModel

JUDGE_TEMPLATE = (
    "This image was made for the text below. How well does it show the text, and how good does it look? "
    "Answer with one number from 0 (not at all) to 10 (perfectly), and nothing else.\n\nText: {prompt}"
)

# The environment variable in which the user names the hosts that a configuration file may have queried.
ALLOWED_HOSTS = "SRSOUP_JUDGE_HOST"
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_KEY = "rewards.judge"


class JudgeConfig(StrictModel):
    """How vlm_judge queries a model behind an OpenAI-compatible endpoint. All limits hold for each reward actor."""

    url: str = Field(
        description="address of the API, such as http://127.0.0.1:8000/v1, without user name, key or query; the user "
        f"confirms it on the command line or in {ALLOWED_HOSTS}"
    )
    model: str = Field(min_length=1, description="name of the model, as the server knows it")
    key_variable: str = Field(
        DEFAULT_KEY_VARIABLE,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="name of the environment variable that holds the key, never the key itself; another name than the "
        f"default is taken from the command line or from {ALLOWED_HOSTS}",
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
        None,
        description="folder in which answers are kept, in a file only within srsoup/judge in the user's cache; null "
        "for that folder itself",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return plain_address(url)

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


def check_judge_is_confirmed(judge: JudgeConfig, typed: Typed, file: str) -> None:
    """Check that the user, and not the configuration file alone, names the host, the key's variable and the cache.

    Raises:
        RequestError: the user has not confirmed the host, the variable of the key, or a cache that is elsewhere.
    """
    check_host_is_confirmed(_KEY, judge.url, judge.key_variable, DEFAULT_KEY_VARIABLE, ALLOWED_HOSTS, typed, file)
    _check_cache(judge, typed, file)


def judge_cache() -> Path:
    """Return the folder in which answers are kept unless the user names another one."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "srsoup" / "judge"


def _check_cache(judge: JudgeConfig, typed: Typed, file: str) -> None:
    if judge.cache is None or judge.cache in typed(f"{_KEY}.cache"):
        return
    if not Path(judge.cache).resolve().is_relative_to(judge_cache().resolve()):
        raise RequestError(
            file=file, key=f"{_KEY}.cache", value=judge.cache,
            problem="this file keeps the answers outside the cache",
            allowed=f"a folder within {judge_cache()}; on the command line, any folder",
            fix=f"leave it out, or add {shlex.quote(f'{_KEY}.cache={judge.cache}')} to the command",
        )  # fmt: skip
