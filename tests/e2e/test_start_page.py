"""The Start page in a real Chromium: pairs from a folder, a plan that is applied, a run of it, and its workflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

LONG = 500_000  # milliseconds that a plan or a tiny run may take on a busy machine


def make_pairs(folder: Path, count: int) -> Path:
    """Red over grey, with captions; the last of them has a broken side."""
    for at in range(count):
        for side, colour in (("chosen", (200, 30 + at, 30)), ("rejected", (120, 120 + at, 120))):
            (folder / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), colour).save(folder / side / f"{at}.png")
        (folder / "chosen" / f"{at}.txt").write_text(f"a dog, number {at}")
    (folder / "rejected" / f"{count - 1}.png").write_bytes(b"half")
    return folder


def tiny(folder: Path, pairs: Path, **training: int) -> str:
    """Two updates of DPO and a check on two prompts."""
    (folder / "two.txt").write_text("a dog\na tiger face\n", encoding="utf-8")
    tree = {
        "name": "tiny-dpo", "base": "demo", "method": {"name": "dpo", "beta": 500}, "reward": "demo",
        "words": {"positive": "3d render", "negative": "line art"},
        "prompts": {"validation": str(folder / "two.txt")}, "data": {"pairs": str(pairs)},
        "training": {"updates": 2, "seed": 77, **training},
        "validation": {"scorer": "demo_second", "every": 2, "steps": 2, "previews": 2},
    }  # fmt: skip
    return yaml.safe_dump(tree, sort_keys=False)


def type_recipe(page: Page, content: str) -> None:
    page.locator("#yaml .cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(content)


def written(page: Page) -> Any:
    return yaml.safe_load("\n".join(page.locator("#yaml .cm-line").all_inner_texts()))


@pytest.mark.long
def test_pairs_are_counted_settings_checked_and_a_plan_that_does_not_fit_is_mended(
    studio: Any, open_page: Callable[..., Page], errors: list[str], tmp_path: Path
) -> None:
    pairs = make_pairs(tmp_path / "mine", 4)
    page = open_page()
    page.goto(studio.url)
    expect(page.locator("#separation")).to_contain_text("tells them apart")
    page.get_by_label("Better and worse pairs").check()
    expect(page.get_by_label("DPO", exact=True)).to_be_checked()
    expect(page.locator("#library")).to_be_hidden()
    expect(page.locator("#method label")).to_have_count(4)
    page.get_by_label("More methods").check()
    expect(page.locator("#method label")).to_have_count(10)

    page.get_by_label("Folder of pairs").fill(str(tmp_path / "nowhere"))
    page.get_by_label("Folder of pairs").press("Enter")
    expect(page.locator("#found")).to_contain_text("do not exist")
    page.get_by_label("Folder of pairs").fill(str(pairs))
    page.get_by_label("Folder of pairs").press("Enter")
    expect(page.locator("#found")).to_contain_text("3 pairs kept, 1 dropped")
    expect(page.locator("#found")).to_contain_text("broken picture: 1 (3)")

    page.get_by_text("All settings").click()
    page.get_by_text("Method settings").click()
    beta = page.locator("[data-setting=beta]")
    beta.fill("-3")
    beta.press("Tab")
    expect(page.locator(".setting [role=alert]")).to_contain_text("-3")
    expect(beta).to_have_value("-3")
    page.locator("[data-setting=beta]").fill("700")
    page.locator("[data-setting=beta]").press("Tab")
    expect(page.locator("#yaml")).to_contain_text("beta: 700")

    type_recipe(page, tiny(tmp_path, pairs, batch_size=256))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value("2")
    page.get_by_label("Plan for a card of (GB)").fill("1")
    page.get_by_label("Plan for a card of (GB)").press("Enter")
    expect(page.locator("#plan")).to_contain_text("does not fit", timeout=LONG)
    page.locator("#apply").click(timeout=LONG)
    expect(page.locator("#yaml")).to_contain_text("gradient_accumulation: 256")
    assert written(page)["training"] | {"updates": 2, "seed": 77, "batch_size": 1} == written(page)["training"]
    expect(page.locator("#plan")).to_contain_text("It fits", timeout=LONG)

    assert errors == []


def test_pairs_train_a_lora_and_its_workflow_has_the_runs_seed(
    studio: Any, open_page: Callable[..., Page], errors: list[str], tmp_path: Path, screenshots: Callable[..., None]
) -> None:
    page = open_page()
    page.goto(studio.url)
    page.get_by_text("All settings").click()
    type_recipe(page, tiny(tmp_path, make_pairs(tmp_path / "mine", 4), batch_size=2))
    expect(page.get_by_role("spinbutton", name="Updates")).to_have_value("2")
    expect(page.get_by_label("Better and worse pairs")).to_be_checked()
    page.locator("#start").click()
    page.wait_for_url("**/run?run=tiny-dpo")
    expect(page.locator("#reproduce")).to_be_hidden()
    expect(page.locator(".run-state")).to_contain_text("done", timeout=LONG)
    page.get_by_role("button", name="Reproduce in ComfyUI").click()
    page.locator("#make-workflow").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download workflow").click()
    path = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(path)
    assert path.name == "tiny-dpo-comfyui.json"
    nodes = {node["type"]: node["widgets_values"] for node in json.loads(path.read_text())["nodes"]}
    assert nodes["KSampler"][0] == 77
    assert nodes["PalateAlignedPrompt"][2] == "tiny-dpo.safetensors"
    screenshots(tmp_path, {"start": "/", "run": "/run?run=tiny-dpo"})
    assert errors == []
