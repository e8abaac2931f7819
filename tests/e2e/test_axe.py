"""axe-core over every page in both themes: nothing that shuts somebody out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import made_run
import pytest
from real_studio import Studio

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
LOUD = ("serious", "critical")
EMPTY = {"start": "/", "words": "/words", "runs": "/runs", "run": "/run", "compare": "/compare", "system": "/system"}
FULL = {"start": "/?from=taste", "runs": "/runs", "run": "/run?run=taste", "compare": "/compare?run=taste"}
READY = {
    "start": "#start", "words": "#library-list .pair-row", "runs": "#runs :is(.lead, .run-name)",
    "run": ".run-missing, #grid img", "compare": "#left input", "system": "#diagnostics pre",
}  # fmt: skip


@pytest.fixture(scope="module", params=["empty", "full"])
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    runs = tmp_path_factory.mktemp("axe") / "runs"
    runs.mkdir()
    if request.param == "full":
        made_run.make(runs)
        made_run.make(runs, "failed", status="failed", best=None, message="Training diverged at update 13.")
    studio = Studio(runs)
    studio.start()
    yield studio
    studio.end()
    studio.log.close()


def violations(page: Any) -> list[str]:
    """`rule: where` of everything serious, also in what Gradio draws."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]} — {node['failureSummary'][:200]}"
        for rule in found
        if rule["impact"] in LOUD
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(studio: Studio, open_page: Callable[..., Any], scheme: str) -> None:
    page, found = open_page("desktop", scheme), {}
    for name, path in (FULL if any(Path(studio.runs).glob("*/recipe.yaml")) else EMPTY).items():
        page.goto(studio.url + path)
        page.locator(READY[name]).first.wait_for()
        page.wait_for_timeout(1000)
        for fold in page.locator(".fold > button[aria-expanded=false], .settings > button[aria-expanded=false]").all():
            fold.click()
        page.wait_for_timeout(300)
        found[name] = violations(page)
    assert {name: all_of for name, all_of in found.items() if all_of} == {}
    page.evaluate("document.querySelector('h1').append(new Image())")
    assert any(one.startswith("image-alt") for one in violations(page)), "axe looks at nothing"
