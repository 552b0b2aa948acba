"""A reward behind HTTP: equal scores, faults of servers, the share of the load, and what a run makes of it."""

import base64
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from configs.errors import RequestError
from configs.load import load_config
from pipeline.job.driver import execute
from pipeline.job.progress import Reporter
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import read_table
from rewards import registry
from rewards.colorfulness import Colorfulness
from rewards.contract import check_reward
from rewards.contract_case import distinct_images
from rewards.errors import RewardError
from rewards.mini_clip import MiniClip
from rewards.reward_client import HttpReward, ServedReward, ServerError, Servers
from rewards.reward_protocol import declaration_of, images_and_prompts, info_of, request_body
from tests.support.runs import FOUR_FRONTS
from tests.support.servers.reward_server import reward_server, running

ROOT = Path(__file__).parents[3]
KEY = "a-key-of-the-tests"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SRSOUP_REWARD_KEY", KEY)
    monkeypatch.setattr("rewards.reward_client.FIRST_PAUSE", 0.01)
    yield
    registry.forget_plugins()


@contextmanager
def scripted(*answers: Any, batch_sensitive: bool = False) -> Iterator[tuple[str, list[int]]]:
    """A server that gives these answers to requests for scores, then zeros. Also the sizes of the batches it got."""
    script, batches = list(answers), list[int]()
    declared = {"protocol": 1, "version": "1", "reward": {"batch_sensitive": batch_sensitive}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, declared)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            batches.append(len(body["images"]))
            given = script.pop(0) if script else {"version": "1", "scores": [0.0] * len(body["images"])}
            if given == "hang":
                time.sleep(0.6)
            elif given == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            elif isinstance(given, int):
                self.answer(given, {"error": f"status {given} with {self.headers['Authorization']}"})
            else:
                self.answer(200, given)

        def answer(self, status: int, content: Any) -> None:
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url, batches


def reward_at(*urls: str, timeout: float = 5.0, patience: float = 2.0) -> HttpReward:
    served = ServedReward("far", Servers(urls, "SRSOUP_REWARD_KEY", timeout, patience))
    reward: HttpReward = served.load()["far"]()
    reward.setup("cpu")
    return reward


@pytest.mark.parametrize("kind", [Colorfulness, MiniClip])
def test_scores_are_those_in_this_process(kind: Any) -> None:
    images, prompts = distinct_images(), ["an owl", "a snail", "ants", "a “cow”", "", "猫"]
    here = kind()
    here.setup("cpu")
    with reward_server(kind(), KEY) as url:
        there = reward_at(url)
        assert torch.equal(there.score(images, prompts), here.score(images, prompts))
        assert there.info.range == kind.info.range and there.info.batch_sensitive == kind.info.batch_sensitive


def test_a_served_reward_keeps_the_contract() -> None:
    with reward_server(Colorfulness(), KEY) as url:
        servers = Servers((url,), "SRSOUP_REWARD_KEY", 5.0, 2.0)
        check_reward(ServedReward("far", servers).load()["far"])


def test_two_servers_share_the_images() -> None:
    with scripted() as (one, first), scripted() as (other, second):
        reward = reward_at(one, other)
        assert reward.score(distinct_images(), [""] * 6).tolist() == [0.0] * 6
        assert (first, second) == ([3], [3])
    with scripted(batch_sensitive=True) as (one, first), scripted(batch_sensitive=True) as (other, second):
        reward = reward_at(one, other)
        for _ in range(4):
            reward.score(distinct_images(), [""] * 6)
        assert first == second == [6, 6], "a whole batch to one server, and the next batch to the other"


@pytest.mark.parametrize("fault", [500, 503, 429, "cut", "hang", "plain text", "[" * 20_000])
def test_a_fault_that_may_pass_is_tried_again(fault: Any) -> None:
    with scripted(fault, fault) as (url, batches):
        assert reward_at(url, timeout=0.3).score(distinct_images(), [""] * 6).tolist() == [0.0] * 6
        assert batches == [6, 6, 6]


def test_a_server_that_is_gone_is_left_for_the_other() -> None:
    with scripted() as (one, batches):
        with scripted() as (other, _):
            reward = reward_at(one, other)
        assert reward.score(distinct_images(), [""] * 6).tolist() == [0.0] * 6
        assert sorted(batches) == [3, 3]


def test_a_server_may_be_restarted_in_mid_run() -> None:
    with reward_server(Colorfulness(), KEY) as url:
        reward = reward_at(url, patience=20.0)
        first = reward.score(distinct_images(), [""] * 6)
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(reward.score, distinct_images(), [""] * 6)
        time.sleep(0.3)
        assert not again.done(), "the server is gone, and the batch is sent again"
        with reward_server(Colorfulness(), KEY, port=int(url.rsplit(":", 1)[1])):
            assert torch.equal(again.result(), first)


def test_the_patience_has_an_end_and_the_error_names_address_and_cause() -> None:
    with scripted(*[500] * 1000) as (url, batches):
        started = time.monotonic()
        with pytest.raises(
            ServerError, match=rf"attempts failed in 0.3 s, the last one at {url}: status 500"
        ) as caught:
            reward_at(url, patience=0.3).score(distinct_images(), [""] * 6)
        assert time.monotonic() - started < 2 and len(batches) > 2
        assert KEY not in str(caught.value) and "***" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"version": "1", "scores": [0.0] * 5}, "gave 5 scores for 6 images"),
        ({"version": "1", "scores": [0.0] * 5 + [math.nan]}, "gave the score nan for image 5 of 6"),
        ({"version": "1", "scores": [True] * 6}, "no list of numbers"),
        ({"version": "1"}, "no list of numbers"),
        ({"version": "1", "scores": [0.0] * 5 + [10**400]}, "gave the score 1000.* for image 5 of 6"),
        ({"version": "1", "scores": [0.0] * 5 + [1e39]}, "gave the score 1e.39 for image 5 of 6"),
        ({"version": KEY, "scores": [0.0] * 6}, r"has the version '\*\*\*' now"),
        ({"version": "2", "scores": [0.0] * 6}, "has the version '2' now, and the run was planned with '1'"),
        (400, "refused the request with status 400"),
        (401, "check the key in SRSOUP_REWARD_KEY"),
    ],
)
def test_a_wrong_answer_is_an_error_at_once(answer: Any, says: str) -> None:
    with scripted(answer) as (url, batches):
        with pytest.raises(ServerError, match=says):
            reward_at(url).score(distinct_images(), [""] * 6)
        assert batches == [6]


@pytest.mark.parametrize(
    ("health", "says"),
    [
        ("no JSON", "no JSON came"),
        ({"protocol": 2, "version": "1", "reward": {}}, "does not speak version 1"),
        ({"protocol": 1, "version": 1, "reward": {}}, "does not speak version 1"),
        ({"protocol": 1, "version": "1"}, "its declaration is no object"),
        ({"protocol": 1, "version": "1", "reward": {"range": [1, 0]}}, "does not rise"),
        ({"protocol": 1, "version": "1", "reward": {"range": "wide"}}, "is not two numbers"),
        ({"protocol": 1, "version": "1", "reward": {"unit": "a\nb"}}, "unit in its declaration is no line"),
        ({"protocol": 1, "version": "1", "reward": {"reads_prompt": 1}}, "neither true nor false"),
    ],
)
def test_what_is_no_reward_server_is_refused_before_anything_starts(health: Any, says: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((health if isinstance(health, str) else json.dumps(health)).encode())

        def log_message(self, *_: object) -> None: ...

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url, pytest.raises(ServerError, match=says):
        reward_at(url)


def test_servers_that_do_not_agree_are_refused() -> None:
    with (
        reward_server(Colorfulness(), KEY) as one,
        reward_server(Colorfulness(), KEY, "2") as two,
        pytest.raises(ServerError) as said,
    ):
        reward_at(one, two)
    assert f"{two} has another version or declaration" in str(said.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Expecting value"), (b"[" * 20_000, "nested too deep"), (b"[]", "no object"),
        (b'{"images": [], "prompts": []}', "there are 0 images"),
        (b'{"images": ["a"], "prompts": []}', "not two lists of one length"),
        (b'{"images": ["a"], "prompts": [1]}', "a prompt is no text"),
        (b'{"images": ["YQ=="], "prompts": [""]}', "image 0 is no PNG file in RGB"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_and_the_server_stays(body: bytes, says: str) -> None:
    import urllib.error
    import urllib.request

    with reward_server(Colorfulness(), KEY) as url:
        asked = urllib.request.Request(f"{url}/score", body, {"Authorization": f"Bearer {KEY}"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked)
        assert caught.value.code == 400 and says in caught.value.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(f"{url}/health", headers={"Authorization": "Bearer no"}))
        assert len(reward_at(url).score(distinct_images(), [""] * 6)) == 6


def test_a_request_and_a_declaration_survive_the_way() -> None:
    images, prompts = images_and_prompts(request_body(distinct_images(), ["a", "b", "c", "d", "e", "f"]))
    assert torch.equal(images, distinct_images()) and prompts == ["a", "b", "c", "d", "e", "f"]
    for kind in (Colorfulness, MiniClip):
        said = json.loads(json.dumps(declaration_of(kind.info)))
        assert declaration_of(info_of(said, kind.info.name)) == declaration_of(kind.info)
    with pytest.raises(ValueError, match="not of one size"):
        two = [request_body(torch.zeros(1, 3, side, 8, dtype=torch.uint8), [""])["images"][0] for side in (8, 9)]
        images_and_prompts({"images": two, "prompts": ["", ""]})
    with pytest.raises(ValueError, match="no PNG file"):
        images_and_prompts({"images": [base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()], "prompts": [""]})


def plan_of(folder: Path, url: str, *overrides: str) -> Plan:
    values = [*FOUR_FRONTS, "prompts.list=[owl, crab]", "rewards.guided=[far, compressibility]", "steps=2",
              "report.reference_point=null", f"rewards.servers.far.url={url}", "rewards.servers.far.patience=1",
              f"output={folder}", *overrides]  # fmt: skip
    return make_plan(load_config(ROOT / "configs" / "demo.yaml", values), str)


def test_a_run_with_a_server_has_the_scores_of_a_run_without_and_its_record(tmp_path: Path) -> None:
    with reward_server(Colorfulness(), KEY) as url:
        far = plan_of(tmp_path / "far", url)
        execute([far], local=True, reporter=Reporter(2, 1, 1))
    near = load_config(ROOT / "configs" / "demo.yaml", [*FOUR_FRONTS, "prompts.list=[owl, crab]", "steps=2",
                       f"output={tmp_path / 'near'}"])  # fmt: skip
    execute([make_plan(near, str)], local=True, reporter=Reporter(2, 1, 1))
    both = [read_table(tmp_path / name, "scores").to_pandas().drop(columns="key") for name in ("far", "near")]
    both[1]["reward"] = both[1].reward.replace("colorfulness", "far")
    order = ["weight_index", "reward", "value"]
    assert (
        both[0]
        .sort_values(order)
        .reset_index(drop=True)["value"]
        .equals(both[1].sort_values(order).reset_index(drop=True)["value"])
    )
    said = json.loads((tmp_path / "far" / "plugins" / "far.json").read_text())
    assert said["version"] == "1" and said["reward"]["name"] == "colorfulness"
    record = yaml.safe_load((tmp_path / "far" / "config.yaml").read_text())
    assert record["plugins"] == far.plugin_digests and KEY not in (tmp_path / "far" / "config.yaml").read_text()


def test_a_server_that_dies_in_mid_run_loses_only_what_it_did_not_score(
    tmp_path: Path,
) -> None:
    class Once(Colorfulness):
        left = 6

        def score(self, images: Any, prompts: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("the GPU fell off the bus")
            return super().score(images, prompts)

    with reward_server(Once(), KEY) as url:
        (outcome,) = execute([plan_of(tmp_path, url)], local=True, reporter=Reporter(2, 1, 1))
    assert (outcome.done, len(outcome.failures)) == (1, 1)
    message = outcome.failures[0].row["message"]
    assert url in message and "RuntimeError: the GPU fell off the bus" in message
    registry.forget_plugins()
    with reward_server(Colorfulness(), KEY) as url:
        (outcome,) = execute([plan_of(tmp_path, url)], local=True, reporter=Reporter(2, 1, 1))
        assert (outcome.done, outcome.found, outcome.failures) == (1, 1, ())
    registry.forget_plugins()
    with reward_server(Colorfulness(), KEY, "2") as url, pytest.raises(RequestError, match="plugins"):
        plan_of(tmp_path, url)


@pytest.mark.slow
def test_the_command_serves_a_scorer_whose_packages_conflict_with_ours(tmp_path: Path) -> None:
    """The scorer's environment has another NumPy: a folder first on its path. The run's process has ours."""
    (tmp_path / "theirs" / "numpy").mkdir(parents=True)
    (tmp_path / "theirs" / "numpy" / "__init__.py").write_text("__version__ = '0.1 of theirs'")
    (tmp_path / "server.py").write_text(_page_example())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "theirs")}
    server = subprocess.Popen([sys.executable, str(tmp_path / "server.py")], stdout=subprocess.PIPE, text=True,
                              env=environment, cwd=tmp_path)  # fmt: skip
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        found = reward_at(url).score(distinct_images(), ["", "a", "ab", "abc", "abcd", "abcde"])
        assert found.tolist() == [0, 1, 2, 3, 4, 5]
        assert "0.1 of theirs" in ServedReward("far", Servers((url,), "SRSOUP_REWARD_KEY", 5, 5)).source
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_the_command_serves_until_a_signal_and_needs_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "srsoup", "serve-reward", "colorfulness"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[1]
            assert url.startswith("http://127.0.0.1:") and len(reward_at(url).score(distinct_images(), [""] * 6)) == 6
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
        finally:
            server.kill()
    without = {name: value for name, value in os.environ.items() if name != "SRSOUP_REWARD_KEY"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=without)
    assert done.returncode == 2 and "would compute for everybody" in done.stderr
    done = subprocess.run([*command[:-1], "none"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "did you mean" in done.stderr


def _page_example() -> str:
    """The server of docs/reward_server.md, as printed."""
    page = (ROOT / "docs" / "reward_server.md").read_text()
    return textwrap.dedent(page.split("```python\n")[1].split("```")[0])


def test_a_reward_that_refuses_a_prompt_is_not_asked_again() -> None:
    class Picky(Colorfulness):
        calls = 0

        def score(self, images: Any, prompts: Any) -> Any:
            self.calls += 1
            raise RewardError("picky: the prompt names no colour")

    reward = Picky()
    with reward_server(reward, KEY) as url, pytest.raises(ServerError, match=r"422.*the prompt names no colour"):
        reward_at(url).score(distinct_images(), [""] * 6)
    assert reward.calls == 1


def test_the_package_that_announces_a_reward_is_part_of_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is continued with the same version of the package only."""
    from rewards import registry

    info = tmp_path / "their_rewards-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-rewards\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[srsoup.rewards]\ntheirs = their_rewards:score\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._announced.cache_clear()
    try:
        assert registry.package_of("theirs") == "their-rewards 1.2"
        assert registry.package_of("sharpness") is None and registry.package_of("none") is None
    finally:
        monkeypatch.undo()
        registry._announced.cache_clear()
