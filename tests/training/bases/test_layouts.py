"""The published bases as they ship: as many weights as their publishers' files hold."""

from __future__ import annotations

import pytest
import torch

from toolkit.recipe import Section
from training import blueprint, tables
from training.bases._blueprint import LAYOUTS
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
    ("sd3", "T5EncoderModel"): 4_762_310_656,
    ("flux2", "Flux2Transformer2DModel"): 3_875_544_576,
    ("flux2", "Qwen3ForCausalLM"): 4_022_468_096,
    ("qwen_image", "QwenImageTransformer2DModel"): 20_430_401_088,
    ("qwen_image", "Qwen2_5_VLForConditionalGeneration"): 8_292_166_656,
    ("cogvideox", "T5EncoderModel"): 4_762_310_656,
    ("z_image", "ZImageTransformer2DModel"): 6_154_908_736,
    ("z_image", "Qwen3Model"): 4_022_468_096,
}
ROUNDED = {  # as their publishers speak of them, in thousand millions
    ("sd3", "SD3Transformer2DModel"): 2.5,
    ("hunyuan_dit", "HunyuanDiT2DModel"): 1.5,
    ("hunyuan_dit", "BertModel"): 0.35,
    ("hunyuan_dit", "T5EncoderModel"): 1.6,
    ("wan", "WanTransformer3DModel"): 1.42,
    ("wan", "UMT5EncoderModel"): 5.7,
    ("cogvideox", "CogVideoXTransformer3DModel"): 1.7,
}


@pytest.mark.parametrize("name", sorted(folder.name for folder in LAYOUTS.iterdir()))
def test_a_layout_has_the_published_size(name: str) -> None:
    with blueprint.weightless():
        base = tables.base(Section(name=name))
        found = {
            type(module).__name__: elements_of(module) for owner in (base, base.text) for module in modules_of(owner)
        }
        assert next(base.network.parameters()).dtype == torch.bfloat16
    expected = {kind: count for (base_name, kind), count in PUBLISHED.items() if base_name == name}
    assert {kind: found[kind] for kind in expected} == expected
    about = {kind: count for (base_name, kind), count in ROUNDED.items() if base_name == name}
    assert {kind: found[kind] / 1e9 for kind in about} == pytest.approx(about, rel=0.12)
    assert expected or about


def test_weights_that_are_used_without_their_layer_stay_as_they_are() -> None:
    with blueprint.weightless():
        base = tables.base(Section(name="hunyuan_dit", settings={"quantisation": "nf4"}))
        kinds = {name: type(module).__name__ for name, module in base.network.named_modules()}
    assert kinds["time_extra_emb.pooler.q_proj"] == "Linear"
    assert kinds["blocks.0.attn1.to_q"] == "QuantisedLinear"
