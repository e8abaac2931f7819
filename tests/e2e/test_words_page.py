"""Words and System in a real Chromium: a new pair is measured, ranked and kept; no planted secret reaches the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

LONG = 400_000  # milliseconds a measurement may take on a busy machine
TOKEN, PASSWORD, KEY = "hf_PlantedPlantedPlanted42", "open-sesame-77", "0123456789abcdefplanted"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that the Studio starts with."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", f"http://me:{PASSWORD}@proxy.example,127.0.0.1,localhost")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("PALATE_NOTE", f"copied {KEY} and {TOKEN}")


def test_a_new_pair_is_measured_ranked_kept_and_taught(
    studio: Any, open_page: Callable[..., Page], errors: list[str], screenshots: Callable[..., None], tmp_path: Path
) -> None:
    page = open_page()
    page.goto(f"{studio.url}/words")
    page.get_by_label("More like").fill("cartoon")
    page.get_by_label("Less like").fill("flat icon")
    page.get_by_label("Less like").press("Enter")
    expect(page.locator("#separation")).to_contain_text("tells them apart: ", timeout=LONG)
    expect(page.locator("#ranked img")).to_have_count(16, timeout=LONG)
    expect(page.locator("#ranked figure").first).to_contain_text("cartoon")
    expect(page.locator("#cosines .value")).to_have_count(8)
    values = [float(value.replace("−", "-")) for value in page.locator("#cosines .value").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    assert max(map(abs, values)) <= 1

    page.locator("#keep").click()
    expect(page.locator("#keep")).to_contain_text("Remove")
    kept = json.loads((studio.runs / "favourites.json").read_text())["pairs"]
    assert kept == [{"negative": "flat icon", "positive": "cartoon"}]
    page.reload()
    expect(page.locator("#library-list .pair-row").first).to_contain_text("flat icon")
    expect(page.locator("#library-list .star").first).to_have_attribute("aria-pressed", "true")

    pictures = tmp_path / "mine"
    pictures.mkdir()
    for name, colour in (("red", (200, 30, 30)), ("grey", (120, 120, 120))):
        Image.new("RGB", (96, 64), colour).save(pictures / f"{name}.png")
    page.get_by_text("A folder of mine").click()
    expect(page.locator("#ranked")).to_contain_text("No folder is given")
    page.locator("#folder textarea").fill(str(pictures))
    page.locator("#folder textarea").press("Enter")
    expect(page.locator("#ranked img")).to_have_count(2, timeout=LONG)
    page.get_by_text("My runs'").click()
    expect(page.locator("#ranked")).to_contain_text("No run has drawn pictures yet")

    page.get_by_label("Less like").fill("3D  Render")
    page.get_by_label("More like").fill("3d render")
    page.get_by_label("More like").press("Enter")
    expect(page.locator("#separation")).to_contain_text("must differ")

    page.get_by_role("link", name="Teach cartoon / flat icon").click()
    expect(page.get_by_role("heading", name="Teach a taste")).to_be_visible()
    expect(page.get_by_label("More like")).to_have_value("cartoon")
    expect(page.get_by_label("Less like")).to_have_value("flat icon")
    first = page.locator("#library label").first
    expect(first).to_contain_text("★ cartoon / flat icon")
    page.get_by_text("sharp / blurry").click()
    expect(page.get_by_label("More like")).to_have_value("sharp")
    first.click()
    expect(page.get_by_label("More like")).to_have_value("cartoon")
    screenshots(tmp_path, {"words": "/words", "system": "/system"})
    assert errors == []


def test_system_shows_the_doctor_and_no_secret(studio: Any, open_page: Callable[..., Page], errors: list[str]) -> None:
    page = open_page()
    page.goto(f"{studio.url}/system")
    findings = page.locator("#findings")
    for said in ("Python 3.", "PyTorch", "RAM", "free where runs are written", "A Hub token is there"):
        expect(findings).to_contain_text(said, timeout=LONG)
    expect(page.locator("#resources")).to_contain_text("it takes")
    for title in ("Versions", "Folders", "Environment"):
        page.get_by_role("button", name=title).click()
    expect(page.locator("#environment")).to_contain_text("HF_TOKEN")
    expect(page.locator("#environment")).to_contain_text("proxy.example")
    expect(page.locator("#diagnostics pre")).to_contain_text("HF_HUB_OFFLINE=1")
    content = page.content()
    assert not [secret for secret in (TOKEN, PASSWORD, KEY) if secret in content]
    assert str(Path.home()) not in page.locator("#diagnostics pre").inner_text()
    assert errors == []
