"""Each act of the explorer, by what is on the page after it, in headless Chromium."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from evaluation.report import write_report
from tests.support.browser.explored_page import data_of, go_to_list, image_of, number, texts

pytestmark = pytest.mark.browser

Write = Callable[..., Path]
Open = Callable[..., Page]


def test_a_point_shows_its_image_scores_and_weights_when_the_mouse_is_on_it(four_prompts: Page) -> None:
    page = four_prompts
    data = data_of(page)
    page.locator('.row[data-prompt="0"] .point[data-label="0"][data-index="4"] .target').hover()
    card = page.get_by_role("tooltip")
    expect(card).to_be_visible()
    said = card.inner_text()
    values = data["prompts"][0]["fronts"][0]["values"][4]
    assert "srsoup" in said and "colorfulness 0.8, compressibility 0.2" in said
    for reward, value in zip(data["guided"] + data["heldOut"], values, strict=True):
        assert f"{reward}\n{number(value)}" in said
    assert card.locator("img").get_attribute("src") == image_of(page, 0, 0, 4)
    page.mouse.move(2, 2)
    expect(card).to_be_hidden()


def test_the_keyboard_reaches_every_point_and_shows_the_same(four_prompts: Page) -> None:
    page = four_prompts
    row = page.locator('.row[data-prompt="0"]')
    # One stop of the tab key for a front: the point that the slider has chosen.
    assert row.locator('.point[tabindex="0"]').count() == 1
    page.get_by_label("sort by").focus()
    while not page.evaluate("document.activeElement.matches('.point')"):
        page.keyboard.press("Tab")
    here = page.evaluate("[document.activeElement.dataset.label, document.activeElement.dataset.index]")
    assert here == ["0", "3"]
    page.keyboard.press("ArrowRight")
    card = page.get_by_role("tooltip")
    expect(card).to_contain_text("colorfulness 0.8, compressibility 0.2")
    page.keyboard.press("ArrowDown")
    expect(card).to_contain_text("sample 5")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_slider_moves_every_image(four_prompts: Page) -> None:
    page = four_prompts
    slider = page.get_by_role("slider", name="Weights of the rewards")
    assert slider.get_attribute("aria-valuetext") == "colorfulness 0.6, compressibility 0.4"
    for key, index, shown in (("Home", 0, "(0, 1)"), ("End", 5, "(1, 0)"), ("ArrowLeft", 4, "(0.8, 0.2)")):
        slider.press(key)
        rows = page.locator(".row")
        assert rows.count() >= 3
        for row in rows.all():
            prompt = int(row.get_attribute("data-prompt") or "")
            left, right = row.locator(".shot").all()
            assert left.locator("img").get_attribute("src") == image_of(page, prompt, 0, index)
            assert right.locator("img").get_attribute("src") == image_of(page, prompt, 1, index)
            assert shown in left.inner_text() and f"#{index + 1}" in right.inner_text()
            assert row.locator(f'.point.chosen[data-label="0"][data-index="{index}"]').count() == 1
    assert slider.get_attribute("aria-valuetext") == "colorfulness 0.8, compressibility 0.2"


def test_three_rewards_have_a_triangle(open_page: Open, synthetic_run: Write) -> None:
    run = synthetic_run(prompts=["a fox"], guided=["a", "b", "c"], weights=4)
    page = open_page(write_report([run], run / "report"))
    go_to_list(page)
    triangle = page.get_by_role("radiogroup", name="Weights of the rewards")
    assert triangle.get_by_role("radio").count() == 4
    data = data_of(page)
    for index, weights in enumerate(data["positions"]):
        triangle.get_by_role("radio").nth(index).locator(".target").click()
        expect(triangle.get_by_role("radio").nth(index)).to_have_attribute("aria-checked", "true")
        assert page.locator(".shot img").first.get_attribute("src") == image_of(page, 0, 0, index)
        assert f"a {weights[0]:.3g}" in page.locator("#weights output").inner_text()
    # The first reward is on top: the arrow goes down from it, along the weights that fall.
    page.keyboard.press("ArrowDown")
    expect(triangle.get_by_role("radio").nth(2)).to_be_focused()
    # A plane shows two rewards, which can be chosen.
    page.locator("#y").select_option(label="c")
    assert "c →" in page.locator(".plot").first.inner_text()


def test_any_two_methods_or_runs_are_side_by_side(open_page: Open, synthetic_run: Write) -> None:
    runs = [synthetic_run(name, prompts=["a fox", "a cat"]) for name in ("one", "two")]
    page = open_page(write_report(runs, runs[0] / "report"))
    go_to_list(page)
    names = [label["name"] for label in data_of(page)["labels"]]
    assert set(names) == {"one · srsoup", "one · unguided", "two · srsoup", "two · unguided"}
    for left, right in (("two · srsoup", "one · srsoup"), ("one · unguided", "two · unguided")):
        page.get_by_label("Method on the left").first.select_option(left)
        page.get_by_label("Method on the right").first.select_option(right)
        for row in page.locator(".row").all():
            shots = row.locator(".shot").all()
            assert [left in shots[0].inner_text(), right in shots[1].inner_text()] == [True, True]
            prompt = int(row.get_attribute("data-prompt") or "")
            assert shots[0].locator("img").get_attribute("src") == image_of(page, prompt, names.index(left), 3)


def test_a_click_enlarges_arrow_keys_go_on_and_escape_closes(four_prompts: Page) -> None:
    page = four_prompts
    page.locator('.row[data-prompt="1"] .picture').first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    heading, large = dialog.get_by_role("heading"), page.locator("#viewer-left img")
    expect(heading).to_have_text("a fox")
    assert large.get_attribute("src") == image_of(page, 1, 0, 3)
    page.keyboard.press("ArrowRight")
    assert large.get_attribute("src") == image_of(page, 1, 0, 4)
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text("a red panda")
    assert large.get_attribute("src") == image_of(page, 2, 0, 4)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(heading).to_have_text("a cat")
    assert large.get_attribute("src") == image_of(page, 0, 0, 3)
    front = data_of(page)["prompts"][0]["fronts"]
    cells = dialog.get_by_role("row", name="colorfulness").get_by_role("cell").all_inner_texts()
    assert cells[:2] == [number(front[0]["values"][3][0]), number(front[1]["values"][3][0])]
    # An image of the strip below is chosen by a click.
    dialog.get_by_role("group", name="srsoup").get_by_role("button").first.click()
    assert large.get_attribute("src") == image_of(page, 0, 0, 0)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('.row').dataset.prompt") == "0"
    expect(page.get_by_role("slider")).to_have_value("0")


def test_search_filter_and_sort(four_prompts: Page) -> None:
    page = four_prompts
    rows, said = page.locator(".row"), page.locator("#said")
    assert texts(rows) == ["a cat", "a fox", "a red panda", "an owl"]
    page.get_by_label("search").fill("RED pan")
    expect(said).to_have_text("1 of 4 prompts")
    assert texts(rows) == ["a red panda"]
    page.get_by_label("search").fill("no such animal")
    expect(said).to_have_text("0 of 4 prompts")
    page.get_by_label("search").fill("")
    page.locator("#filter").select_option("style:photo")
    assert texts(rows) == ["a cat", "a red panda"]
    page.locator("#filter").select_option("")
    found = data_of(page)["prompts"]

    def held(prompt: dict[str, Any], label: int) -> float:
        return float(np.mean([row[2] for row in prompt["fronts"][label]["values"]]))

    wanted = {
        "gain": sorted(found, key=lambda prompt: prompt["volumes"][1] - prompt["volumes"][0]),
        "hard": sorted(found, key=lambda prompt: prompt["volumes"][1]),
        "loss:2": sorted(found, key=lambda prompt: held(prompt, 0) - held(prompt, 1)),
    }
    for value, order in wanted.items():
        page.get_by_label("sort by").select_option(value)
        assert texts(rows) == [prompt["text"] for prompt in order]
        assert [row.get_attribute("aria-posinset") for row in rows.all()] == ["1", "2", "3", "4"]


def test_all_weightings_of_a_prompt_are_shown_if_they_are_asked_for(four_prompts: Page) -> None:
    page = four_prompts
    page.get_by_label("all", exact=True).check()
    cells = page.locator('.row[data-prompt="0"] .cell')
    assert cells.count() == 12
    for n in range(12):
        assert cells.nth(n).locator("img").get_attribute("src") == image_of(page, 0, n // 6, n % 6)
