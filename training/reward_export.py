"""`python -m training export-reward`: a reward as one file for ComfyUI's node Load Preference Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import described, tables

KIND = "preference"
TAKEN = ("hpsv21", "pickscore")  # ViT-H/14 in layouts that ComfyUI's own classes read


def export(section: Section, output: Path) -> dict[str, Any]:
    """Write both towers under their published names, float16 as they are downloaded, and how to use them.

    Raises UsageError for another reward, and as the reward does for weights that are not there or not its own.
    """
    if section.name not in TAKEN:
        raise UsageError(f"`{section.name}` cannot be written for ComfyUI.", action=f"Choose {' or '.join(TAKEN)}.")
    reward: Any = tables.reward(Section(name=section.name, settings={**section.settings, "dtype": "float16"}))
    facts = {
        "reward": section.name,
        "geometry": reward.prepare.geometry,
        "scale": float(reward.from_cosine(torch.tensor(1.0))),
    }
    described.save(output, reward.network.state_dict(), KIND, facts)
    return facts
