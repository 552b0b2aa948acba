"""Measures the page of a large report: `python -m benchmarks.page`

It makes a run of 1,000 prompts, 2 methods and 6 weightings at 512 pixels, writes its report, and opens the page in
headless Chromium: seconds and memory of the report, seconds until the first images are seen, and frames while the list
is scrolled.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from pipeline.records import write_part
from tests.support.synthetic_run import simplex, write_key, write_run

GUIDED, HELD_OUT = ("colorfulness", "compressibility"), ("mini_clip",)
WEIGHTINGS, STEPS = 6, 50
# Different images; encoding 12,000 of them would take longer than all that is measured.
IMAGES = 64
SCROLLED = """
async ([pixels, seconds]) => {
  const times = [];
  const end = performance.now() + 1000 * seconds;
  await new Promise((done) => {
    const frame = (now) => {
      times.push(now);
      window.scrollBy({ top: pixels, behavior: "instant" });
      if (now < end) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  const gaps = times.slice(1).map((time, n) => time - times[n]).sort((a, b) => a - b);
  return { frames: gaps.length, seconds: (times.at(-1) - times[0]) / 1000, slow: gaps[Math.floor(0.95 * gaps.length)] };
}
"""
SHOWN = "() => [...document.querySelectorAll('.picture img')].filter((i) => i.complete && i.naturalWidth).length >= 4"


def drawn_images(side: int) -> list[bytes]:
    """Return PNGs of smooth colours with fine grain, which compress about as photographs do."""
    rng, images = np.random.default_rng(0), []
    for _ in range(IMAGES):
        picture = rng.normal(0, 2, (side, side, 3))
        for cells, strength in ((6, 60), (24, 20), (96, 12)):
            coarse = np.clip(rng.normal(128, strength, (cells, cells, 3)), 0, 255).astype(np.uint8)
            picture += np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), float) - 128
        fine = np.clip(picture + 128, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(fine).save(buffer, format="PNG", compress_level=1)
        images.append(buffer.getvalue())
    return images


def make_run(folder: Path, prompts: int, side: int) -> Path:
    """Write a run of so many prompts, with steps as a run of 50 denoising steps has them."""
    images, weights = drawn_images(side), simplex(WEIGHTINGS, len(GUIDED))
    run = write_run(folder, "large", [], ("srsoup", "unguided"), GUIDED, HELD_OUT, WEIGHTINGS)
    for number in range(prompts):
        for method in ("srsoup", "unguided"):
            key = f"p{number:05d}-{method}"
            draw: Callable[[np.random.Generator], bytes] = lambda rng: images[rng.integers(IMAGES)]  # noqa: E731
            text = f"{number}: a painting of an animal that nobody has seen before, in the style of a large report"
            write_key(run, key, text, method, weights, GUIDED, HELD_OUT, draw=draw, style=f"style {number % 4}")
            if method == "srsoup":
                write_part(run, "steps", key, step_rows(key))
    return run


def step_rows(key: str) -> list[dict[str, Any]]:
    return [
        {
            "key": key, "step": step, "timestep": 981 - 20 * step, "phase": "soup", "sigma": 0.1, "weight_index": index,
            "reward": reward, "gradient_norm": 1.0, "reward_mean": 0.0, "reward_std": 1.0, "overlap_q25": 0.9,
            "overlap_q50": 0.95, "overlap_q75": 0.97,
        }
        for step in range(STEPS) for index in range(WEIGHTINGS) for reward in GUIDED
    ]  # fmt: skip


def measured_report(run: Path) -> dict[str, float]:
    """Write the report in a process of its own; return its seconds, its peak memory and the size of its page."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "evaluation", str(run)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"the report ended with status {status}"
    return {
        "report_seconds": round(time.monotonic() - began, 1),
        "report_cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "report_peak_gb": round(usage.ru_maxrss / 2**20, 2),
        "page_mb": round((run / "report" / "index.html").stat().st_size / 1e6, 1),
    }


def measured_page(file: Path) -> dict[str, float]:
    """Open a page in headless Chromium; return seconds to open it, and frames a second while it is scrolled."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.monotonic()
        page.goto(file.as_uri(), wait_until="commit")
        page.wait_for_function("() => performance.getEntriesByName('explored').length > 0")
        explored = time.monotonic() - began
        page.evaluate("document.getElementById('explorer').scrollIntoView({ behavior: 'instant' })")
        page.wait_for_function(SHOWN)
        images = time.monotonic() - began
        page.wait_for_load_state("load")
        loaded = time.monotonic() - began
        frames = {speed: page.evaluate(SCROLLED, [speed, 5]) for speed in (20, 60)}
        memory = renderer_memory()
        last = seen_at_end(page)
        browser.close()
    found = {"usable_seconds": explored, "images_seconds": images, "loaded_seconds": loaded, "end_seconds": last}
    for speed, measured in frames.items():
        found[f"frames_a_second_at_{speed}_px_a_frame"] = measured["frames"] / measured["seconds"]
        found[f"slow_frame_ms_at_{speed}_px_a_frame"] = measured["slow"]
    return {name: round(value, 2) for name, value in found.items()} | {"browser_gb": memory}


def seen_at_end(page: Page) -> float:
    """Jump to the last prompt; return the seconds until its images are seen."""
    began = time.monotonic()
    page.evaluate("document.getElementById('rows').scrollIntoView({ block: 'end', behavior: 'instant' })")
    page.wait_for_timeout(50)
    page.wait_for_function(SHOWN)
    return time.monotonic() - began


def renderer_memory() -> float:
    """Return the memory of the largest process of the browser, which is that of the page, in GB."""
    children = psutil.Process().children(recursive=True)
    return round(max(child.memory_info().rss for child in children) / 2**30, 2)


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--side", type=int, default=512, help="pixels of a side of each image")
    parser.add_argument("--folder", type=Path, help="keep the run in this folder; by default it is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run = folder / "large"
        if not run.exists():
            make_run(folder, options.prompts, options.side)
        found: dict[str, float] = {"prompts": options.prompts, "side": options.side}
        print(json.dumps(found | measured_report(run) | measured_page(run / "report" / "index.html"), indent=1))


if __name__ == "__main__":
    main()
