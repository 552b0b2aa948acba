"""The judge against a server that misbehaves: it retries, gives up in time, keeps its limits and hides the key."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from typer.testing import CliRunner

from actors.workers import RewardWorker
from configs.errors import RequestError
from configs.load import load_config
from pipeline.cli.commands import app
from pipeline.job.result_writer import _record
from pipeline.planning.plan import make_plan
from pipeline.records import read_table
from rewards.base import checked_score
from rewards.errors import RewardError
from rewards.vlm_judge import VlmJudge
from tests.support.servers.fake_judge import KEY, FakeJudge, mark

DEMO = Path(__file__).parents[3] / "configs" / "demo.yaml"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJudge]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeJudge(tmp_path / "answers") as judge:
        yield judge


def images(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(0, 256, (n, 3, 6, 7), np.uint8))


def marks(server: FakeJudge, n: int = 1, **settings: Any) -> list[float]:
    """The marks of n images by a judge with these settings."""
    judge = VlmJudge(server.settings(**settings))
    judge.setup("cpu")
    try:
        return checked_score(judge, images(n), [f"prompt {i}" for i in range(n)]).tolist()
    finally:
        judge.close()


def error_of(server: FakeJudge, words: str, seconds: float = 2.5, n: int = 1, **settings: Any) -> str:
    """The message of the error, which holds these words and comes within these seconds."""
    start = time.monotonic()
    with pytest.raises(RewardError, match=words) as caught:
        marks(server, n, **settings)
    assert time.monotonic() - start < seconds, "it took too long"
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_a_score_is_the_mark_of_the_model(server: FakeJudge) -> None:
    template = server.settings().template
    pixels = images(5).permute(0, 2, 3, 1).numpy()
    expected = [mark(pixels[i], template.replace("{prompt}", f"prompt {i}")) for i in range(5)]
    assert marks(server, 5) == pytest.approx(expected, rel=1e-6)
    assert {body["model"] for body in server.bodies} == {"judge-1"}
    assert all(body["temperature"] == 0 for body in server.bodies)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_the_same_question_is_sent_once_also_by_another_instance(server: FakeJudge) -> None:
    first = marks(server, 3)
    assert marks(server, 3) == first and len(server.bodies) == 3
    judge = VlmJudge(server.settings(template="Another: {prompt}"))
    judge.setup("cpu")
    judge.score(images(3), [f"prompt {i}" for i in range(3)])
    assert len(server.bodies) == 6


@pytest.mark.parametrize(
    "failure", [500, 502, 503, 504, 408, 429, "cut", "no number", (200, {}, "not json"), (200, {}, '{"choices": []}')]
)
def test_a_failure_that_passes_is_retried(server: FakeJudge, failure: Any) -> None:
    server.script = [failure, failure]
    assert marks(server) and len(server.bodies) == 3


def test_a_failure_that_lasts_is_an_error_after_the_retries(server: FakeJudge) -> None:
    server.script = [500] * 9
    assert "all 3 attempts failed" in error_of(server, r"status 500 \(trouble\)", retries=2)
    assert len(server.bodies) == 3


@pytest.mark.parametrize("answer", ["7 out of 10", "nan", "inf", "1e1", "", "seven", "11", "-1", "7,5", "0x7", "7\n8"])
def test_an_answer_that_is_not_a_mark_is_refused(server: FakeJudge, answer: str) -> None:
    server.script = [answer] * 2
    error_of(server, "an answer", retries=1)


@pytest.mark.parametrize("answer", ["7", " 7.5\n", "+3", "0", "10", "10.0"])
def test_a_bare_number_on_the_scale_is_a_mark(server: FakeJudge, answer: str) -> None:
    server.script = [answer]
    assert marks(server) == [float(answer)]


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_request_that_does_not_end_is_given_up_at_the_timeout(server: FakeJudge, behaviour: str) -> None:
    server.script = [behaviour] * 2
    error_of(server, "no whole answer in 0.3 s", timeout=0.3, retries=1)


def test_a_request_that_times_out_is_retried(server: FakeJudge) -> None:
    server.script = ["hang"]
    assert marks(server, timeout=0.3)


def test_a_chunk_ends_at_its_deadline(server: FakeJudge) -> None:
    server.script = [500] * 99
    error_of(server, "the deadline has passed, after status 500", deadline=0.5, retries=20, back_off=0.2)


def test_a_server_that_does_not_exist_is_an_error(server: FakeJudge) -> None:
    error_of(server, "the connection failed", url="http://127.0.0.1:9/v1", retries=1)


def test_retry_after_is_waited_for(server: FakeJudge) -> None:
    server.script = [(429, {"Retry-After": "1"}, "slow down")]
    assert marks(server)
    assert 0.95 < server.times[1] - server.times[0] < 3


@pytest.mark.parametrize("header", ["nan", "-1", "Wed, 21 Oct 2099 07:28:00 GMT", ""])
def test_a_retry_after_of_another_form_is_replaced_by_the_back_off(server: FakeJudge, header: str) -> None:
    server.script = [(429, {"Retry-After": header}, "slow down")]
    assert marks(server, deadline=5.0)


def test_a_retry_after_past_the_deadline_fails_at_once(server: FakeJudge) -> None:
    server.script = [(429, {"Retry-After": "3600"}, "slow down")]
    error_of(server, "the deadline has passed, after status 429", deadline=5.0)


def test_the_rate_is_kept(server: FakeJudge) -> None:
    marks(server, 5, requests_per_minute=600.0)
    gaps = np.diff(server.times)
    assert min(gaps) > 0.05 and server.times[-1] - server.times[0] > 0.35


def test_the_limit_of_requests_is_never_exceeded(server: FakeJudge) -> None:
    error_of(server, "the limit of 3 requests is reached; raise max_requests", n=6, max_requests=3)
    assert len(server.bodies) == 3
    # The answers are kept, so with a higher limit only the other requests are sent.
    assert len(marks(server, 6, max_requests=3)) == 6 and len(server.bodies) == 6


def test_the_limit_of_the_cost_stops_the_requests(server: FakeJudge) -> None:
    """A request costs 0.0021: 1,000 input tokens at 2 a million, and 10 output tokens at 10 a million."""
    prices = {"input_price": 2.0, "output_price": 10.0, "concurrency": 1}
    error_of(server, "the limit of the cost, 0.005, is reached", n=6, max_cost=0.005, **prices)
    assert len(server.bodies) == 3


def test_a_limit_of_the_cost_needs_the_usage(server: FakeJudge) -> None:
    server.usage = None
    error_of(server, "does not give its usage", max_cost=1.0, input_price=1.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 307])
def test_a_refusal_is_not_retried_and_the_key_in_its_answer_is_hidden(server: FakeJudge, status: int) -> None:
    server.script = [(status, {"Location": "/elsewhere"}, f"bad key {KEY}!")]
    assert "bad key ***!" in error_of(server, f"status {status}") and len(server.bodies) == 1


def test_without_a_key_none_is_sent(server: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    marks(server)
    assert "Authorization" not in server.headers[0]


def test_the_error_of_a_key_that_cannot_be_sent_does_not_show_it(
    server: FakeJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\nX-Other: 1")
    error_of(server, "OPENAI_API_KEY does not hold a key")


def test_the_key_is_not_in_the_record_the_cache_or_the_plan(server: FakeJudge, tmp_path: Path) -> None:
    marks(server, 2)
    overrides = [f"rewards.judge={{url: {server.url}, model: judge-1}}", "rewards.held_out=[vlm_judge]"]
    plan = make_plan(load_config(DEMO, [*overrides, f"output={tmp_path / 'run'}"]), lambda key: "here")
    record = _record(plan)
    assert yaml.safe_load(record)["config"]["rewards"]["judge"]["key_variable"] == "OPENAI_API_KEY"
    written = [path.read_text() for path in (tmp_path / "answers").iterdir()]
    assert len(written) == 2 and {json.loads(text)["model"] for text in written} == {"judge-1"}
    assert not any(KEY in text for text in (record, repr(plan), *written))


def test_a_worker_queries_the_judge_of_its_configuration(server: FakeJudge) -> None:
    settings = server.settings()
    dump = json.dumps(settings.model_dump(mode="json"))
    config = load_config(DEMO, [f"rewards.judge={dump}", "rewards.held_out=[vlm_judge]"])
    worker = RewardWorker.from_config(config, ["vlm_judge"], "cpu")
    pixels = images(3).numpy()
    scores, _ = worker.score("vlm_judge", pixels, "an owl", chunk=3)
    question = settings.template.replace("{prompt}", "an owl")
    assert scores == pytest.approx([mark(image.transpose(1, 2, 0), question) for image in pixels], rel=1e-6)
    worker.close()


def plan_keys(*overrides: str) -> set[str]:
    config = load_config(DEMO, [*overrides, "output=runs/of-a-test"])
    return {task.key for task in make_plan(config, lambda key: "here").tasks}


def test_the_question_is_part_of_a_tasks_key_and_the_limits_are_not() -> None:
    def keys(**judge: Any) -> set[str]:
        settings = json.dumps({"url": "http://127.0.0.1/v1", "model": "m", **judge})
        return plan_keys(f"rewards.judge={settings}", "rewards.held_out=[vlm_judge]")

    assert keys() == keys(retries=9, max_cost=1.0, input_price=1.0, cache="/tmp/x", key_variable="OTHER")
    assert not keys() & keys(model="n") and not keys() & keys(template="{prompt}?") and not keys() & keys(high=5.0)


@pytest.mark.parametrize(
    ("judge", "held_out", "words"),
    [
        ("null", "[vlm_judge]", "or the other way round"),
        ("{url: 'http://a/v1', model: m}", "[mini_clip]", "or the other way round"),
        ("{url: 'http://me:secret@a/v1', model: m}", "[vlm_judge]", "not a plain address"),
        ("{url: 'ftp://a', model: m}", "[vlm_judge]", "not a plain address"),
        ("{url: 'http://a/v1', model: m, template: rate it}", "[vlm_judge]", "put it where the prompt goes"),
        ("{url: 'http://a/v1', model: m, low: 10}", "[vlm_judge]", "is not below high"),
        ("{url: 'http://a/v1', model: m, max_cost: 1}", "[vlm_judge]", "there are no prices"),
        ("{url: 'http://a/v1', model: m, key: abc}", "[vlm_judge]", "no such key"),
    ],
)
def test_wrong_settings_are_wrong_requests(judge: str, held_out: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        load_config(DEMO, [f"rewards.judge={judge}", f"rewards.held_out={held_out}"])


def test_the_error_of_a_misspelt_setting_gives_the_nearest_name_and_all() -> None:
    with pytest.raises(RequestError) as caught:
        load_config(DEMO, ["rewards.judge={url: 'http://a/v1', model: m, retrys: 3}", "rewards.held_out=[vlm_judge]"])
    assert caught.value.key == "rewards.judge.retrys" and caught.value.fix == "did you mean retries?"
    assert "requests_per_minute" in caught.value.allowed
    with pytest.raises(RequestError) as caught:
        load_config(DEMO, ["rewards.judge={url: 'http://a/v1', model: m, retries: -3}", "rewards.held_out=[vlm_judge]"])
    assert caught.value.key == "rewards.judge.retries" and ">= 0" in caught.value.allowed


def test_at_a_limit_the_prompt_fails_and_the_same_command_resumes_it(server: FakeJudge, tmp_path: Path) -> None:
    """Each image is marked once over both runs. The limit is not part of a run's identity."""

    def run(most: int) -> Any:
        judge = json.dumps(server.settings(max_requests=most, concurrency=1).model_dump(mode="json"))
        overrides = ["steps=2", "queries=2", "soup.steps=1", "method=srsoup", "prompts.list=[an owl]"]
        overrides += ["rewards.held_out=[vlm_judge]", f"rewards.judge={judge}", f"output={tmp_path / 'run'}"]
        return CliRunner().invoke(app, ["run", str(DEMO), "--local", *overrides])

    failed = run(2)
    assert failed.exit_code == 1 and "the limit of 2 requests is reached" in failed.output and KEY not in failed.output
    (failure,) = read_table(tmp_path / "run", "failures").to_pylist()
    assert failure["error_class"] == "EndpointError" and KEY not in str(failure)
    done = run(4)
    assert done.exit_code == 0, done.output
    images = read_table(tmp_path / "run", "samples").to_pandas().image
    assert 3 <= len({image["bytes"] for image in images}) == len(server.bodies)
    scores = read_table(tmp_path / "run", "scores").to_pandas()
    assert len(scores[scores.reward == "vlm_judge"]) == 6


def test_a_judge_without_settings_can_be_listed_but_not_set_up() -> None:
    assert VlmJudge().info.name == "vlm_judge"
    with pytest.raises(RewardError, match=r"set rewards\.judge\.url"):
        VlmJudge().setup("cpu")
