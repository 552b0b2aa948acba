"""What tests of the explorer read from a page in a browser."""

import json
from typing import Any

from playwright.sync_api import Locator, Page


def data_of(page: Page) -> dict[str, Any]:
    """What the script of a page reads."""
    data: dict[str, Any] = json.loads(page.locator("#data").text_content() or "")
    return data


def go_to_list(page: Page) -> None:
    """Scroll to the list of prompts, whose rows exist only near the screen."""
    page.evaluate("document.getElementById('explorer').scrollIntoView({ behavior: 'instant' })")
    page.locator(".row").first.wait_for()


def texts(rows: Locator) -> list[str]:
    """The prompts of rows."""
    return rows.locator("h3").all_text_contents()


def image_of(page: Page, prompt: int, label: int, index: int) -> str:
    """The address of an image of the page, from the text that the page holds."""
    words = (page.locator(f"#i{prompt}").text_content() or "").split("|")[label].split()
    return f"data:image/webp;base64,{words[index]}"


def width_of(image: Locator) -> int:
    """The pixels of an image, once it is decoded."""
    return int(image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }"))


def number(value: float, digits: int = 4) -> str:
    """A score as the page writes it."""
    return f"{value:.{digits}g}".replace("-", "−")
