"""Measures what the driver, its files, a resume and `status` cost in a run of very many prompts with fake models.

    python -m benchmarks.scale --prompts 100000 --folder /tmp/scale
    python -m benchmarks.scale --prompts 10000 --folder /tmp/scale --output s3://bucket/runs/scale

The driver, the plan and the files are real. Only the workers are replaced: every prompt gets made-up rows (6 images of
2 kB of noise, 18 scores, 60 rows of steps) under its own key, so the figures show the cost of everything around the
models. Prints JSON. The resumed command and `status` run as separate processes, as a user starts them.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from configs.load import load_config
from pipeline.job import driver
from pipeline.job.batches import Batches
from pipeline.job.progress import Reporter
from pipeline.job.result import PromptFailure, PromptResult
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.task import PromptTask
from pipeline.records import finished_keys
from pipeline.storage.disk import store_of
from pipeline.storage.schemas import SCHEMAS

ROOT = Path(__file__).parents[1]
IMAGE_BYTES = 2000


def overrides(folder: Path, output: str | None = None) -> list[str]:
    return [f"prompts.file={folder / 'prompts.txt'}", f"output={output or folder / 'run'}", "method=srsoup", "steps=5",
            "soup.steps=2"]  # fmt: skip


def rows_of(task: PromptTask, images: Sequence[bytes]) -> dict[str, list[dict[str, Any]]]:
    """Make up the rows of a prompt, as many and as long as real ones."""
    weights, rewards = range(len(task.weights)), (*task.guided, *task.held_out)
    about = {"key": task.key, "prompt_id": task.prompt.prompt_id, "prompt": task.prompt.text, "method": task.method}
    samples = [
        about | {"source": task.prompt.source, "seed": task.seed, "weight_index": i, "weights": list(task.weights[i]),
                 "image": {"bytes": images[i], "path": None}, "width": 64, "height": 64}
        for i in weights
    ]  # fmt: skip
    scores = [
        {"key": task.key, "weight_index": i, "reward": reward, "role": "guided", "value": 1.0 / (i + 3)}
        for i in weights for reward in rewards
    ]  # fmt: skip
    steps = [
        {"key": task.key, "step": step, "timestep": 999 - step, "phase": "soup", "sigma": 0.1, "weight_index": i,
         "reward": reward, "gradient_norm": 1.0 / (i + 3), "reward_mean": 0.3, "reward_std": 0.1}
        for step in range(5) for i in weights for reward in task.guided
    ]  # fmt: skip
    seconds = {"seconds_total": 1.0, "seconds_denoise": 0.2, "seconds_lookahead": 0.3, "seconds_decode": 0.3}
    costs = about | seconds | {"seed": task.seed, "queries": 800, "decodes": 358, "denoises": 30, "attempts": 1}
    return {"samples": samples, "scores": scores, "steps": steps, "costs": [costs]}


def computed(_: Plan, batches: Batches, reporter: Reporter) -> Generator[PromptResult | PromptFailure, None, None]:
    """Replaces the workers: every prompt is finished at once."""
    noise = np.random.default_rng(0)
    reporter.started()
    for task in batches:
        yield PromptResult(task.key, rows_of(task, [noise.bytes(IMAGE_BYTES) for _ in task.weights]))


def drive(plan: Plan) -> dict[str, float]:
    """Run the real driver on prompts that cost nothing, and measure it."""
    start, cpu = time.monotonic(), time.process_time()
    with mock.patch.object(driver, "_run_here", computed):
        driver.execute([plan], local=True, reporter=Reporter(plan.n_prompts, 0, 0))
    return {
        "driver_seconds": time.monotonic() - start,
        "driver_cpu_seconds": time.process_time() - cpu,
        "driver_peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def timed(*arguments: str) -> tuple[float, str]:
    """Run a command of ours in a new process. Returns its seconds and its output."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pipeline", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - start, done.stdout.strip()


def measure(prompts: int, folder: Path, output: str | None) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.txt").write_text("".join(f"a painting of animal number {i}\n" for i in range(prompts)))
    config, settings = ROOT / "configs" / "demo.yaml", overrides(folder, output)
    start = time.monotonic()
    plan = make_plan(load_config(config, settings), str)
    run = plan.folder
    figures: dict[str, Any] = {"prompts": prompts, "plan_seconds": time.monotonic() - start}
    figures |= drive(plan)
    start = time.monotonic()
    assert len(finished_keys(run)) == prompts
    figures["resume_scan_seconds"] = time.monotonic() - start
    figures["resumed_command_seconds"], _ = timed("run", str(config), *settings)
    figures["status_seconds"], figures["status"] = timed("status", str(run))
    figures["files"] = sum(len(store_of(run).parts(run / table)) for table in SCHEMAS)
    if isinstance(run, Path):
        figures["megabytes"] = sum(path.stat().st_size for path in run.rglob("*.parquet")) / 1e6
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True, help="a folder on a disk, for the prompts")
    parser.add_argument("--output", help="the run's folder or URI; default: FOLDER/run")
    options = parser.parse_args()
    print(json.dumps(measure(options.prompts, options.folder, options.output), indent=2))


if __name__ == "__main__":
    main()
