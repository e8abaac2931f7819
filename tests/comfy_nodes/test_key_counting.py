"""Which tensors fit, whether their sizes do, and whether an 8-bit base can hold them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.logic import key_counting, rounding
from comfy_nodes.logic.families import CLASSES, TITLES, family_of, title
from toolkit.loras.families import FAMILIES

KNOWN = {"lora_unet_a": "a.weight", "transformer.b": "b.weight", "transformer.c": ("qkv.weight", (0, 2, 2))}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lora_unet_a.lora_up.weight", "lora_unet_a"),
        ("lora_unet_a.lora_down.weight", "lora_unet_a"),
        ("lora_unet_a.alpha", "lora_unet_a"),
        ("transformer.b.lora_A.weight", "transformer.b"),
        ("transformer.b.lora_B.default.weight", "transformer.b"),
        ("x.processor.to_q_lora.up.weight", "x.processor.to_q"),
        ("x.lora.down.weight", "x"),
        ("x.dora_scale", "x"),
        ("x.diff", "x"),
        ("x.diff_b", "x"),
        ("unknown", "unknown"),
    ],
)
def test_a_name_belongs_to_its_layer(name: str, layer: str) -> None:
    assert key_counting.stem(name) == layer


def test_every_tensor_is_counted_once() -> None:
    names = [
        "lora_unet_a.lora_up.weight", "lora_unet_a.lora_down.weight", "transformer.z.lora_A.weight",
        "lora_te_text_model_x.lora_up.weight",
    ]  # fmt: skip
    count = key_counting.count(names, KNOWN, clip=False)
    assert str(count) == (
        "2 of 3 tensors used; not known to this model: transformer.z.lora_A.weight; "
        "1 for the text encoder left out, no CLIP is connected"
    )
    assert str(key_counting.count(names[:2], KNOWN, clip=False)) == "2 of 2 tensors used"
    assert key_counting.count(names, KNOWN, clip=True).unknown == (names[3], names[2])


def test_sizes_of_another_model_are_seen() -> None:
    weights = {"a.weight": torch.zeros(4, 3), "qkv.weight": torch.zeros(6, 3)}
    good = {"lora_unet_a.lora_up.weight": torch.zeros(4, 2), "lora_unet_a.lora_down.weight": torch.zeros(2, 3)}
    slice_ = {"transformer.c.lora_B.weight": torch.zeros(2, 1), "transformer.c.lora_A.weight": torch.zeros(1, 3)}
    assert key_counting.misfit({**good, **slice_}, KNOWN, weights) == ""
    large = {**good, "lora_unet_a.lora_up.weight": torch.zeros(5, 2)}
    assert key_counting.misfit(large, KNOWN, weights) == ("lora_unet_a is 5 × 3 in the file and 4 × 3 in the model")
    whole = {**slice_, "transformer.c.lora_B.weight": torch.zeros(6, 1)}
    assert "6 × 3 in the file and 2 × 3 in the model" in key_counting.misfit(whole, KNOWN, weights)
    packed = {"a.weight": torch.zeros(6, 1, dtype=torch.uint8)}
    assert key_counting.misfit(large, KNOWN, packed) == ""


def test_a_convolution_fits_by_its_window() -> None:
    tensors = {"x.lora_up.weight": torch.zeros(4, 2, 1, 1), "x.lora_down.weight": torch.zeros(2, 3, 3, 3)}
    assert key_counting.misfit(tensors, {"x": "x.weight"}, {"x.weight": torch.zeros(4, 3, 3, 3)}) == ""


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_the_size_of_an_update_is_that_of_the_product(rows: int, columns: int, rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    up, down = torch.randn(rows, rank, generator=generator), torch.randn(rank, columns, generator=generator)
    product = (up.double() @ down.double()).square().mean().sqrt().item()
    assert rounding.update_size(up, down, None) == pytest.approx(product, rel=1e-4, abs=1e-6)
    assert rounding.update_size(up, down, 3 * rank) == pytest.approx(3 * product, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "update", "strength", "lost"),
    [
        (torch.float8_e4m3fn, 0.06, 1.0, 1),  # half a step of a weight of 1 is 1/16
        (torch.float8_e4m3fn, 0.07, 1.0, 0),
        (torch.float8_e4m3fn, 0.06, -2.0, 0),
        (torch.float8_e5m2, 0.12, 1.0, 1),  # and 1/8
        (torch.float8_e5m2, 0.13, 1.0, 0),
    ],
)
def test_half_a_step_of_8_bits_is_the_border(dtype: torch.dtype, update: float, strength: float, lost: int) -> None:
    weights = {"a.weight": torch.ones(4, 3).to(dtype)}
    tensors = {"lora_unet_a.lora_up.weight": torch.full((4, 1), update),
               "lora_unet_a.lora_down.weight": torch.ones(1, 3)}  # fmt: skip
    assert rounding.lost_layers(tensors, KNOWN, weights, strength) == (lost, 1)
    rounded = (torch.ones(4, 3) + abs(strength) * update).to(dtype).float() == 1
    assert rounded.all().item() == bool(lost)  # what rounding to the nearest does


def test_a_scale_beside_the_weight_counts() -> None:
    tensors = {"lora_unet_a.lora_up.weight": torch.full((4, 1), 0.07),
               "lora_unet_a.lora_down.weight": torch.ones(1, 3)}  # fmt: skip
    eight = torch.ones(4, 3).to(torch.float8_e4m3fn)
    assert rounding.lost_layers(tensors, KNOWN, {"a.weight": eight, "a.scale_weight": torch.tensor(2.0)}, 1.0)[0] == 1
    assert rounding.lost_layers(tensors, KNOWN, {"a.weight": torch.ones(4, 3, dtype=torch.bfloat16)}, 1.0) == (0, 0)
    assert rounding.lost_layers(tensors, KNOWN, {"a.weight": eight}, 0.0) == (0, 0)
    assert rounding.warning(0, 4) == ""
    assert "8 bits, and in 3 of 4 layers" in rounding.warning(3, 4)


class BaseModel:
    pass


class SDXL(BaseModel):
    pass


class Flux(BaseModel):
    pass


class Flux2(Flux):
    pass


class WAN21(BaseModel):
    pass


class WAN21_Vace(WAN21):
    pass


class SomethingNew(BaseModel):
    pass


@pytest.mark.parametrize(
    ("model", "family"),
    [(BaseModel, "sd15"), (SDXL, "sdxl"), (Flux, "flux"), (Flux2, "flux2"), (WAN21_Vace, "wan"), (SomethingNew, "")],
)
def test_the_family_is_that_of_the_nearest_class(model: type, family: str) -> None:
    assert family_of(model()) == family


def test_families_have_the_names_that_training_writes() -> None:
    written = {"palate-demo" if family == "demo" else family for family in FAMILIES}
    assert set(CLASSES.values()) <= written
    assert set(TITLES) == written
    assert title("nobody's") == "nobody's"
