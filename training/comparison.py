"""`python -m training draw`: the pictures of comparisons, by one process that keeps its base between requests."""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from pathlib import Path

import psutil
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from toolkit import lora_file, run_folder
from toolkit.comparison import Cell, Column, Ground, Request, adapter_file, state_of
from toolkit.comparison_folder import ComparisonFolder, Comparisons
from toolkit.errors import PalateError, UsageError
from toolkit.recipe import Lora, Recipe
from toolkit.run_folder import DONE, FAILED, QUEUED, RUNNING
from training import build, clips, previews
from training.contracts import Base
from training.sample import PURPOSE, parameters
from training.train import one_installation
from training.validation import Renderer

LOOK_SECONDS = 0.2
HANDOVER_SECONDS = 30.0  # for a worker that is just ending
SMALL, ZOOM = 128, 3  # pictures up to this width are enlarged on the sheet


def serve(root: Path, idle: float) -> None:
    """Draw what waits until nothing has for `idle` seconds. Ends at once where another worker draws."""
    one_installation()
    comparisons = Comparisons(root)
    comparisons.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(comparisons.path / "worker.lock", timeout=HANDOVER_SECONDS).acquire()
    except Timeout:
        return
    with lock:
        painter, since = Painter(comparisons), time.monotonic()
        comparisons.claim()
        while True:
            if painter.draw_next():
                since = time.monotonic()
            elif time.monotonic() - since >= idle:
                break
            else:
                time.sleep(LOOK_SECONDS)
        comparisons.worker_file.unlink(missing_ok=True)
        while painter.draw_next():  # asked by someone who still saw this worker
            pass


class Painter:
    """Draws comparisons; base and LoRA layers of the last one stay."""

    def __init__(self, comparisons: Comparisons) -> None:
        """comparisons: where requests are and pictures go."""
        self._comparisons = comparisons
        self._ground: Ground | None = None
        self._base: Base | None = None
        self._lora: Lora | None = None
        self._stage: build.Stage | None = None

    def draw_next(self) -> bool:
        """Draw the oldest comparison that waits. False when there is none; its state says how it ended."""
        waiting = self._comparisons.waiting()
        if not waiting:
            return False
        folder = waiting[0]
        folder.write_state(RUNNING, process=psutil.Process())
        try:
            if self._draw(folder):
                folder.write_state(DONE)
        except PalateError as error:
            folder.write_state(FAILED, str(error))
        except torch.OutOfMemoryError:
            self._forget()
            folder.write_state(FAILED, "Out of GPU memory. Wait until no run trains, or choose a smaller size.")
        except OSError as error:
            folder.write_state(FAILED, f"A file could not be read or written: {error.strerror or error}.")
        except Exception as error:  # noqa: BLE001  one broken comparison must not take the others' worker along
            traceback.print_exc()
            self._forget()
            folder.write_state(FAILED, f"Drawing failed: {error}. Details: {self._comparisons.log_file.name}")
        return True

    def _draw(self, folder: ComparisonFolder) -> bool:
        """All that is missing; False when it was stopped meanwhile."""
        request = folder.request()
        for number, column in enumerate(request.comparison.columns):
            missing = [cell for cell in request.comparison.cells if cell.column == number]
            missing = [cell for cell in missing if not self._is_drawn(folder, request, cell)]
            if missing and not self._draw_column(folder, request, column, missing):
                return False
        folder.sheet.unlink(missing_ok=True)
        sheet = previews.grid(*_sheet(folder, request), zoom=_zoom(folder, request))
        previews.save_png(folder.sheet, sheet, {"palate": request.comparison.model_dump_json()})
        return True

    def _draw_column(self, folder: ComparisonFolder, request: Request, column: Column, cells: list[Cell]) -> bool:
        asked = request.comparison
        run = run_folder.below(self._comparisons.root, column.run) if column.run else None
        content = _content(self._comparisons.root, request, column)
        stage = self._stage_for(content, request.ground)
        policy, rate = stage.policy, stage.policy.base.frames_per_second
        texts = {cell: column.text(asked.prompts[cell.prompt]) for cell in cells}
        stage.encode.prepare(texts.values())
        policy.release_text()
        renderer = Renderer(
            policy, stage.encode, steps=asked.steps, guidance_scale=asked.guidance_scale or 0.0,
            seed=asked.seed, purpose=PURPOSE, batch_size=1,
        )  # fmt: skip
        name = "none"
        if run is not None:
            path = adapter_file(run, column)
            if state_of(path, self._comparisons.root) != request.loras[cells[0].column]:
                raise UsageError(f"The LoRA of {column.choice} has changed since.", action="Ask for it again.")
            finished = column.checkpoint is None
            component = policy.base.lora_facts.component
            policy.load_adapter(lora_file.load(path, component) if finished else lora_file.read(path)[0])
            name = path.stem if column.checkpoint is None else f"{run.name}@{column.checkpoint}"
        with policy.at_strength(column.strength) if run is not None else policy.as_reference():
            for cell, text in texts.items():
                if folder.raw_state().get("status") not in (RUNNING, QUEUED):
                    return False
                told = parameters(
                    text, steps=asked.steps, guidance_scale=asked.guidance_scale or 0.0,
                    seed=asked.seed_of(cell.number), lora=name, strength=column.strength,
                )  # fmt: skip
                _save(folder, request, cell, renderer([text], cell.number), told, rate)
        return True

    def _is_drawn(self, folder: ComparisonFolder, request: Request, cell: Cell) -> bool:
        """Whether the picture is there, be it from another comparison."""
        path = folder.picture(request, cell)
        if not path.is_file():
            for other in self._comparisons.path.glob(f"*/{path.name}"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(other.with_suffix(".webp"), path.with_suffix(".webp"))
                shutil.copyfile(other, path)
                break
        return path.is_file()

    def _stage_for(self, content: Recipe, stands_on: Ground) -> build.Stage:
        """The base with layers for this recipe's LoRA: built as little as possible."""
        if self._stage is not None and (self._ground, self._lora) == (stands_on, content.lora):
            return self._stage
        if self._stage is not None:
            self._stage.policy.take_out()
            self._stage = None
        if self._ground != stands_on:
            self._forget()
            self._base = build.bare_base(content)
        self._stage = build.stage(content, build.best_device(), self._base)
        self._ground, self._lora = stands_on, content.lora
        return self._stage

    def _forget(self) -> None:
        """Give the memory back."""
        self._stage = self._base = self._ground = self._lora = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _content(root: Path, request: Request, column: Column) -> Recipe:
    """The recipe whose LoRA layers a column needs, on the request's base; the base column takes the first run's."""
    name = column.run or next(c.run for c in request.comparison.columns if c.run)
    content = run_folder.below(root, name).recipe()
    return content.model_copy(update={"base": request.ground.base})


def _save(folder: ComparisonFolder, request: Request, cell: Cell, drawn: Tensor, told: str, rate: int) -> None:
    """drawn: one picture [1, 3, H, W] or clip [1, F, 3, H, W]."""
    if rate:
        previews.save_clip(folder.clip(request, cell), drawn[0], told, rate)
    picture = previews.to_picture(clips.posters(drawn)[0])
    previews.save_png(folder.picture(request, cell), picture, {"parameters": told})


def _sheet(folder: ComparisonFolder, request: Request) -> tuple[list[tuple[str, Tensor]], list[str]]:
    """Labelled rows and the columns' labels."""
    asked = request.comparison
    rows = []
    for prompt, number in asked.rows:
        label = asked.prompts[prompt] + (f", {asked.seed_of(number)}" if asked.pictures > 1 else "")
        paths = [folder.picture(request, Cell(column, prompt, number)) for column in range(len(asked.columns))]
        rows.append((label, torch.stack([_read(path) for path in paths])))
    return rows, [column.label.replace("×", "x") for column in asked.columns]  # the sheet's font has no ×


def _zoom(folder: ComparisonFolder, request: Request) -> int:
    with Image.open(folder.picture(request, request.comparison.cells[0])) as first:
        return ZOOM if first.width <= SMALL else 1


def _read(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return pil_to_tensor(picture.convert("RGB")) / 255
