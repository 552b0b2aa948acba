"""The page of `srsoup report --watch` in headless Chromium: it follows the run, and does not interrupt its reader."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from evaluation import watch
from evaluation.watch import watch_report
from tests.support.synthetic_run import simplex, write_driver, write_key

pytestmark = pytest.mark.browser


def test_new_fronts_appear_but_not_under_the_eyes_of_a_reader(
    chromium: Browser, synthetic_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SHARE", 1.0)
    run = synthetic_run(prompts=["a fox"], methods=["srsoup"], weights=2)
    write_driver(run, fronts=3)

    def finish(number: int) -> None:
        held, guided = ["mini_clip"], ["colorfulness", "compressibility"]
        write_key(run, f"p{number:03d}-srsoup", f"prompt {number}", "srsoup", simplex(2, 2), guided, held)

    said, told, stop = list[str](), threading.Event(), threading.Event()

    def tell(text: str) -> None:
        said.append(text)
        told.set()

    thread = threading.Thread(target=watch_report, args=([run], run / "report"), kwargs={"tell": tell, "stop": stop})
    thread.start()
    try:
        assert told.wait(120)
        url = said[0].split()[1]
        page = chromium.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        asked: list[str] = []
        troubles: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: troubles.append(message.text))
        page.goto(url)
        inner = page.frame_locator("iframe")
        expect(inner.locator("#explorer-title")).to_have_text("The prompt", timeout=120_000)
        finish(1)
        expect(inner.locator("#explorer-title")).to_have_text("All 2 prompts", timeout=120_000)
        expect(page.get_by_role("status")).to_have_text("2 of 3 fronts finished")
        inner.locator("#explorer-title").scroll_into_view_if_needed()
        inner.locator(".picture").first.click()
        finish(2)
        expect(page.get_by_role("button", name="Show the new fronts")).to_be_visible(timeout=120_000)
        expect(inner.get_by_role("dialog")).to_be_visible()
        page.get_by_role("button", name="Show the new fronts").click()
        expect(inner.locator("#explorer-title")).to_have_text("All 3 prompts", timeout=120_000)
        assert troubles == [] and all(a.startswith((url, "data:")) for a in asked)
        page.close()
    finally:
        stop.set()
        thread.join(timeout=120)
