"""One entry of a data set, and where its pictures lie: in files, or in the cells of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError

PYARROW = "Reading a .parquet table needs pyarrow, which is not installed."


@dataclass(frozen=True)
class Picture:
    """A picture or an animation in a file, or in one cell of a table. Once it was read, `digest` names its bytes."""

    path: Path
    row: int = -1
    column: str = ""
    digest: str = ""
    frames: int = 0

    def read(self) -> bytes:
        """Its bytes. Raises OSError."""
        return self.path.read_bytes() if self.row < 0 else _cell(self.path, self.row, self.column)


@dataclass(frozen=True)
class Photo:
    """A picture that is as it should be, or, in `Like`, that was judged."""

    prompt: str
    picture: Picture
    weight: float = 1.0

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What there is to see."""
        return (self.picture,)


@dataclass(frozen=True)
class Like(Photo):
    """One picture, liked or not."""

    liked: bool = True


@dataclass(frozen=True)
class Candidate(Photo):
    """A picture or clip that waits for a blind choice among those of its prompt, and what made it.

    seed and index: the sampler's seed, and the place in the batch that was drawn with it; words: positive, negative.
    """

    seed: int = 0
    index: int = 0
    model: str = ""
    lora: str = ""
    words: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt. margin: by how much the chosen one should win; scores: of (chosen, rejected).

    mask: white where the two are compared, black where they are not; without one they are compared everywhere.
    """

    prompt: str
    chosen: Picture
    rejected: Picture
    weight: float = 1.0
    margin: float = 0.0
    scores: tuple[float, float] | None = None
    mask: Picture | None = None

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What there is to see, the chosen one first."""
        return (self.chosen, self.rejected)


Item = Pair | Photo


def _cell(path: Path, row: int, column: str) -> bytes:
    """One value, reading no more than its row group."""
    table, first = parquet_file(path), 0
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if row < first + size:
            return table.read_row_group(group, columns=[column])[column][row - first].as_py() or b""
        first += size
    raise OSError(f"{path.name} has no row {row}")


def parquet_file(path: Path) -> Any:
    """A table, opened. Raises UsageError where it is torn, or pyarrow is missing."""
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise UsageError(PYARROW, action="pip install palate[data]") from None
    try:
        return parquet.ParquetFile(path)
    except ArrowInvalid as error:
        raise UsageError(f"`{path.name}` is not a whole parquet table.", action="Download it again.") from error
