"""Two tabs, a reload, a killed Studio and a killed trainer: the run goes on and ends in an undisturbed run's bytes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect
from real_studio import LONG, Studio, start_run, tiny_recipe

from toolkit import launch, recipe
from toolkit.run_folder import DONE, RunFolder

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

UPDATES = 60


def wait_for(what: Callable[[], Any], run: RunFolder) -> None:
    deadline = time.monotonic() + LONG / 1000
    while not what():
        assert time.monotonic() < deadline, run.log_file.read_text()[-3000:]
        time.sleep(0.2)


def lora(run: RunFolder) -> bytes:
    (file,) = run.lora_files()
    return file.read_bytes()


def undisturbed(prompts: Path, root: Path) -> RunFolder:
    """The same recipe, started by no Studio and left alone."""
    run = RunFolder.create(root, recipe.parse(yaml.safe_load(tiny_recipe(prompts, "survives", UPDATES))))
    launch.start(run)
    wait_for(lambda: not run.state().is_active, run)
    assert run.state().status == DONE, run.log_file.read_text()[-3000:]
    return run


def test_a_run_survives_reloads_a_killed_studio_and_a_killed_trainer(
    studio: Studio, open_page: Callable[..., Page], errors: list[str], tmp_path: Path
) -> None:
    one, other = open_page(), open_page("phone")
    start_run(one, studio, "survives", UPDATES)
    run = RunFolder(studio.runs / "survives")
    other.goto(f"{studio.url}/run?run=survives")
    expect(other.locator(".run-state")).to_contain_text("running", timeout=LONG)
    expect(one.locator("#grid thead th").nth(1)).to_be_visible(timeout=LONG)  # a check after the base's
    one.reload()
    expect(one.locator("#grid thead th").nth(1)).to_be_visible()

    trainer = run.state().pid
    studio.end(signal.SIGKILL)
    studio.start()
    assert run.state().pid == trainer, "the Studio started a second trainer, or ended the first"
    wait_for(lambda: run.checkpoint_updates(), run)
    os.kill(trainer, signal.SIGKILL)

    for page in (one, other):  # the same tabs: they find the new Studio by themselves
        expect(page.locator(".run-state")).to_contain_text("interrupted")
        expect(page.locator("#resume")).to_be_visible()
    del errors[:]  # both tabs complained while there was no Studio
    other.locator("#resume").click()
    expect(one.locator(".run-state")).to_contain_text("done", timeout=LONG)
    expect(other.get_by_role("link", name="Download LoRA")).to_be_visible()
    assert [event["update"] for event in run.events("update")] == list(range(1, UPDATES + 1))
    assert lora(run) == lora(undisturbed(studio.runs.parent, tmp_path / "undisturbed"))
    assert errors == []
