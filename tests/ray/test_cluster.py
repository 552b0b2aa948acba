"""Tests how closed real Ray clusters are: one that we start, and one without a token on loopback."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.runs import ROOT

# Scripts in separate processes, because Ray reads its authentication settings once per process.
LOOK = """
import json, os, subprocess
import psutil, ray
from actors.cluster.connect import inspect_cluster
from configs.addresses import is_loopback

me = psutil.Process()
family = {me.pid} | {child.pid for child in me.children(recursive=True)}
listening = [one.laddr.ip for one in psutil.net_connections("tcp") if one.pid in family and one.status == "LISTEN"]
seen = inspect_cluster(ray.get_runtime_context().gcs_address)
token = os.environ.get("RAY_AUTH_TOKEN")
session = ray._private.worker._global_node.get_session_dir_path()
files = token and subprocess.run(["grep", "-rl", token, session], capture_output=True, text=True).stdout
print(json.dumps({
    "answers": seen.needs_no_token, "within": seen.is_local_only, "token": len(token or ""), "files": files,
    "everywhere": [ip for ip in listening if not is_loopback(ip)], "listening": len(listening),
}))
ray.shutdown()
"""
OURS = """
from pathlib import Path
from actors.cluster.connect import prepare, start_or_join
from configs.load import load_config

prepare()
start_or_join(load_config(Path("configs/demo.yaml")))
"""
WITHOUT_A_TOKEN = """
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
"""


def looked_at(script: str, **variables: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | variables
    command = [sys.executable, "-c", script + LOOK]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_that_we_start_requires_a_token_and_listens_on_loopback_only() -> None:
    """Even if RAY_AUTH_MODE disables tokens. Its token is in none of its files."""
    seen = looked_at(OURS, RAY_AUTH_MODE="disabled")
    assert seen["answers"] is False and seen["token"] == 64 and seen["files"] == ""
    assert seen["everywhere"] == [] and seen["listening"] > 4


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_without_a_token_on_loopback_is_recognised() -> None:
    seen = looked_at(WITHOUT_A_TOKEN, RAY_AUTH_MODE="disabled", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    assert seen["answers"] is True and seen["within"] is True
