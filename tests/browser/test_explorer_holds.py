"""What holds of the explorer whatever is done: every prompt is there, texts stay texts, names and places are kept."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from evaluation.report import write_report
from tests.support.browser.explored_page import go_to_list, width_of
from tests.support.synthetic_run import png, write_driver

pytestmark = pytest.mark.browser

Write = Callable[..., Path]
Open = Callable[..., Page]
NASTY = "<img src=x onerror=alert(1)>"


def test_all_prompts_are_there_but_only_rows_near_the_screen_exist(open_page: Open, synthetic_run: Write) -> None:
    run = synthetic_run(prompts=[f"prompt {i:03d}" for i in range(40)], methods=["srsoup"], weights=2)
    page = open_page(write_report([run], run / "report"))
    go_to_list(page)
    assert page.locator(".row").count() < 15
    page.evaluate("document.getElementById('rows').scrollIntoView({ block: 'end', behavior: 'instant' })")
    last = page.locator('.row[aria-posinset="40"]')
    expect(last.locator("h3")).to_have_text("prompt 039")
    assert last.get_attribute("aria-setsize") == "40" and page.locator(".row").count() < 15
    assert width_of(last.locator("img").first) == 64


def test_hostile_names_are_text(open_page: Open, synthetic_run: Write) -> None:
    run = synthetic_run("demo", prompts=[NASTY], guided=[NASTY, "b"], held_out=[NASTY + "2"], failures=1)
    record = run / "config.yaml"
    record.write_text(record.read_text().replace("name: demo", f"name: {NASTY}"))
    page = open_page(write_report([run], run / "report"))
    go_to_list(page)
    expect(page.locator(".row h3")).to_have_text(NASTY)
    page.locator(".point").first.focus()
    page.locator(".picture").first.click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(NASTY)
    assert NASTY.lower() in page.locator(".eyebrow").inner_text().lower()
    assert page.locator('img[src="x"], [onerror]').count() == 0


def test_saved_images_beside_the_page_are_shown_when_enlarged(open_page: Open, synthetic_run: Write) -> None:
    def large(random: np.random.Generator) -> bytes:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(png(random))).resize((512, 512)).save(buffer, format="PNG")
        return buffer.getvalue()

    run = synthetic_run(prompts=["a fox"], weights=2, draw=large)
    page = open_page(write_report([run], run / "report", full=True))
    go_to_list(page)
    page.locator(".picture").first.click()
    image = page.locator("#viewer-left img")
    assert image.evaluate("async (i) => { await i.decode(); return i.naturalWidth; }") == 512
    assert (
        page.locator(".picture img").first.evaluate("async (i) => { await i.decode(); return i.naturalWidth; }") == 320
    )


def test_progress_and_failures_are_on_top(open_page: Open, synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox", "a cat"], failures=1)
    write_driver(run, fronts=10)
    page = open_page(write_report([run], run / "report"))
    bar = page.get_by_role("progressbar")
    expect(bar).to_be_in_viewport()
    assert bar.evaluate("(bar) => [bar.value, bar.max]") == [4, 10]
    expect(page.get_by_text("1 prompt failed")).to_be_in_viewport()


def test_every_control_has_a_name_and_changes_are_said(four_prompts: Page) -> None:
    page = four_prompts
    unnamed = page.evaluate("""() => [...document.querySelectorAll("button, select, input, [role=button]")]
      .filter((node) => node.checkVisibility() && !(node.ariaLabel || node.labels?.length || node.textContent.trim()
        || node.querySelector("img")?.alt)).map((node) => node.outerHTML)""")
    assert unnamed == []
    assert page.locator("#said").get_attribute("role") == "status"
    page.locator(".picture").first.click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-said")).to_have_text("a cat. colorfulness 0.8, compressibility 0.2")


def test_a_reload_keeps_the_place(four_prompts: Page) -> None:
    page = four_prompts
    page.get_by_role("slider").press("Home")
    page.get_by_label("sort by").select_option("hard")
    before = page.evaluate("scrollY")
    page.reload()
    page.locator(".row").first.wait_for()
    expect(page.get_by_role("slider")).to_have_value("0")
    expect(page.get_by_label("sort by")).to_have_value("hard")
    assert abs(page.evaluate("scrollY") - before) < 5
