"""What diffusers and peft say at real width, with LoRAs that Palate trained: the other side of ComfyUI's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from wide.training import section

from training import tables

# Strengths of the first LoRA, and of the second; no two alike, since ComfyUI runs equal nodes once.
CASES: dict[str, tuple[float, ...]] = {
    "base": (), "full": (1.0,), "half": (0.5,), "negative": (-1.0,), "stacked": (0.8, 0.7),
}  # fmt: skip
LEVEL, GUIDANCE = 0.6, 3.5


def comfyui_inputs(family: str, base: Any, x: Tensor, timestep: Tensor, text: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same question as ComfyUI's network wants to be asked."""
    states = text["states"]
    if "mask" in text:
        states = states[:, text["mask"][0]]
    thousand = 1000 if family in ("sd3", "wan") else 1
    asked = {"x": x, "timestep": timestep * thousand, "context": states}
    if family == "qwen_image":
        asked["x"] = x[:, :, None]  # a clip of one frame
    if family in ("flux", "sd3"):
        asked["y"] = text["pooled"]
    if family == "flux":
        asked["guidance"] = torch.tensor([GUIDANCE])
    if family == "sdxl":
        size = (base.settings.height, base.settings.width)
        sizes = base.network.add_time_proj(torch.tensor([*size, 0, 0, *size])).reshape(1, -1)
        asked["y"] = torch.cat([text["pooled"], sizes], dim=1)
    return {name: tensor.float().contiguous() for name, tensor in asked.items()}


@torch.no_grad()
def write(family: str, folder: Path, loras: list[Path]) -> None:
    """Of FOLDER/pipeline: inputs.safetensors, as ComfyUI names them, answers.safetensors, an output for each case."""
    base: Any = tables.base(section(family, folder))
    text = dict(base.encode(["a red cat"]))
    base.release_text()
    x = torch.randn((1, *base.latent_shape), generator=torch.manual_seed(3))
    timestep = base.schedule.level(torch.tensor([LEVEL])).timestep
    save_file(comfyui_inputs(family, base, x, timestep, text), folder / "inputs.safetensors")
    names = [f"lora{number}" for number in range(len(loras))]
    answers = {"base": base.forward(x, timestep, text, GUIDANCE).contiguous()}
    for name, lora in zip(names, loras, strict=True):
        base.network.load_lora_adapter(load_file(lora), prefix=base.component, adapter_name=name)
    for case, strengths in CASES.items():
        if strengths:
            base.network.set_adapters(names[: len(strengths)], list(strengths))
            answers[case] = base.forward(x, timestep, text, GUIDANCE).contiguous()
    save_file(answers, folder / "answers.safetensors")
