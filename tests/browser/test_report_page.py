"""The page of the report in headless Chromium: it shows everything, overflows nowhere and fetches nothing."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, sync_playwright

from evaluation.report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The Chromium that is on PATH."""
    path = shutil.which("chromium")
    assert path, "chromium is not on PATH. Run `apt-get install chromium`, or skip these tests with -m 'not browser'."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_the_screen_and_fetches_nothing(
    chromium: Browser, synthetic_run: Callable[..., Path], width: int, scheme: Literal["light", "dark"]
) -> None:
    run = synthetic_run(failures=1)
    # As long as a real revision: one word without breaks, too long for the screen of a telephone.
    record = run / "config.yaml"
    record.write_text(record.read_text().replace("model_revision: abc", f"model_revision: {'5e80' * 16}"))
    index = write_report([run], run / "report")
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    troubles: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(index.as_uri())
    page.wait_for_load_state("networkidle")

    assert troubles == []
    assert [url for url in fetched if not url.startswith("data:")] == [index.as_uri()]
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 3 * 2 * 6
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.getBBox().width > 100)")
    page.close()


def test_page_prints(chromium: Browser, synthetic_run: Callable[..., Path]) -> None:
    run = synthetic_run(prompts=["a fox"])
    page = chromium.new_page()
    page.goto(write_report([run], run / "report").as_uri())
    assert page.pdf()[:5] == b"%PDF-"
    page.close()
