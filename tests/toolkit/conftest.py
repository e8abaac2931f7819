"""What these tests share: the command line called in place, and a LoRA's description that never changes with a small
adapter to go with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from comfy_nodes.header import AlignedLoraHeader
from toolkit import cli
from toolkit.lora_file import Description


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`palate …` in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PALATE_RUNS", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["palate", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.fixture
def description() -> Description:
    return Description(
        title="3d-render",
        component="transformer",
        architecture="flux-1-dev",
        base_model_version="flux1",
        resolution=(64, 48),
        rank=2,
        target_modules=("to_v", "to_q", "ff.net.0.proj"),
        learning_rate=2e-4,
        updates=100,
        seed=42,
        header=AlignedLoraHeader(
            method="srpo",
            family="flux",
            base="black-forest-labs/FLUX.1-dev",
            words=[
                {"positive": "3d render", "negative": "line art"},
                {"positive": "sharp", "negative": "blurry"},
                {"positive": "3d render", "negative": "flat icon"},
            ],
            reward="demo",
            reward_hash="00112233",
            recipe_hash="44556677",
            update=40,
        ),
    )


@pytest.fixture
def adapter() -> dict[str, Tensor]:
    """Two layers under peft's names, not in order."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"blocks.1.to_q.lora_B": (6, 2), "blocks.1.to_q.lora_A": (2, 6), "blocks.0.to_q.lora_A": (2, 6)}
    shapes["blocks.0.to_q.lora_B"] = (6, 2)
    return {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
