"""The page of the report in headless Chromium: it fits every screen, can be read in light and dark, and prints."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from evaluation.report import write_report
from tests.support.synthetic_run import write_run

pytestmark = pytest.mark.browser

Write = Callable[..., Path]
Open = Callable[..., Page]

# The contrast of each text with what lies behind it, by WCAG 2.2 (relative luminance); those below 4.5 are returned.
FAINT = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("script, .hidden, .skip")) continue;
    const style = getComputedStyle(node);
    const ink = node.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [luminance(parse(ink)), luminance(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${node.tagName} ${node.textContent.slice(0, 40)}`);
  }
  return found;
}
"""
# The rows whose content is larger than they are.
CUT = """
() => [...document.querySelectorAll(".row")]
  .filter((row) => row.scrollHeight > row.clientHeight || row.scrollWidth > row.clientWidth)
  .map((row) => `${row.textContent.slice(0, 40)} ${row.scrollHeight} ${row.clientHeight}`)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with hostile prompts and a failure."""
    run = write_run(tmp_path_factory.mktemp("screens"), failures=1)
    # As long as a real revision: one word without breaks, too long for the screen of a telephone.
    record = run / "config.yaml"
    record.write_text(record.read_text().replace("model_revision: abc", f"model_revision: {'5e80' * 16}"))
    return write_report([run], run / "report")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 360])
def test_page_fits_the_screen_and_can_be_read(open_page: Open, report: Path, width: int, scheme: str) -> None:
    page = open_page(report, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.evaluate("document.getElementById('explorer').scrollIntoView()")
    page.wait_for_function("document.querySelectorAll('.picture img').length >= 2")
    page.wait_for_function("[...document.querySelectorAll('#rows img')].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("[...document.querySelectorAll('figure svg, .plot svg')].every(s => s.getBBox().width > 100)")
    assert page.evaluate(FAINT) == []
    # Nothing of a row is cut off but what scrolls.
    assert page.evaluate(CUT) == []
    page.check("input[value=all]")
    assert page.evaluate(CUT) == []
    page.locator(".cell").first.click()
    assert page.evaluate("document.getElementById('viewer').scrollWidth <= window.innerWidth")
    assert page.evaluate(FAINT) == []


@pytest.mark.parametrize("view", ["one", "all"])
def test_page_prints_every_prompt_with_its_images(open_page: Open, synthetic_run: Write, view: str) -> None:
    run = synthetic_run(prompts=[f"prompt {i}" for i in range(9)], weights=3)
    page = open_page(write_report([run], run / "report"))
    page.check(f"input[value={view}]")
    printed = page.pdf()
    assert printed[:5] == b"%PDF-"
    assert len(re.findall(rb"/Subtype\s*/Image", printed)) == 9 * 2 * (1 if view == "one" else 3)
    # Afterwards only the rows near the screen exist again.
    assert page.locator(".row").count() < 9


def test_the_numbers_can_be_read_without_scripts(open_page: Open, synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox"])
    page = open_page(write_report([run], run / "report"), java_script_enabled=False)
    assert page.get_by_text("The images of this page need JavaScript").is_visible()
    assert page.get_by_role("heading", name="Hypervolume").is_visible()
