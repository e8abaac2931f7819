"""The embedded model as one file for ComfyUI: FLUX's original layer names, exact copies of the weights that ship."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from comfy_nodes.demo_world import header
from comfy_nodes.header import FOLDER
from toolkit import atomic
from toolkit.errors import PalateError, UsageError
from toolkit.lora_file import with_metadata
from toolkit.loras.families.demo import FAMILY
from toolkit.loras.names import Place, Renaming, renamed

Weights = dict[str, NDArray[Any]]
NORMS = Renaming(  # the scales of queries and keys: no matrices, so the rules of LoRA files do not know them
    (
        *renamed(
            {
                "attn.norm_q": "img_attn.norm.query_norm",
                "attn.norm_k": "img_attn.norm.key_norm",
                "attn.norm_added_q": "txt_attn.norm.query_norm",
                "attn.norm_added_k": "txt_attn.norm.key_norm",
            },
            diffusers="transformer_blocks.*.",
            original="double_blocks.*.",
        ),
        *renamed(
            {"attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"},
            diffusers="single_transformer_blocks.*.",
            original="single_blocks.*.",
        ),
    )
)


def export(comfyui: Path, weights: Path | None = None) -> Path:
    """Write the file into `models/palate` of ComfyUI's folder (or of that folder itself) and return its path.

    The same weights give the same bytes. Raises UsageError when the folder is none of ComfyUI's or cannot be written.
    """
    folder = folder_in(comfyui)
    path = folder / header.FILE_NAME
    content = file_bytes(weights or Path(str(files("demo_world") / "weights")))
    try:
        atomic.write_file(path, content)
    except OSError as error:
        raise UsageError(
            f"`{folder}` cannot be written: {error.strerror or error}.",
            cause="It belongs to another user, or the disk is full or read-only.",
            action="Give a folder that you may write to, and copy the file from there.",
        ) from error
    return path


def folder_in(comfyui: Path) -> Path:
    """`models/palate` in `comfyui`, or `comfyui` where it is that. Raises UsageError when there is no `models`."""
    whole = comfyui.expanduser().absolute()
    folder = whole if whole.parts[-2:] == ("models", FOLDER) else whole / "models" / FOLDER
    if not folder.parent.is_dir():
        raise UsageError(
            f"`{comfyui}` is not ComfyUI's folder: there is no `models` in it.",
            action="Give the folder that holds ComfyUI's main.py.",
        )
    return folder


def file_bytes(weights: Path) -> bytes:
    """The whole file from a folder of weights in diffusers' layout. Raises UsageError when a part is not there."""
    try:
        parts = {
            header.NETWORK: original(load_file(weights / "transformer" / "diffusion_pytorch_model.safetensors")),
            header.TEXT_ENCODER: _text_encoder(load_file(weights / "text_encoder" / "model.safetensors")),
            header.AUTOENCODER: load_file(weights / "vae" / "diffusion_pytorch_model.safetensors"),
        }
        described = describe(weights)
    except FileNotFoundError as error:
        raise UsageError(
            f"The demo base's weights are not in `{weights.name}/`.",
            cause="The installation is incomplete.",
            action="Reinstall Palate, or rebuild them with `make world`.",
        ) from error
    tensors = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
    return with_metadata(to_bytes(tensors), described.to_metadata())


def describe(weights: Path) -> header.DemoWorldHeader:
    """What ComfyUI must know to build the parts, from their configurations."""
    network, text, vae = (_config(weights / part) for part in ("transformer", "text_encoder", "vae"))
    width = network["num_attention_heads"] * network["attention_head_dim"]
    return header.DemoWorldHeader(
        network={
            "in_channels": vae["latent_channels"],
            "out_channels": vae["latent_channels"],
            "vec_in_dim": network["pooled_projection_dim"],
            "context_in_dim": network["joint_attention_dim"],
            "hidden_size": width,
            "num_heads": network["num_attention_heads"],
            "depth": network["num_layers"],
            "depth_single_blocks": network["num_single_layers"],
            "axes_dim": network["axes_dims_rope"],
        },
        text_encoder={
            name: text[name]
            for name in (
                "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
                "max_position_embeddings", "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id",
            )
        },
        autoencoder={
            "channels": vae["block_out_channels"],
            "latents": vae["latent_channels"],
            "layers": vae["layers_per_block"],
            "groups": vae["norm_num_groups"],
        },
        scaling_factor=vae["scaling_factor"],
        shift_factor=vae["shift_factor"],
        tokenizer=(weights / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"),
    )  # fmt: skip


def original(weights: Mapping[str, NDArray[Any]]) -> Weights:
    """diffusers' FLUX tensors under the original network's names, slices of one layer put together."""
    parts: dict[str, list[tuple[Place, NDArray[Any]]]] = {}
    for name, tensor in weights.items():
        target, place = _place(name)
        parts.setdefault(target, []).append((place, tensor))
    return {name: _whole(name, found) for name, found in sorted(parts.items())}


def _place(name: str) -> tuple[str, Place]:
    layer, _, kind = name.rpartition(".")
    if place := NORMS.to_original(layer):
        return f"{place.name}.scale", place
    if place := FAMILY.renaming.to_original(layer):
        return f"{place.name}.{kind}", place
    raise PalateError(f"`{name}` has no place in ComfyUI's FLUX network.", cause="The network's class has changed.")


def _whole(name: str, parts: list[tuple[Place, NDArray[Any]]]) -> NDArray[Any]:
    ordered = sorted(parts, key=lambda part: part[0].first)
    if sum(place.last - place.first for place, _ in ordered) != ordered[0][0].of:
        raise PalateError(f"Rows of `{name}` are missing.", cause="The weights are incomplete.")
    rows = np.concatenate([tensor for _, tensor in ordered])
    return np.concatenate(np.split(rows, 2)[::-1]) if ordered[0][0].swapped else rows


def _text_encoder(weights: Weights) -> Weights:
    """ComfyUI's names are those of transformers before release 5, which dropped this prefix."""
    return {f"text_model.{name}": tensor for name, tensor in weights.items()}


def _config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
