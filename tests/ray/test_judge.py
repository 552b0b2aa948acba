"""On Ray keys of judges and reward servers are read where the reward actors run.

The job carries the names that the user confirmed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.records import read_table
from rewards.colorfulness import Colorfulness
from tests.support.runs import DEMO, ROOT
from tests.support.servers.fake_judge import KEY, FakeJudge
from tests.support.servers.reward_server import reward_server


@pytest.mark.ray
@pytest.mark.slow
def test_the_key_that_the_user_names_reaches_the_judge_and_no_file(tmp_path: Path) -> None:
    with FakeJudge(tmp_path / "answers") as server, reward_server(Colorfulness(), KEY) as far:
        judge = {"url": server.url, "model": "m", "key_variable": "MY_KEY"}
        rewards = {"guided": ["colorfulness", "compressibility"], "held_out": ["vlm_judge", "far"],
                   "judge": judge, "servers": {"far": {"url": far, "key_variable": "MY_KEY"}}}  # fmt: skip
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"extends": str(DEMO), "name": "mine", "rewards": rewards}))
        command = [
            sys.executable, "-m", "pipeline", "run", str(path), "steps=2", "queries=2", "soup.steps=1", "method=srsoup",
            "prompts.list=[an owl]", "compute.diffusion_actors=1", f"output={tmp_path / 'run'}",
        ]  # fmt: skip
        host = server.url.split("/")[2]
        environment = {**os.environ, "MY_KEY": KEY, "OPENAI_API_KEY": "sk-another-0123456789", "HOME": str(tmp_path),
                       "XDG_CACHE_HOME": str(tmp_path / "cache"), "SRSOUP_REWARD_HOSTS": f"{far}=MY_KEY"}  # fmt: skip
        for hosts, status in ((host, 2), (f"{host}=MY_KEY", 0)):
            environment["SRSOUP_JUDGE_HOST"] = hosts
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
            assert done.returncode == status, done.stderr
            assert bool(server.bodies) is (status == 0)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert KEY not in done.stdout + done.stderr
    scores = (
        read_table(tmp_path / "run", "scores").to_pandas().pivot(index="weight_index", columns="reward", values="value")
    )
    assert scores.far.equals(scores.colorfulness), "the server that Ray's worker asks is the same reward"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
