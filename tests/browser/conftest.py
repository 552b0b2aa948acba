"""What the tests in a browser share: one headless Chromium, and pages that must not ask anybody for anything."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from evaluation.report import write_report
from tests.support.browser.explored_page import go_to_list
from tests.support.synthetic_run import write_run

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The Chromium that is on PATH. It ends with its file: while it is open, an event loop runs in this process, and
    other files start loops of their own."""
    path = shutil.which("chromium")
    assert path, "chromium is not on PATH. Run `apt-get install chromium`, or skip these tests with -m 'not browser'."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def refuse(dialog: Dialog, troubles: list[str]) -> None:
    """Close a dialog of a script, which no page may open."""
    troubles.append(dialog.message)
    dialog.dismiss()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """A function that opens a file. At the end no page may have had an error, or asked for anything but that file."""
    pages: list[tuple[Page, Path, list[str], list[str]]] = []

    def open_file(file: Path, **options: Any) -> Page:
        page = chromium.new_page(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options)
        page.set_default_timeout(60_000)
        troubles: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: refuse(dialog, troubles))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        pages.append((page, file, troubles, asked))
        return page

    yield open_file
    for page, file, troubles, asked in pages:
        page.close()
        assert troubles == []
        images = (file.parent / "images").as_uri()
        outside = [url for url in asked if not url.startswith(("data:", images))]
        assert set(outside) == {file.as_uri()}


@pytest.fixture(scope="session")
def report_of_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of four prompts in two styles."""
    prompts = ["a fox", "a cat", "an owl", "a red panda"]
    run = write_run(tmp_path_factory.mktemp("four"), prompts=prompts, styles=["anime", "photo"])
    return write_report([run], run / "report")


@pytest.fixture
def four_prompts(open_page: OpenPage, report_of_four: Path) -> Page:
    """That page, opened, at its list of prompts."""
    page = open_page(report_of_four)
    go_to_list(page)
    return page
