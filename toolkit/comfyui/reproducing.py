"""From a run or a LoRA file to the drawing that shows it in ComfyUI: what its recipe and its header say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit import atomic, catalogue, lora_file, prompts, run_folder
from toolkit.comfyui import families
from toolkit.comfyui.drawing import Drawing, graph
from toolkit.errors import UsageError
from toolkit.loras.convert import serves_both
from toolkit.loras.families import FAMILIES as LORA_FAMILIES
from toolkit.loras.families import named_in
from toolkit.recipe import Recipe
from toolkit.run_folder import RunFolder

SUFFIX = ".safetensors"


def of(source: str, runs: Path | None = None, prompt: str = "", **changes: Any) -> Drawing:
    """The drawing of a run or of a LoRA file, with every change that is not None. Raises UsageError."""
    if source.endswith(SUFFIX):
        found = of_lora(Path(source), prompt)
    else:
        found = of_run(run_folder.find(runs or run_folder.default_root(), source), prompt)
    return replace(found, **{name: value for name, value in changes.items() if value is not None})


def write(drawing: Drawing, path: Path, *, api: bool = False) -> None:
    """The graph as a file: for ComfyUI's page, or for its `/prompt`. Raises UsageError where it cannot be written."""
    made = graph(drawing, drawing.name)
    try:
        atomic.write_json(path, made.api() if api else made.workflow())
    except OSError as error:
        raise UsageError(
            f"`{path}` cannot be written: {error.strerror or error}.", action="Choose another place with --output."
        ) from error


def of_run(run: RunFolder, prompt: str = "") -> Drawing:
    """A finished run's LoRA as its previews show it: size, seed, steps and guidance of its recipe.

    Without a prompt it is the first that the run was validated on. Raises UsageError for a run without LoRA.
    """
    files = run.lora_files()
    if not files:
        raise UsageError(f"The run `{run.name}` has no LoRA yet.", action="Wait for its end, or `palate resume` it.")
    recipe = run.recipe()
    settings = catalogue.find("bases", recipe.base.name).defaults() | recipe.base.settings
    size = (settings.get("width"), settings.get("height"), settings.get("frames", 1))
    return replace(
        of_lora(files[0], prompt or prompts.read(recipe.prompts.validation)[0].text),
        family=recipe.base.name,
        seed=recipe.training.seed,
        steps=recipe.validation.steps,
        guidance_scale=recipe.validation.guidance_scale,
        size=size if all(size) else None,
        files=_own_files(recipe, settings),
        start=(Path(recipe.lora.start).name, recipe.lora.start_strength) if recipe.lora.start else None,
    )


def of_lora(file: Path, prompt: str = "") -> Drawing:
    """A LoRA at the upper end of its recommended strength, under the name of the file that ComfyUI reads.

    Raises UsageError for a file that does not name its family.
    """
    header, family = lora_file.header(file), named_in(lora_file.read_metadata(file))
    if family is None:
        raise UsageError(
            f"`{file.name}` does not say which model it is for.", action="Give a LoRA that Palate wrote, or a run."
        )
    families.get(family.name)
    return Drawing(
        family.name,
        prompt or "a cat",
        lora=name_for_comfyui(file, family.name),
        strength=header.strength[1] if header else 1.0,
    )


def name_for_comfyui(file: Path, family: str) -> str:
    """The name of the file that ComfyUI reads: a run's second one where the family has two."""
    theirs = f"{file.stem.removesuffix('_comfyui')}_comfyui{SUFFIX}"
    return file.name if serves_both(LORA_FAMILIES[family]) else theirs


def _own_files(recipe: Recipe, settings: dict[str, Any]) -> dict[str, str]:
    """The file of the network, where the recipe names one."""
    named = {**settings.get("parts", {}), "weights": settings.get("weights") or ""}
    for part in ("transformer", "unet", "weights"):
        if str(named.get(part, "")).endswith(SUFFIX):
            return {"model": Path(named[part]).name}
    return {}
