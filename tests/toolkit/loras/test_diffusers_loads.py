"""diffusers' own loaders take every key of our files, and what they load makes the change that was written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import lora_pipeline
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from toolkit.loras import keys, writing
from toolkit.loras.families import FAMILIES
from toolkit.loras.family import Spelling
from toolkit.loras.updates import Update

NETWORKS = json.loads((Path(__file__).parents[2] / "golden" / "tiny_networks.json").read_text(encoding="utf-8"))
LOADERS = {
    "cogvideox": "CogVideoXLoraLoaderMixin", "flux": "FluxLoraLoaderMixin", "flux2": "Flux2LoraLoaderMixin",
    "qwen_image": "QwenImageLoraLoaderMixin", "sd15": "StableDiffusionLoraLoaderMixin", "sd3": "SD3LoraLoaderMixin",
    "sdxl": "StableDiffusionXLLoraLoaderMixin", "wan": "WanLoraLoaderMixin", "z_image": "ZImageLoraLoaderMixin",
}  # fmt: skip
CLAIMED = [
    pytest.param(
        family, spelling, missed, id=f"{family}-{spelling.prefix}{spelling.names}",
        marks=() if spelling in (FAMILIES[family].diffusers, FAMILIES[family].comfyui) else pytest.mark.slow,
    )
    for family in LOADERS
    for spelling, missed in {FAMILIES[family].diffusers: "", **FAMILIES[family].diffusers_reads}.items()
    if family != "flux" or spelling is FAMILIES["flux"].diffusers  # FLUX.1's converter knows the real width only
]  # fmt: skip


class OfTransformer(DiffusionPipeline):
    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.register_modules(transformer=transformer)
        self.text_encoder = self.text_encoder_2 = None


class OfUnet(DiffusionPipeline):
    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.register_modules(unet=unet)
        self.text_encoder = self.text_encoder_2 = None


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """All warnings of diffusers and peft; unexpected or missing keys would be among them."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(lambda record: "prefix='text_encoder" not in record.getMessage())  # nothing here has one
    loggers = [logging.getLogger(name) for name in ("diffusers", "peft")]
    for logger in loggers:
        logger.addHandler(handler)
    yield said
    for logger in loggers:
        logger.removeHandler(handler)


def network_of(family: str) -> nn.Module:
    torch.manual_seed(0)
    return getattr(diffusers, NETWORKS[family]["class"])(**NETWORKS[family]["settings"])


def pipeline_of(family: str, network: nn.Module) -> Any:
    """A pipeline with the family's own loader and nothing in it but the network."""
    holder = OfUnet if FAMILIES[family].component == "unet" else OfTransformer
    return type("Pipeline", (getattr(lora_pipeline, LOADERS[family]), holder), {})(network)


def random_update(shape: tuple[int, ...], generator: torch.Generator) -> Update:
    down = torch.randn(2, *shape[1:], generator=generator)
    return Update(down, torch.randn(shape[0], 2, *(1 for _ in shape[2:]), generator=generator))


def updates_for(family: str, network: nn.Module, spelling: Spelling, missed: str) -> dict[str, Update]:
    """A random update on every layer that diffusers is said to read in this spelling."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: random_update(module.weight.shape, generator)
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not re.fullmatch(missed, name)
        if spelling.names == "diffusers" or FAMILIES[family].renaming.to_original(name)
    }


def changes_in(network: nn.Module) -> dict[str, Tensor]:
    layers: Any = [(name, module) for name, module in network.named_modules() if isinstance(module, BaseTunerLayer)]
    return {name: sum(layer.get_delta_weight(adapter) for adapter in layer.scaling) for name, layer in layers}


@pytest.mark.parametrize(("family", "spelling", "missed"), CLAIMED)
def test_every_layer_loads_with_its_change(
    family: str, spelling: Spelling, missed: str, tmp_path: Path, complaints: list[str]
) -> None:
    network = network_of(family)
    updates = updates_for(family, network, spelling, missed)
    path = tmp_path / "lora.safetensors"
    writing.write(path, updates, FAMILIES[family], spelling, dtype="float32", metadata={})
    pipeline_of(family, network).load_lora_weights(path.parent, weight_name=path.name)
    assert complaints == []
    changes = changes_in(network)
    assert changes.keys() == updates.keys()
    for name, update in updates.items():
        wanted = update.delta()
        assert (changes[name].detach().reshape(wanted.shape) - wanted).norm() <= 1e-5 * wanted.norm(), name


def test_every_comfyui_file_is_for_diffusers_too_where_diffusers_has_a_loader() -> None:
    """As docs/formats.md says: HunyuanDiT has none there."""
    both = {name for name, each in FAMILIES.items() if each.comfyui in (each.diffusers, *each.diffusers_reads)}
    assert both & set(LOADERS) == set(LOADERS)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", FAMILIES["flux"].diffusers_reads, ids=lambda spelling: spelling.prefix)
def test_flux_layers_are_converted_at_their_real_width(spelling: Spelling, tmp_path: Path) -> None:
    """One double and one single block of 3072, each layer in a file of its own; no network is built."""
    family, generator = FAMILIES["flux"], torch.Generator().manual_seed(7)
    for name, shape in keys.layers("flux")["FLUX.1-dev"].items():
        if not name.startswith(("transformer_blocks.0.", "single_transformer_blocks.0.")):
            continue
        update = random_update(shape, generator)
        writing.write(tmp_path / "x.safetensors", {name: update}, family, spelling, dtype="float32", metadata={})
        read = lora_pipeline.FluxLoraLoaderMixin.lora_state_dict(tmp_path, weight_name="x.safetensors")
        sides = [read.get(f"transformer.{name}.lora_{side}.weight") for side in "BA"]
        missed = re.fullmatch(family.diffusers_reads[spelling], name)
        assert (sides[0] is None) == bool(missed), name
        if not missed:
            assert torch.allclose(sides[0][:64] @ sides[1], update.delta()[:64], atol=1e-4), name
