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
