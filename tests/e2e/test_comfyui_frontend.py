"""The pack's page files in a real front end, in a real Chromium, against a real ComfyUI server.

pytest -m slow tests/e2e/test_comfyui_frontend.py   (after `make comfyui`, or with COMFYUI_PATH: see real_comfyui.py)

One of the folders of COMFYUI_PACKAGES must hold the comfyui-frontend-package that the checkout asks for.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect
from real_comfyui import CHECKOUTS, PACKAGES
from safetensors.torch import save_file

from comfy_nodes.header import AlignedLoraHeader
from toolkit.comfyui.examples import EXAMPLES

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

FRONT = "comfyui_frontend_package"
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Release.Version": "9", "Comfy.Release.Status": "skipped",
            "Comfy.Canvas.SelectionToolbox": True}  # fmt: skip
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
SCREENSHOTS = os.environ.get("SCREENSHOTS", "")  # a folder that keeps what the page looked like
WAIT = 180_000  # milliseconds, on a busy machine
expect.set_options(timeout=WAIT)


def front_of(checkout: Path) -> Path | None:
    """The files of the front end that the checkout asks for, in one of the folders of COMFYUI_PACKAGES."""
    wanted = re.search(r"comfyui-frontend-package==(\S+)", (checkout / "requirements.txt").read_text(encoding="utf-8"))
    for folder in PACKAGES.split(os.pathsep):
        if wanted and Path(folder, f"{FRONT}-{wanted[1]}.dist-info").is_dir():
            return Path(folder, FRONT, "static")
    return None


FRONTS = [(checkout, found) for checkout in CHECKOUTS if (found := front_of(checkout))]


@pytest.fixture(params=FRONTS, ids=lambda each: each[0].name, scope="module")
def comfyui(request: pytest.FixtureRequest, start_comfyui: Callable[..., Any]) -> Any:
    """A server whose front end is the real one, with four LoRA files."""
    server = start_comfyui(*request.param)
    loras = server.folder / "models" / "loras"
    lora(loras / "a-calm.safetensors", [{"positive": "calm (soft)", "negative": "loud"}], strength=(0.4, 1.2))
    lora(loras / "light" / "b-light.safetensors", [
        {"positive": "golden light", "negative": "flat light"}, {"positive": "dusk", "negative": "noon"}])  # fmt: skip
    lora(loras / "c-evil.safetensors", [{"positive": EVIL, "negative": "x"}], base=EVIL, method=EVIL)
    save_file({"x": torch.zeros(1)}, loras / "d-plain.safetensors")
    Image.linear_gradient("L").convert("RGB").save(loras / "a-calm.png")
    return server


def lora(path: Path, words: list[dict[str, str]], **about: Any) -> None:
    """A file with a header, and nothing of use in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"method": "srpo", "family": "flux", "base": "black-forest-labs/FLUX.1-dev", "words": words, **about}
    save_file({"x": torch.zeros(1)}, path, metadata=AlignedLoraHeader(**said).to_metadata())


class Front:
    """One page and what is done with it."""

    def __init__(self, page: Page, server: Any) -> None:
        self.page, self.server, self.wrong = page, server, list[str]()

    def add(self, kind: str, **values: Any) -> Front:
        """An empty graph with one node, its widgets set as a user sets them."""
        self.page.evaluate(
            """([kind, values]) => {
                const app = window.app;
                app.graph.clear();
                const node = window.LiteGraph.createNode(kind);
                node.pos = [500, 250];  // under neither the side bar nor the tabs, its toolbox included
                app.graph.add(node);
                for (const [name, value] of Object.entries(values)) {
                    const widget = node.widgets.find((each) => each.name === name);
                    widget.value = value;
                    widget.callback?.(value);
                }
                app.canvas.ds.offset = [0, 0];
                app.canvas.ds.scale = 1;
                window.node = node;
            }""",
            [kind, values],
        )
        return self

    def set(self, name: str, value: Any) -> None:
        self.page.evaluate(
            """([name, value]) => {
                const widget = window.node.widgets.find((each) => each.name === name);
                widget.value = value;
                widget.callback?.(value);
            }""",
            [name, value],
        )

    def value(self, name: str) -> Any:
        return self.page.evaluate("name => window.node.widgets.find((each) => each.name === name).value", name)

    @property
    def panel(self) -> Locator:
        return self.page.locator(".palate-panel")

    def chip(self, text: str) -> Locator:
        return self.panel.locator(".palate-chip", has_text=text)

    def sent(self) -> list[str]:
        """The texts that a queued graph ends with: text encoder, the node, and core's preview of both texts."""
        before = self.ended()
        self.page.evaluate(
            """async () => {
                const { LiteGraph, app, node } = window;
                const make = (kind, y) => {
                    const made = LiteGraph.createNode(kind);
                    made.pos = [800, y];
                    app.graph.add(made);
                    return made;
                };
                for (const each of [...app.graph.nodes]) if (each !== node) app.graph.remove(each);
                make("TestClip", 100).connect(0, node, node.inputs.findIndex((each) => each.name === "clip"));
                for (const output of [2, 3]) node.connect(output, make("PreviewAny", 150 * output), 0);
                await app.queuePrompt(0);
            }"""
        )
        for _ in range(600):
            for name, entry in self.ended().items():
                if name not in before:
                    shown = entry["outputs"]
                    kinds = {each: about["class_type"] for each, about in entry["prompt"][2].items()}
                    return [shown[each]["text"][0] for each in sorted(shown, key=int) if kinds[each] == "PreviewAny"]
            time.sleep(0.2)
        raise AssertionError(self.server.text()[-3000:])

    def ended(self) -> dict[str, Any]:
        return {name: each for name, each in self.server.get("/history").items() if each["status"]["completed"]}

    def picture(self, name: str) -> None:
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def is_ours(said: ConsoleMessage) -> bool:
    """An error of the console, but for the front end's own question to its registry, which it forbids itself."""
    return said.type == "error" and "https://api.comfy.org/" not in said.text


@pytest.fixture(params=["en"], scope="module")
def shared(request: pytest.FixtureRequest, browser: Browser, comfyui: Any) -> Iterator[Front]:
    """The page, loaded once in a language for all tests that want it: loading is most of the work."""
    place = comfyui.folder / "user" / "default" / "comfy.settings.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({**SETTINGS, "Comfy.Locale": request.param}), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(WAIT)
    front = Front(page, comfyui)
    page.on("pageerror", lambda error: front.wrong.append(str(error)))
    page.on("console", lambda said: front.wrong.append(said.text) if is_ours(said) else None)
    page.goto(comfyui.url, wait_until="domcontentloaded")
    page.wait_for_function("!!window.app?.graph && 'PalateStyleWords' in window.LiteGraph.registered_node_types")
    page.wait_for_selector("link[href*='palate.css']", state="attached")
    page.wait_for_load_state("networkidle")  # the page's own first graph
    yield front
    page.close()


@pytest.fixture
def front(shared: Front) -> Iterator[Front]:
    """The page with nothing left of the test before; whatever it complained about is a failure."""
    shared.page.unroute_all(behavior="ignoreErrors")
    shared.wrong.clear()
    yield shared
    # With a workflow the page asks ComfyUI's registry who made its nodes; the tests' servers forbid it.
    ours = [said for said in shared.wrong if "api.comfy.org" not in said]
    assert [said for said in ours if "palate" in said.lower() or "Error" in said] == []


def test_chips_show_the_words_of_the_chosen_file(front: Front) -> None:
    front.add("PalateLoadAlignedLora", lora_name="a-calm.safetensors")
    expect(front.chip("calm (soft)")).to_have_attribute("aria-pressed", "true")
    expect(front.chip("loud")).to_be_visible()
    expect(front.panel).to_contain_text("FLUX.1-dev · flux")
    expect(front.panel).to_contain_text("0.4 to 1.2")
    expect(front.panel.locator("img")).to_be_visible()
    front.picture("chips")


def test_a_chip_that_is_switched_off_is_not_sent(front: Front) -> None:
    front.add("PalateStyleWords", source="LoRA", lora_name="a-calm.safetensors", prompt="a cat", negative_prompt="bad")
    expect(front.chip("loud")).to_be_visible()
    assert front.sent() == [r"calm \(soft\). a cat", "loud. bad"]
    front.chip("loud").click()
    expect(front.chip("loud")).to_have_attribute("aria-pressed", "false")
    assert front.value("words") == "positive"
    assert front.sent() == [r"calm \(soft\). a cat", "bad"]
    expect(front.panel.locator("details")).to_contain_text("calm")
    front.picture("switched-off")
    front.chip("calm").focus()
    front.page.keyboard.press("Space")
    expect(front.chip("calm")).to_have_attribute("aria-pressed", "false")
    expect(front.chip("calm")).to_be_focused()
    front.page.keyboard.press("Enter")
    expect(front.chip("calm")).to_have_attribute("aria-pressed", "true")
    front.set("words", "none")
    expect(front.panel.locator("[aria-pressed=true]")).to_have_count(0)


def test_the_dropdown_changes_the_panel(front: Front) -> None:
    front.add("PalateStyleWords", source="LoRA", lora_name="a-calm.safetensors")
    expect(front.chip("calm (soft)")).to_be_visible()
    front.set("lora_name", "light/b-light.safetensors")
    expect(front.chip("golden light")).to_be_visible()
    expect(front.chip("calm (soft)")).to_have_count(0)
    expect(front.panel).to_contain_text("pair 1 of 2")
    front.set("pair", 2)
    expect(front.chip("dusk")).to_be_visible()
    front.set("source", "library")
    expect(front.chip("3d render")).to_be_visible()
    front.set("source", "typed")
    front.set("positive_word", "<b>bold</b>")
    expect(front.chip("<b>bold</b>")).to_be_visible()
    front.set("source", "LoRA")
    for name, sentence in (("d-plain.safetensors", "No words in this file"), ("none", "No LoRA chosen"),
                           ("gone.safetensors", "not in models/loras any more")):  # fmt: skip
        front.set("lora_name", name)
        expect(front.panel).to_contain_text(sentence)
    front.picture("missing")
    front.page.route("**/view_metadata/**", lambda route: route.abort())
    front.set("lora_name", "a-calm.safetensors")
    expect(front.panel).to_contain_text("The server does not answer")


def test_a_workflow_is_saved_without_the_panel_and_loaded_with_it(front: Front) -> None:
    front.add("PalateLoadAlignedLora", lora_name="a-calm.safetensors", words="negative")
    expect(front.chip("calm")).to_have_attribute("aria-pressed", "false")
    saved = front.page.evaluate("window.app.graph.serialize()")
    assert saved["nodes"][0]["widgets_values"] == ["a-calm.safetensors", 1, 1, "negative"]
    saved["nodes"][0]["widgets_values"] = ["light/b-light.safetensors", 0.5, 1]  # as before there was a choice of words
    front.page.evaluate("saved => window.app.loadGraphData(saved)", saved)
    expect(front.chip("golden light")).to_have_attribute("aria-pressed", "true")
    queued = front.page.evaluate("window.app.graphToPrompt()")
    (inputs,) = [each["inputs"] for each in queued["output"].values()]
    assert inputs == {
        "lora_name": "light/b-light.safetensors", "strength_model": 0.5, "strength_clip": 1, "words": "both"
    }  # fmt: skip


def test_what_a_stranger_wrote_into_a_file_stays_text(front: Front) -> None:
    front.add("PalateLoadAlignedLora", lora_name="c-evil.safetensors")
    expect(front.chip("onerror")).to_be_visible()
    expect(front.panel).to_contain_text("<img src=x")  # as text
    front.panel.locator(".palate-choose").click()
    expect(front.page.locator(".palate-row", has_text="c-evil")).to_contain_text("onerror")
    front.page.wait_for_timeout(500)
    assert front.page.evaluate("window.hacked") is None
    assert front.page.locator(".palate-panel script, .palate-panel [onerror], .palate-dialog [onerror]").count() == 0
    front.picture("evil")
    front.page.keyboard.press("Escape")
    expect(front.page.locator(".palate-dialog")).to_have_count(0)


def test_a_lora_is_chosen_by_keyboard(front: Front) -> None:
    front.add("PalateAlignedPrompt", lora_name="none")
    button, dialog = front.panel.locator(".palate-choose"), front.page.locator(".palate-dialog")
    button.focus()
    front.page.keyboard.press("Enter")
    expect(dialog.locator(".palate-search")).to_be_focused()
    expect(dialog.locator(".palate-row", has_text="a-calm")).to_contain_text("+ calm (soft)")
    front.picture("picker")
    front.page.keyboard.type("golden")  # a word, not a name
    expect(dialog.locator(".palate-row:visible")).to_have_count(1)
    front.page.keyboard.press("ArrowDown")
    expect(dialog.locator(".palate-row", has_text="b-light")).to_be_focused()
    front.page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert front.value("lora_name") == "light/b-light.safetensors"
    expect(front.chip("golden light")).to_be_visible()
    expect(button).to_be_focused()
    button.press("Enter")
    dialog.locator(".palate-folder").select_option("light")
    expect(dialog.locator(".palate-row:visible")).to_have_count(1)
    front.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert front.value("lora_name") == "light/b-light.safetensors"


def open_help(front: Front) -> None:
    """As a user does: a click on the node's title, then on the button above it."""
    front.add("PalateAlignedPrompt", lora_name="a-calm.safetensors")
    expect(front.chip("calm")).to_be_visible()
    place = front.page.evaluate(
        """() => {
            const { canvas } = window.app;
            const { left, top } = canvas.canvas.getBoundingClientRect();
            const [x, y] = canvas.convertOffsetToCanvas([window.node.pos[0] + 90, window.node.pos[1] - 15]);
            return [left + x, top + y];
        }"""
    )
    front.page.mouse.click(*place)
    front.page.get_by_test_id("info-button").click()


def test_the_help_page_opens_beside_the_canvas(front: Front) -> None:
    open_help(front)
    expect(front.page.get_by_role("heading", name="Pitfalls")).to_be_visible()
    front.picture("help-en")


def test_every_example_opens_and_would_send_what_it_says(front: Front) -> None:
    for name, example in EXAMPLES.items():
        front.page.evaluate("workflow => window.app.loadGraphData(workflow)", example().workflow())
        sent = front.page.evaluate("async () => (await window.app.graphToPrompt()).output")
        said = example().api()
        assert sent.keys() == said.keys()
        for number, node in said.items():  # the page adds texts of its own to core's Preview Any
            assert sent[number]["class_type"] == node["class_type"]
            assert {each: sent[number]["inputs"].get(each) for each in node["inputs"]} == node["inputs"], name
        front.picture(f"example-{name}")


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_panel_and_dialog_have_the_colours_of_the_theme(front: Front, palette: str) -> None:
    front.page.evaluate("name => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", palette)
    front.add("PalateChainLora", lora_name="a-calm.safetensors")
    expect(front.chip("calm")).to_be_visible()
    front.picture(f"{palette}-panel")
    front.panel.locator(".palate-choose").click()
    expect(front.page.locator(".palate-row", has_text="c-evil")).to_contain_text("onerror")
    front.picture(f"{palette}-picker")
    colour = front.page.evaluate("getComputedStyle(document.querySelector('.palate-dialog')).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    assert (red + green + blue > 600) == (palette == "light")
    front.page.keyboard.press("Escape")


@pytest.mark.parametrize("shared", ["zh"], indirect=True)
def test_in_chinese(front: Front) -> None:
    open_help(front)
    expect(front.panel).to_contain_text("0.4 至 1.2")
    expect(front.page.get_by_role("heading", name="注意")).to_be_visible()
    front.picture("chinese")
    if "1.32." not in (front.server.checkout / "requirements.txt").read_text(encoding="utf-8").splitlines()[0]:
        # That release loads its own Chinese after the packs', and loses theirs.
        assert front.page.evaluate("window.node.title") == "对齐提示词"
