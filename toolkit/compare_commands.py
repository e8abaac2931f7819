"""`palate compare … --prompt`: pictures side by side without the Studio, by the same worker, as one labelled sheet."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from toolkit import comparison, run_folder
from toolkit.commands import out
from toolkit.comparison_folder import ComparisonFolder, Comparisons
from toolkit.errors import PalateError, UsageError
from toolkit.run_folder import DONE

POLL_SECONDS = 0.2


def draw(
    written: Sequence[str], prompts: Sequence[str], runs: Path | None, output: Path,
    *, seed: int | None, pictures: int, steps: int, quiet: bool,
) -> Path:  # fmt: skip
    """Draw the choices side by side and write the sheet; one run alone is held against its base."""
    root, names = _root_and_names(written, runs)
    columns = [comparison.column(name) for name in names]
    if len(columns) == 1 and columns[0].run:
        columns = [comparison.Column(style=columns[0].style), *columns]
    first = next((column.run for column in columns if column.run), "")
    own: dict[str, Any] = {"seed": run_folder.below(root, first).recipe().training.seed if seed is None else seed}
    asked = comparison.check(columns=columns, prompts=list(prompts), pictures=pictures, steps=steps, **own)
    comparisons = Comparisons(root)
    folder = comparisons.ask(asked, idle=0.0)
    _wait(comparisons, folder, quiet=quiet)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder.sheet, output)
    out.print(f"{len(asked.cells)} pictures side by side: {output}", markup=False)
    return output


def _root_and_names(written: Sequence[str], runs: Path | None) -> tuple[Path, list[str]]:
    """Runs may be given by their folders, as everywhere on the command line; all in one folder of runs."""
    folders = {str(Path(each).parent) for each in written if "/" in each}
    if len(folders) > 1:
        raise UsageError("These runs lie in different folders.", action="Compare runs of one folder of runs.")
    return Path(*folders) if folders else runs or run_folder.default_root(), [Path(each).name for each in written]


def _wait(comparisons: Comparisons, folder: ComparisonFolder, *, quiet: bool) -> None:
    try:
        with Console(stderr=True, quiet=quiet).status("palate compare …"):
            while (progress := comparisons.progress(folder)).is_active:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        comparisons.stop(folder.name)
        raise
    if progress.status != DONE:
        raise PalateError(progress.message, action=f"Details: {comparisons.log_file}")
