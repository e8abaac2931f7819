"""What `palate bench` does and says."""

from __future__ import annotations

from pathlib import Path

from toolkit.bench import page, study
from toolkit.bench.methods import MethodsBench
from toolkit.commands import out


def methods(output: Path, folder: Path, *, workers: int) -> None:
    """Run what is missing, then write the page."""
    bench = MethodsBench(study.read(), output.resolve(), workers, lambda line: out.print(line, markup=False))
    bench.run()
    out.print(f"The page: {page.write(bench, folder)}", markup=False)
