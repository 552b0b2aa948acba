"""The files that docs/cluster.md has people apply: of the right shape, and with commands that this program takes."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.load import load_config
from pipeline.cli.commands import app

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCS / "kuberay.yaml").read_text(encoding="utf-8")))


def pods(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return {
        "submitter": spec["submitterPodTemplate"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
    } | workers


def test_the_manifest_is_a_job_of_the_ray_that_is_tested_with_a_token(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == {
        "entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "submitterPodTemplate", "rayClusterSpec",
    }  # fmt: skip
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["authOptions"] == {"mode": "token"}
    assert f"ray=={cluster['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()


def test_its_entrypoint_is_a_command_that_is_taken(job: dict[str, Any]) -> None:
    python, dash_m, module, command, config, *overrides = shlex.split(job["spec"]["entrypoint"])
    assert (python, dash_m, module) == ("python", "-m", "pipeline")
    assert command in {str(one.name or one.callback.__name__) for one in app.registered_commands if one.callback}
    here = ROOT / Path(config).relative_to("/srsoup")
    output = load_config(here, overrides).output
    mounts = [mount["mountPath"] for mount in pods(job)["head"]["containers"][0]["volumeMounts"]]
    assert output and any(Path(output).is_relative_to(mount) for mount in mounts)


def test_workers_are_spot_with_a_gpu_each_and_what_must_stay_is_not(job: dict[str, Any]) -> None:
    nodes = {name: dict(pod["nodeSelector"]) for name, pod in pods(job).items()}
    (label,) = nodes["gpu"]
    assert {name: node[label] for name, node in nodes.items()} == {
        "submitter": "on-demand", "head": "on-demand", "gpu": "spot",
    }  # fmt: skip
    assert pods(job)["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert {container["image"] for pod in pods(job).values() for container in pod["containers"]} == {
        pods(job)["head"]["containers"][0]["image"]
    }


def test_its_results_are_outside_the_cluster(job: dict[str, Any]) -> None:
    (volume,) = pods(job)["head"]["volumes"]
    assert volume["name"] == pods(job)["head"]["containers"][0]["volumeMounts"][0]["name"]
    # A claim of its own: what KubeRay makes for the job it takes away again.
    assert set(volume) == {"name", "persistentVolumeClaim"}


def test_the_slurm_script_is_bash_with_a_token_of_its_own() -> None:
    script = DOCS / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True).stderr == ""
    text = script.read_text(encoding="utf-8")
    assert text.index("export RAY_AUTH_TOKEN RAY_AUTH_MODE=token") < text.index("ray start --head")
    assert "--signal=B:TERM@" in text and "trap 'kill -TERM $driver' TERM" in text
