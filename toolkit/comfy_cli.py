"""The commands around ComfyUI; `toolkit.cli` adds them to `palate comfy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Use what you trained in ComfyUI.")


@app.callback()
def _root() -> None:
    pass


@app.command()
def install(
    path: Annotated[Path, typer.Argument(help="ComfyUI's folder, the one with main.py.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the nodes instead of linking them.")] = False,
) -> None:
    """Put Palate's nodes into a ComfyUI. It gets nothing else, and needs nothing that it does not have."""
    from toolkit import comfy_install

    place, copied = comfy_install.install(path, copy=copy)
    print(f"{'Copied' if copied else 'Linked'} to {place}. Restart ComfyUI; the nodes are below “preference/lora”.")


@app.command()
def workflow(
    source: Annotated[str, typer.Argument(metavar="RUN_OR_LORA", help="A run's name or folder, or a LoRA file.")],
    prompt: Annotated[str, typer.Option(help="What to draw (default: the run's first validation prompt).")] = "",
    negative_prompt: Annotated[str, typer.Option(help="What not to draw.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the noise (default: the run's).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps (default: those of its previews).")] = None,
    strength: Annotated[float | None, typer.Option(help="The LoRA's (default: the most that it recommends).")] = None,
    words: Annotated[bool, typer.Option("--words", help="Put the LoRA's words before the prompts.")] = False,
    api: Annotated[bool, typer.Option("--api", help="The form for ComfyUI's /prompt instead of its page.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write (default: NAME.json).")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder that holds all runs (default: $PALATE_RUNS or ./runs).")
    ] = None,
) -> None:
    """Write a ComfyUI workflow that draws with a run's LoRA as its previews did: drag the file onto ComfyUI's page."""
    from toolkit.comfyui import reproducing

    changes = {"seed": seed, "steps": steps, "strength": strength, "word_strength": float(words)}
    drawing = reproducing.of(source, runs, prompt, negative_prompt=negative_prompt, **changes)
    written = output or Path(f"{drawing.name}.json")
    reproducing.write(drawing, written, api=api)
    print(f"Wrote {written}. ComfyUI needs:")
    print("\n".join(f"  {place}" for place in drawing.places()))
