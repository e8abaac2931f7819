"""The commands for LoRA files; `toolkit.cli` adds them to `palate`. Nothing heavy is imported before one is run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()


class Reader(StrEnum):
    """Who is to read a file."""

    diffusers = "diffusers"
    comfyui = "comfyui"


class Precision(StrEnum):
    """How numbers are stored."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


File = Annotated[Path, typer.Argument(help="A LoRA, .safetensors.")]
Family = Annotated[
    str, typer.Option(metavar="NAME", help="Such as flux or sdxl; found out by itself when it is clear.")
]
Dtype = Annotated[Precision | None, typer.Option(help="Precision of the weights (default: as they are).")]
Output = Annotated[Path, typer.Option(help="The file to write.")]


@app.command()
def convert(
    file: File,
    to: Annotated[Reader, typer.Option(help="The program that is to read it.")],
    output: Annotated[Path | None, typer.Option(help="The file to write (default: beside the first).")] = None,
    family: Family = "",
    dtype: Dtype = None,
) -> None:
    """Write a LoRA of any known layout for diffusers or for ComfyUI, at the same strength."""
    _commands().convert(file, to.value, output, family, _text(dtype))


@app.command()
def inspect(
    file: File,
    family: Family = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object for other programs.")] = False,
) -> None:
    """Show what a LoRA holds: family, layout, ranks, alpha, how strongly it changes each block, words, metadata."""
    _commands().inspect(file, family, as_json=json)


@app.command()
def verify(
    file: File,
    base: Annotated[Path | None, typer.Option(help="The base's folder or file, to check layers and sizes.")] = None,
    loader: Annotated[Reader | None, typer.Option(help="Check for one program only (default: both).")] = None,
    family: Family = "",
) -> None:
    """Check that diffusers and ComfyUI would load every layer, at the right strength; exit code 1 when not."""
    _commands().verify(file, family, base, loader.value if loader else None)


@app.command()
def extract(
    tuned: Annotated[Path, typer.Argument(help="The full fine-tune: a .safetensors file or a folder.")],
    base: Annotated[Path, typer.Argument(help="The base that it was trained from.")],
    output: Output,
    rank: Annotated[int, typer.Option(min=0, help="Rank of every layer.")] = 0,
    energy: Annotated[float, typer.Option(min=0, max=1, help="Or: the share of the change to explain, as 0.95.")] = 0.0,
    family: Family = "",
    dtype: Annotated[Precision, typer.Option(help="Precision of the LoRA.")] = Precision.float32,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and problems.")] = False,
) -> None:
    """Make a LoRA of a full fine-tune minus its base, reading one matrix at a time."""
    _commands().extract(tuned, base, output, rank=rank, energy=energy, family=family, dtype=dtype.value, quiet=quiet)


@app.command()
def merge(
    files: Annotated[list[str], typer.Argument(metavar="FILE[:STRENGTH]...", help="LoRAs of one family.")],
    output: Output,
    rank: Annotated[int, typer.Option(min=0, help="Keep only the best part of this rank (default: exact).")] = 0,
    into: Annotated[Path | None, typer.Option(help="A base to add them to, instead of writing a LoRA.")] = None,
    family: Family = "",
    dtype: Dtype = None,
) -> None:
    """Add LoRAs together, or into their base."""
    _commands().merge(files, output, rank=rank, into=into, family=family, dtype=_text(dtype))


def _commands() -> Any:
    from toolkit import lora_commands

    return lora_commands


def _text(choice: Precision | None) -> str:
    return choice.value if choice else ""
