"""What the command line does with LoRA files, one function per command; the words it prints, nothing it computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from toolkit.errors import PalateError, UsageError

if TYPE_CHECKING:
    from toolkit.loras.convert import Target
    from toolkit.loras.extraction import Extraction
    from toolkit.loras.inspection import Inspection
    from toolkit.loras.verification import Loader

out = Console(highlight=False, soft_wrap=True)
SHOWN = 12  # names that are printed before the rest is counted


def convert(file: Path, target: Target, output: Path | None, family: str, dtype: str) -> Path:
    """Write the file for another program beside the first, or where `output` says."""
    from toolkit.loras.convert import convert as rename

    written = output or file.with_name(f"{file.stem}.{target}.safetensors")
    _not_over(written, file)
    found = rename(file, target, written, family=family, dtype=dtype)
    out.print(f"{found.title} for {'ComfyUI' if target == 'comfyui' else target}: {written}")
    out.print(f"Next: palate verify {written} --loader {target}")
    return written


def inspect(file: Path, family: str, *, as_json: bool) -> None:
    """Print what a file holds."""
    from toolkit.loras.inspection import inspect as look

    seen = look(file, family)
    if as_json:
        print(json.dumps(seen.to_dict(), indent=1, sort_keys=True, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    for label, value in _facts(seen):
        table.add_row(label, value)
    out.print(table, markup=False)
    blocks = Table("block", "norm of the change")
    for name, norm in seen.blocks.items():
        blocks.add_row(name, f"{norm:.4g}")
    out.print(blocks)
    for name, value in seen.metadata.items():
        out.print(f"{name}: {value}", markup=False)


def verify(file: Path, family: str, base: Path | None, loader: Loader | None) -> None:
    """Print what each loader makes of a file; raises PalateError (exit code 1) when something would not load."""
    from toolkit.loras.verification import LOADERS, TITLES
    from toolkit.loras.verification import verify as check

    verdict = check(file, family=family, base=base, loaders=(loader,) if loader else LOADERS)
    sizes = ", ".join(verdict.models) or "no published model"
    out.print(f"{verdict.family.title}, {verdict.layers} layers; names and sizes of: {sizes}")
    for each, names in verdict.unread.items():
        out.print(f"{TITLES[each]}: {verdict.layers - len(names)} of {verdict.layers} layers load")
        for name in names[:SHOWN]:
            out.print(f"  not read: {name}", markup=False)
        if len(names) > SHOWN:
            out.print(f"  and {len(names) - SHOWN} more")
    for problem in verdict.problems:
        out.print(problem, markup=False)
    if not verdict.good:
        unread = [each for each, names in verdict.unread.items() if names]
        action = f"palate convert {file.name} --to {unread[0]}" if unread else ""
        raise PalateError(f"`{file.name}` would not play as it was trained.", action=action)
    out.print("Everything loads.")


def extract(
    tuned: Path, base: Path, output: Path, *, rank: int, energy: float, family: str, dtype: str, quiet: bool
) -> None:
    """Write the difference of two models as a LoRA and print what was lost."""
    from toolkit.loras.extraction import extract as take

    with Console(stderr=True, quiet=quiet).status("palate extract …") as status:
        report = take(
            tuned, base, output,
            rank=rank, energy=energy, family=family, dtype=dtype,
            progress=lambda name: status.update(f"palate extract {name}"),
        )  # fmt: skip
    if not quiet:
        _show(report)
    ranks = sorted(layer.rank for layer in report.layers)
    spread = str(ranks[0]) if ranks[0] == ranks[-1] else f"{ranks[0]} to {ranks[-1]}"
    out.print(f"{len(ranks)} layers of {report.family.title}, rank {spread}, total error {report.error:.2%}")
    out.print(f"LoRA: {output}")
    out.print(f"Next: palate convert {output} --to comfyui")


def merge(files: list[str], output: Path, *, rank: int, into: Path | None, family: str, dtype: str) -> None:
    """Write the sum of LoRAs, or a base with them added."""
    from toolkit.loras import merging

    sources = [_with_strength(file) for file in files]
    for path, _ in sources:
        _not_over(output, path)
    if into:
        if rank or dtype:
            raise UsageError("A base keeps its own precision and has no rank.", action="Leave out --rank and --dtype.")
        count = merging.merge_into(sources, into, output, family=family)
        out.print(f"{count} layers changed: {output}")
        return
    lost = merging.merge(sources, output, rank=rank, family=family, dtype=dtype)
    out.print(f"LoRA: {output}" + (f" (the rank costs {lost:.2%} of the change)" if rank else " (exact)"))
    out.print(f"Next: palate convert {output} --to comfyui")


def _facts(seen: Inspection) -> list[tuple[str, str]]:
    counts = ", ".join(f"{rank} ({layers} layers)" for rank, layers in seen.ranks.items())
    strengths = ", ".join(f"{strength:g} ({layers} layers)" for strength, layers in seen.strengths.items())
    return [
        ("file", f"{seen.file}, {seen.bytes / 1e6:.1f} MB"),
        ("family", f"{seen.family}; sizes of {', '.join(seen.fits) or 'no published model'}"),
        ("layout", f"{seen.layout}, {seen.layers} layers in {seen.tensors} tensors"),
        ("rank", counts),
        ("alpha / rank", strengths),
        ("precision", ", ".join(seen.precision)),
        ("norm of the change", f"{seen.norm:.4g}"),
        ("words", "; ".join(f"{pair['positive']} / {pair['negative']}" for pair in seen.words) or "none recorded"),
    ]


def _show(report: Extraction) -> None:
    table = Table("layer", "rank", "change", "error")
    for layer in report.layers:
        table.add_row(layer.name, str(layer.rank), f"{layer.norm:.4g}", f"{layer.error:.2%}")
    out.print(table)
    for name, norm in report.skipped[:SHOWN]:
        out.print(f"not in the LoRA: {name} changed by {norm:.4g}")
    if len(report.skipped) > SHOWN:
        out.print(f"not in the LoRA: {len(report.skipped) - SHOWN} more tensors")


def _with_strength(text: str) -> tuple[Path, float]:
    path, separator, strength = text.rpartition(":")
    try:
        return (Path(path), float(strength)) if separator else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0


def _not_over(output: Path, source: Path) -> None:
    if output.resolve() == source.resolve():
        raise UsageError(f"`{output.name}` would be written over itself.", action="Choose another --output.")
