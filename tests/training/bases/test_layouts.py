"""The published bases as they ship: as many weights as their publishers' files hold."""

from __future__ import annotations

import pytest
import torch

from toolkit.recipe import Section
from training import blueprint, tables
from training.rehearsal import elements_of, modules_of

PUBLISHED = {  # tensors in the publishers' safetensors files
    ("flux", "FluxTransformer2DModel"): 11_901_408_320,
    ("flux", "AutoencoderKL"): 83_819_683,
    ("flux", "CLIPTextModel"): 123_060_480,
    ("flux", "T5EncoderModel"): 4_762_310_656,
    ("sd15", "UNet2DConditionModel"): 859_520_964,
    ("sd15", "AutoencoderKL"): 83_653_863,
    ("sd15", "CLIPTextModel"): 123_060_480,
    ("sdxl", "UNet2DConditionModel"): 2_567_463_684,
    ("sdxl", "CLIPTextModelWithProjection"): 694_659_840,
}


@pytest.mark.parametrize("name", ["flux", "sd15", "sdxl"])
def test_a_layout_has_the_published_size(name: str) -> None:
    with blueprint.weightless():
        base = tables.base(Section(name=name))
        found = {
            type(module).__name__: elements_of(module) for owner in (base, base.text) for module in modules_of(owner)
        }
        assert next(base.network.parameters()).dtype == torch.bfloat16
    expected = {kind: count for (base_name, kind), count in PUBLISHED.items() if base_name == name}
    assert {kind: found[kind] for kind in expected} == expected
