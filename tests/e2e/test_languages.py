"""The Studio in a real Chromium that asks for Chinese: every page speaks it, and the switch is remembered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import made_run
import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

PAGES = {
    "/": ("教它一种品味", "Teach a taste"),
    "/words": ("词语", "Words"),
    "/runs": ("训练", "Runs"),
    "/run?run=taste": ("taste", "taste"),
    "/compare": ("对比", "Compare"),
    "/system": ("系统", "System"),
}
# What stays as it is: what people named, a picture's prompt, code, and Latin words beside Chinese.
ENGLISH_SENTENCES = """() => {
  const kept = 'script, style, pre, code, .cm-editor, .nav-holder, .rail, .chip, .chips label, option, .setting';
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement && !node.parentElement.closest(kept)) found.push(node.textContent);
  }
  for (const name of ['aria-label', 'title', 'placeholder'])
    for (const element of document.querySelectorAll(`body [${name}]`))
      if (!element.closest('.nav-holder, .tile')) found.push(element.getAttribute(name));
  return found.filter((words) => /[a-z]{2,} [a-z]{2,} [a-z]{2,}/i.test(words) && !/[\\u4e00-\\u9fff]/.test(words));
}"""


def test_a_chinese_browser_reads_chinese_and_the_switch_is_remembered(
    studio: Any, open_page: Callable[..., Page], errors: list[str]
) -> None:
    made_run.make(studio.runs)
    for size in ("desktop", "phone"):
        page = open_page(size, locale="zh-CN")
        for path, (title, _) in PAGES.items():
            page.goto(studio.url + path)
            expect(page.locator("h1")).to_have_text(title)
            expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
            expect(page.locator(".rail a[href='./runs']")).to_have_text(re.compile("训练"))
            page.wait_for_timeout(1500)
            assert page.evaluate(ENGLISH_SENTENCES) == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path

    page.goto(studio.url)
    page.get_by_role("button", name="全部设置").click()
    page.evaluate("window.isSamePage = true")
    page.locator("#yaml .cm-content").click()  # CodeMirror names the editor's own language there
    page.keyboard.type(" ")
    expect(page.locator("#yaml .cm-content")).to_be_focused()
    page.wait_for_timeout(500)
    assert page.evaluate("window.isSamePage") is True
    assert not any(cookie.get("name") == "palate_language" for cookie in page.context.cookies())

    page.goto(f"{studio.url}/run?run=taste")
    expect(page.get_by_text("已完成 20 / 20 步。保留最佳检查点：第 20 步。")).to_be_visible()
    page.get_by_role("button", name="只看之前").click()
    expect(page.get_by_role("button", name="只看之后")).to_be_visible()
    page.locator(".rail [data-language=en]").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    for path, (_, title) in PAGES.items():
        page.goto(studio.url + path)
        expect(page.locator("h1")).to_have_text(title)
        assert not re.search("[\u4e00-\u9fff]", page.locator("main").inner_text().replace("中文", "", 1)), path
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator(".rail [data-language=zh]")).to_be_visible()
    page.locator(".rail [data-language=zh]").click()
    expect(page.locator("h1")).to_have_text("系统")
    assert errors == []
