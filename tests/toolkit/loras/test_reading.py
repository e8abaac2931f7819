"""What is no LoRA, or not one that Palate can play right, is refused in one sentence; the family is found out."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.errors import UsageError
from toolkit.loras import keys
from toolkit.loras.families import FAMILIES
from toolkit.loras.reading import read

FLUX = "transformer.transformer_blocks.0.attn.to_q"


def pair(stem: str = FLUX, *, rank: int = 2, out: int = 4, into: int = 4) -> dict[str, torch.Tensor]:
    return {f"{stem}.lora_A.weight": torch.ones(rank, into), f"{stem}.lora_B.weight": torch.ones(out, rank)}


REFUSED = [
    ({**pair(), f"{FLUX}.lora_magnitude_vector": torch.ones(4)}, "is a DoRA"),
    ({**pair(), f"{FLUX}.dora_scale": torch.ones(4, 1)}, "is a DoRA"),
    ({f"{FLUX}.hada_w1_a": torch.ones(4, 2)}, "is a LoHa"),
    ({f"{FLUX}.lokr_w1": torch.ones(4, 2)}, "is a LoKr"),
    ({**pair(), f"{FLUX}.lora_mid.weight": torch.ones(2, 2, 3, 3)}, "is a LoCon with a third matrix"),
    ({**pair(), f"{FLUX}.diff_b": torch.ones(4)}, "is a file with whole changed weights"),
    ({**pair(), f"{FLUX}.lora_B.bias": torch.ones(4)}, "is a LoRA with biases"),
    ({**pair(), **pair("lora_te_text_model_encoder_layers_0_mlp_fc1")}, "also changes the text encoder"),
    ({f"{FLUX}.weight": torch.ones(4, 4)}, r"is not a LoRA: it holds `transformer\.transformer_blocks"),
    ({f"{FLUX}.lora_A.weight": torch.ones(2, 4)}, "is incomplete: .* has no `up` matrix"),
    ({f"{FLUX}.lora_A.weight": torch.ones(2, 4), f"{FLUX}.lora_B.weight": torch.ones(4, 3)}, "do not fit each other"),
    ({f"{FLUX}.lora_A.weight": torch.ones(2, 4), f"{FLUX}.lora_B.weight": torch.ones(4)}, "do not fit each other"),
    (pair("transformer.no.such.layer"), "fits no family that Palate knows"),
    ({}, "it is empty"),
]


@pytest.mark.parametrize(("tensors", "words"), REFUSED, ids=[words[:24] for _, words in REFUSED])
def test_what_cannot_be_played_right_is_refused_in_words(
    tmp_path: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file(tensors, path)
    with pytest.raises(UsageError, match=words) as caught:
        read(path)
    assert caught.value.action


def test_a_lora_for_another_family_is_refused(tmp_path: Path) -> None:
    save_file(pair(), tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"is not a LoRA for Wan: `transformer\..* is none of its layers"):
        read(tmp_path / "x.safetensors", "wan")
    with pytest.raises(UsageError, match=r"There is no model family `flx`\. Did you mean `flux`"):
        read(tmp_path / "x.safetensors", "flx")


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(pair(), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UsageError, match="is not a readable safetensors file"):
        read(path)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


def test_a_pickle_with_code_in_it_is_never_opened(tmp_path: Path) -> None:
    path, marker = tmp_path / "x.safetensors", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(UsageError, match=r"not a readable safetensors file.*can hold code and are never opened"):
        read(path)
    assert not marker.exists()


@pytest.mark.parametrize("broken", ["{", "[]"])
def test_settings_that_cannot_be_read_are_refused(tmp_path: Path, broken: str) -> None:
    save_file(pair(), tmp_path / "x.safetensors", {"lora_adapter_metadata": broken})
    with pytest.raises(UsageError, match=r"adapter settings of `x\.safetensors` cannot be read"):
        read(tmp_path / "x.safetensors", "flux")


def test_dora_in_the_settings_is_refused(tmp_path: Path) -> None:
    save_file(pair(), tmp_path / "x.safetensors", {"lora_adapter_metadata": '{"transformer.use_dora": true}'})
    with pytest.raises(UsageError, match="is a DoRA"):
        read(tmp_path / "x.safetensors", "flux")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_is_told_by_names_and_sizes(tmp_path: Path, family: str) -> None:
    """A LoRA on all attention layers of a published model, without any metadata."""
    layers = keys.layers(family)
    model = next(iter(layers))
    tensors: dict[str, torch.Tensor] = {}
    prefix = FAMILIES[family].diffusers.prefix
    for name, shape in layers[model].items():
        if (len(shape) == 2 and "attn" in name) or "attention" in name:
            tensors |= pair(prefix + name, rank=1, out=shape[0], into=shape[1])
    save_file({name: tensor.half() for name, tensor in tensors.items() if tensor.ndim == 2}, tmp_path / "x.safetensors")
    assert read(tmp_path / "x.safetensors").family.name == family


def test_what_names_and_sizes_cannot_tell_apart_is_asked_for(tmp_path: Path) -> None:
    save_file(pair(), tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"could be for .*flux.* or .*\. Say which with --family"):
        read(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"modelspec.architecture": "flux-1-schnell/lora"}, "flux"),
        ({"palate": '{"family": "palate-demo"}'}, "demo"),
        ({"modelspec.architecture": "Flux.2-klein-4b/lora"}, "flux2"),
        ({"palate": "7", "ss_base_model_version": "sd3"}, "sd3"),
    ],
)
def test_metadata_tells_the_family(tmp_path: Path, metadata: dict[str, str], family: str) -> None:
    save_file(pair(), tmp_path / "x.safetensors", metadata)
    assert read(tmp_path / "x.safetensors").family.name == family
