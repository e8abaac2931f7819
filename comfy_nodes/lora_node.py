"""What every node with a dropdown of LoRA files has in common."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import lora_files
from .logic.words import CHOICES, refusal


class LoraNode(io.ComfyNode):
    """Refuses what is no LoRA file before anything runs, and runs again when the file changed on disk."""

    @classmethod
    def validate_inputs(cls, lora_name: str | None = None, words: str | None = None) -> bool | str:
        """True, or the sentence that the user reads. Older servers do not check dropdowns themselves."""
        if words is not None and words not in CHOICES:
            return refusal(words)
        return lora_files.refusal(lora_name)

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None = None, **_: Any) -> Any:
        """Changes with the file on disk; core's loader keeps the old weights then."""
        return lora_files.stamp(lora_name)
