"""Updates as a LoRA file in any spelling, with metadata that every reader understands.

torch is imported inside the functions, so that the toolkit stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.loras.family import Family, Spelling
from toolkit.loras.names import Place
from toolkit.loras.updates import Update, fuse

if TYPE_CHECKING:
    from torch import Tensor

IMPLEMENTATIONS = {
    "lora_unet_": "https://github.com/kohya-ss/sd-scripts",
    "diffusion_model.": "https://github.com/comfyanonymous/ComfyUI",
}


def spelled(updates: Mapping[str, Update], family: Family, spelling: Spelling) -> dict[str, Tensor]:
    """The tensors of a file. Raises UsageError for a layer that the original network stores in another way."""
    import torch

    tensors = {}
    for name, update in _under(updates, family, spelling).items():
        stem = spelling.stem(name)
        tensors[f"{stem}.{spelling.down}.weight"] = update.down
        tensors[f"{stem}.{spelling.up}.weight"] = update.up
        if spelling.alpha:
            tensors[f"{stem}.alpha"] = torch.tensor(float(update.rank))
    return tensors


def write(
    path: Path, updates: Mapping[str, Update], family: Family, spelling: Spelling, *,
    dtype: str, metadata: Mapping[str, str],
) -> None:  # fmt: skip
    """Write a LoRA file atomically, verified. Raises UsageError for numbers that are not finite."""
    import torch

    tensors = {
        name: tensor.to("cpu", getattr(torch, dtype), copy=True).contiguous()  # slices of one layer share memory
        for name, tensor in spelled(updates, family, spelling).items()
    }
    broken = next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
    if broken:
        raise UsageError(
            f"`{broken}` holds numbers that are not finite in {dtype}.",
            cause="The training diverged, or the precision is too small for it.",
            action="Take an earlier checkpoint, or --dtype float32.",
        )
    rank = max(update.rank for update in updates.values())
    lora_file.write(path, tensors, {**metadata, **_facts(metadata, tensors, family, spelling, path.stem, rank)})


def _facts(
    given: Mapping[str, str], tensors: Mapping[str, Tensor], family: Family, spelling: Spelling, title: str, rank: int
) -> dict[str, str]:
    """What the file itself decides; what only describes it stands back behind what was said before."""
    digest = lora_file.tensors_hash(tensors)
    described = {
        "modelspec.sai_model_spec": lora_file.SPEC,
        "modelspec.architecture": f"{family.architecture}/lora",
        "modelspec.title": title,
        "ss_base_model_version": family.base_model_version,
        "ss_network_module": "networks.lora",
    }
    return {
        **{name: value for name, value in described.items() if name not in given},
        "format": "pt",
        "modelspec.hash_sha256": f"0x{digest}",
        "modelspec.implementation": IMPLEMENTATIONS.get(spelling.prefix, "diffusers"),
        "ss_network_alpha": str(float(rank)),
        "ss_network_dim": str(rank),
        "sshs_model_hash": digest,
    }


def _under(updates: Mapping[str, Update], family: Family, spelling: Spelling) -> Mapping[str, Update]:
    if spelling.names == "diffusers":
        return updates
    places: dict[str, list[tuple[Place, Update]]] = {}
    for name, update in updates.items():
        place = family.renaming.to_original(name)
        if place is None:
            raise UsageError(
                f"`{name}` of {family.title} has no place in the original network.",
                action="Convert with --to diffusers, or train without this layer.",
            )
        places.setdefault(place.name, []).append((place, update))
    ordered = {name: sorted(parts, key=lambda part: part[0].first) for name, parts in places.items()}
    return {name: fuse(parts) for name, parts in ordered.items()}
