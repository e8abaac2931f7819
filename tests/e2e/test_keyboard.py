"""A whole run without a mouse: a pair, the start, the watch, the stop and the border between before and after."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from real_studio import LONG, Studio, tiny_recipe

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

MOST_STOPS = 120
# Whether something around the focused part shows that it is: an outline, a shadow or another border than unfocused.
FOCUS_SHOWS = """() => {
  for (let part = document.activeElement, up = 0; part && up < 3; part = part.parentElement, up++) {
    const style = getComputedStyle(part);
    if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) return true;
    if (style.boxShadow !== 'none') return true;
  }
  const active = document.activeElement, border = (part) => getComputedStyle(part).borderColor;
  const seen = () => border(active) + border(active.parentElement);
  const focused = seen(); active.blur(); const before = seen(); active.focus();
  return focused !== before;
}"""


def tab_to(page: Page, wanted: str, *, back: bool = False) -> None:
    """Press Tab until the focus is on it, and see that it shows."""
    for _ in range(MOST_STOPS):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            assert page.evaluate(FOCUS_SHOWS), f"the focus on {wanted} cannot be seen"
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    pytest.fail(f"Tab never reaches {wanted}")


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.outerHTML.slice(0, 300)")


def test_from_a_pair_to_before_and_after_without_a_mouse(
    studio: Studio, open_page: Callable[..., Page], errors: list[str]
) -> None:
    page = open_page()
    page.goto(studio.url)
    expect(page.get_by_role("heading", name="Teach a taste")).to_be_visible()
    expect(page.locator("#separation")).to_contain_text("tells them apart: ", timeout=LONG)  # all is drawn
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    tab_to(page, "#library input")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Less like")).to_have_value("flat icon")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("More like")).to_have_value("line art")

    tab_to(page, ".settings > button")
    page.keyboard.press("Enter")
    tab_to(page, "#yaml .cm-content")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(tiny_recipe(studio.runs.parent, "by-hand", updates=60))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value("60")
    page.keyboard.press("Escape")
    tab_to(page, "#start")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run?run=by-hand")

    expect(page.locator("#grid thead th").nth(1)).to_be_visible(timeout=LONG)
    tab_to(page, "#stop")
    page.wait_for_timeout(5000)  # two ticks
    expect(page.locator("#stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#confirm")).to_contain_text("best checkpoint")
    tab_to(page, "#stop-yes")
    page.keyboard.press("Enter")
    expect(page.locator(".run-state")).to_contain_text("stopped", timeout=LONG)

    page.keyboard.press("Tab")
    tab_to(page, ".compare input[type=range]", back=True)
    border = page.locator(".compare input[type=range]")
    page.keyboard.press("End")
    expect(border).to_have_value("100")
    page.keyboard.press("ArrowLeft")
    expect(border).to_have_value("99")
    page.wait_for_timeout(3000)
    expect(border).to_be_focused()
    tab_to(page, "[data-toggle]")
    page.keyboard.press("Enter")
    expect(border).to_have_value("100")
    tab_to(page, "#grid .open")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert "open" in focused(page)
    assert errors == []
