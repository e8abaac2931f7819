"""Both names of every layer: each direction undoes the other, and slices fill their layer exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.loras import keys, updates
from toolkit.loras.families import FAMILIES
from toolkit.loras.names import Place, Renaming, fused, swapped
from toolkit.loras.updates import Update

GOLDEN = {
    "flux": {
        "transformer_blocks.7.attn.to_k": ("double_blocks.7.img_attn.qkv", 1, 2, 3),
        "transformer_blocks.7.attn.add_v_proj": ("double_blocks.7.txt_attn.qkv", 2, 3, 3),
        "single_transformer_blocks.37.proj_mlp": ("single_blocks.37.linear1", 3, 7, 7),
        "single_transformer_blocks.37.proj_out": ("single_blocks.37.linear2", 0, 1, 1),
    },
    "flux2": {"single_transformer_blocks.3.attn.to_qkv_mlp_proj": ("single_blocks.3.linear1", 0, 1, 1)},
    "sd3": {"transformer_blocks.2.attn2.to_q": ("joint_blocks.2.x_block.attn2.qkv", 0, 1, 3)},
    "sd15": {
        "down_blocks.1.attentions.1.proj_in": ("input_blocks.5.1.proj_in", 0, 1, 1),
        "up_blocks.0.upsamplers.0.conv": ("output_blocks.2.1.conv", 0, 1, 1),
        "up_blocks.2.resnets.0.conv2": ("output_blocks.6.0.out_layers.3", 0, 1, 1),
    },
    "sdxl": {
        "down_blocks.2.attentions.0.transformer_blocks.9.attn2.to_k": (
            "input_blocks.7.1.transformer_blocks.9.attn2.to_k", 0, 1, 1,
        ),
        "up_blocks.0.upsamplers.0.conv": ("output_blocks.2.2.conv", 0, 1, 1),
    },
    "hunyuan_dit": {
        "blocks.4.attn2.to_v": ("blocks.4.attn2.kv_proj", 1, 2, 2),
        "blocks.4.ff.net.0.proj": ("blocks.4.mlp.fc1", 0, 1, 1),
    },
    "wan": {
        "blocks.1.attn2.to_out.0": ("blocks.1.cross_attn.o", 0, 1, 1),
        "condition_embedder.time_proj": ("time_projection.1", 0, 1, 1),
        "proj_out": ("head.head", 0, 1, 1),
    },
    "z_image": {"layers.3.attention.to_q": ("layers.3.attention.qkv", 0, 1, 3)},
    "qwen_image": {"transformer_blocks.0.img_mod.1": ("transformer_blocks.0.img_mod.1", 0, 1, 1)},
}  # fmt: skip


@pytest.mark.parametrize("family", GOLDEN)
def test_names_are_those_of_the_published_checkpoints(family: str) -> None:
    for name, (original, first, last, of) in GOLDEN[family].items():
        assert FAMILIES[family].renaming.to_original(name) == Place(original, first, last, of)


@pytest.mark.parametrize("family", FAMILIES)
def test_renaming_there_and_back_changes_nothing(family: str) -> None:
    """Of every layer of every published model, in dots and in kohya's underscores."""
    renaming = FAMILIES[family].renaming
    for name in {name for layers in keys.layers(family).values() for name in layers}:
        assert renaming.diffusers_name(name) == renaming.diffusers_name(name.replace(".", "_")) == name
        if place := renaming.to_original(name):
            assert (name, place) in renaming.to_diffusers(place.name)
            assert (name, place) in renaming.to_diffusers(place.name.replace(".", "_"))
        else:
            assert (family, name.rpartition(".")[0].rpartition(".")[2]) == ("sd3", "norm1_context")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_slices_of_an_original_layer_fill_it_once(family: str) -> None:
    renaming = FAMILIES[family].renaming
    names = {name for layers in keys.layers(family).values() for name in layers}
    for original in {place.name for name in names if (place := renaming.to_original(name))}:
        places = sorted((place for _, place in renaming.to_diffusers(original)), key=lambda place: place.first)
        assert [place.first for place in places] == [0, *(place.last for place in places[:-1])]
        assert places[-1].last == places[-1].of


def test_a_name_of_neither_side_is_unknown() -> None:
    assert FAMILIES["flux"].renaming.find("transformer_blocks.x.attn.to_q") == []
    assert FAMILIES["flux"].renaming.to_original("nothing") is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_cutting_undoes_fusing(sizes: list[int], unit: int, data: st.DataObject) -> None:
    """Exact for every subset of the slices; what is missing stays unchanged."""
    names = [f"part{index}" for index in range(len(sizes))]
    renaming = Renaming(fused("whole", names, sizes=sizes))
    chosen = sorted(data.draw(st.sets(st.sampled_from(names), min_size=1)))
    parts = []
    for name in chosen:
        place = renaming.to_original(name)
        assert place is not None
        up = torch.randn((place.last - place.first) * unit, 2, dtype=torch.float64)
        parts.append((place, Update(torch.randn(2, 5, dtype=torch.float64), up)))
    whole = updates.fuse(parts)
    assert whole.shape == (sum(sizes) * unit, 5)
    for place, update in parts:
        assert torch.allclose(whole.cut(place).delta(), update.delta(), atol=1e-6)
    untouched = set(names) - set(chosen)
    assert all(not whole.cut(renaming.to_original(name)).delta().any() for name in untouched)  # type: ignore[arg-type]


def test_slices_that_share_their_down_matrix_keep_the_rank() -> None:
    renaming = Renaming(fused("qkv", ["q", "k", "v"]))
    fused_update = Update(torch.randn(2, 5), torch.randn(9, 2))
    parts = [(place, fused_update.cut(place)) for name in "qkv" if (place := renaming.to_original(name))]
    again = updates.fuse(parts)
    assert again.rank == 2
    assert torch.equal(again.up, fused_update.up)


def test_swapped_halves_swap_back() -> None:
    place = swapped("norm_out.linear", "final")[0].original
    assert place is not None
    update = Update(torch.randn(1, 3), torch.arange(4.0)[:, None])
    there = updates.fuse([(place, update)])
    assert there.up.flatten().tolist() == [2, 3, 0, 1]
    assert torch.equal(there.cut(place).up, update.up)


@given(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from(["q", "attn1.k"])), min_size=1))
def test_a_table_says_exactly_the_names_it_was_made_of(layers: set[tuple[int, int, str]]) -> None:
    names = {f"down.{block}.x_{layer}.{end}": (3, 4) for block, layer, end in layers}
    assert keys.parse("[model]\n" + "\n".join(keys.compress(names))) == {"model": names}
