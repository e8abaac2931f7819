"""Prompt lists on disk: `.txt` (one prompt a line) and `.jsonl` ({"prompt": ..., "subject": ...} a line)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from toolkit.errors import UsageError

DEMO = "demo:"


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it shows; `subject` is what retrieval guards look for (the prompt itself when not given)."""

    text: str
    subject: str


def resolve(source: str, folder: Path | None = None) -> Path:
    """The file behind `demo:train|validation|test` or behind a path, relative to `folder` (the recipe's) if given."""
    if source.startswith(DEMO):
        return Path(str(files("demo_world") / "prompts" / f"{source.removeprefix(DEMO)}.jsonl"))
    path = Path(source).expanduser()
    return path if path.is_absolute() or folder is None else folder / path


def read(source: str, folder: Path | None = None) -> list[Prompt]:
    """All prompts of a list, in order, blank lines and `#` comments left out.

    Raises UsageError when the file is missing, empty, not UTF-8 or has a line that is not a prompt.
    """
    path = resolve(source, folder)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # some editors begin a file with a byte-order mark
    except FileNotFoundError:
        raise UsageError(
            f"The prompt file `{source}` does not exist.",
            action="Write one prompt a line into a .txt file, or use `demo:train` with the demo base.",
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"The prompt file `{source}` cannot be read: {error}.", action="Save it as UTF-8 text."
        ) from error
    reader = _from_json if path.suffix == ".jsonl" else _from_text
    prompts = [reader(line, number, source) for number, line in enumerate(lines, 1) if _counts(line)]
    if not prompts:
        raise UsageError(
            f"The prompt file `{source}` holds no prompt.",
            cause="Every line is blank or a comment.",
            action="Add one prompt a line.",
        )
    return prompts


def fingerprint(source: str) -> str:
    """A hash of what a list says; of its name while there is no such file."""
    path = resolve(source)
    return hashlib.sha256(path.read_bytes() if path.is_file() else source.encode()).hexdigest()


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _from_text(line: str, number: int, source: str) -> Prompt:
    return Prompt(line.strip(), line.strip())


def _from_json(line: str, number: int, source: str) -> Prompt:
    try:
        content = json.loads(line)
        text = content["prompt"].strip()
        subject = content.get("subject", text)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"Line {number} of `{source}` is not a prompt.",
            cause='Each line must be JSON like {"prompt": "a lighthouse in fog"}.',
            action="Mend that line, or rename the file to .txt if it holds plain prompts.",
        ) from None
    if not text:
        raise UsageError(f"Line {number} of `{source}` has an empty prompt.", action="Fill it in or delete the line.")
    return Prompt(text, subject)
