"""Whole CLIPs in one file, such as HPSv2.1 or PickScore, taken apart for ComfyUI's own classes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import comfy.clip_vision
import comfy.model_management
import comfy.sd
import comfy.utils
from safetensors import SafetensorError

from . import header
from .logic import hostile
from .logic.pictures import GEOMETRIES
from .scorer import Scorer

KIND = "preference"  # what `palate reward export-comfyui` writes under the key of all Palate files
SIZES = "ComfyUI knows ViT-L/14, ViT-H/14 and ViT-bigG/14"
Weights = dict[str, Any]


def load(name: str, path: str) -> Scorer:
    """Both towers and how to use them. Raises ValueError with a sentence for what is no whole CLIP."""
    try:
        weights, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{name} is not a readable .safetensors file. Copy or download it again.") from error
    vision, text = split(name, weights)
    geometry, scale = facts(metadata)
    return Scorer(name, _vision(name, vision), _clip(name, text), geometry, scale)


def split(name: str, weights: Mapping[str, Any]) -> tuple[Weights, Weights]:
    """(picture tower, text tower) in transformers' names, out of open_clip's or transformers'. Raises ValueError."""
    if "visual.proj" in weights and "text_projection" in weights:
        text = {key: weight for key, weight in weights.items() if not key.startswith(("visual.", "logit_"))}
        seen = {key: weight for key, weight in weights.items() if key.startswith("visual.")}
        vision = comfy.clip_vision.convert_to_transformers(seen, "visual.")
        return vision, comfy.utils.clip_text_transformers_convert(text, "", "")
    if "visual_projection.weight" in weights and "text_projection.weight" in weights:
        kept = {key: weight for key, weight in weights.items() if not key.endswith("position_ids")}
        return (
            {key: weight for key, weight in kept.items() if key.startswith(("vision_model.", "visual_projection."))},
            {key: weight for key, weight in kept.items() if key.startswith(("text_model.", "text_projection."))},
        )
    raise ValueError(
        f"{name} is no whole CLIP: it needs a picture and a text part, each with its projection. "
        "For HPSv2.1 write it with `palate reward export-comfyui`."
    )


def facts(metadata: Mapping[str, str] | None) -> tuple[str, float]:
    """(geometry, scale) as the file says, else CLIP's own: crop, the plain cosine. Raises ValueError for nonsense."""
    raw = (metadata or {}).get(header.KEY, "")
    try:
        said = json.loads(raw[: header.LONGEST])[KIND] if raw else {}
        geometry, scale = said.get("geometry", "crop"), float(said.get("scale", 1.0))
    except KeyError:
        raise ValueError("This Palate file is not made for scoring here. Use `palate reward export-comfyui`.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"What this file says of itself cannot be read: {hostile.line(str(error))}.") from error
    if geometry not in GEOMETRIES or not math.isfinite(scale) or scale <= 0:
        raise ValueError(f"What this file says of itself cannot be: {hostile.line(str(said))}. Write it again.")
    return geometry, scale


def _vision(name: str, weights: Weights) -> Any:
    built = _built(name, lambda: comfy.clip_vision.load_clipvision_from_sd(dict(weights)))
    if built is None:
        raise ValueError(f"{name} holds a CLIP of a size that this node does not take: {SIZES}.")
    _complete(name, built.model, weights)
    return built


def _clip(name: str, weights: Weights) -> Any:
    built = _built(name, lambda: comfy.sd.load_text_encoder_state_dicts([dict(weights)]))
    model = built.cond_stage_model
    _complete(name, getattr(model, model.clip).transformer, weights)
    return built


def _built(name: str, make: Any) -> Any:
    """ComfyUI's class with the weights; a size that it does not know is its RuntimeError."""
    try:
        return make()
    except comfy.model_management.OOM_EXCEPTION:
        raise
    except (RuntimeError, UnboundLocalError) as error:
        raise ValueError(f"{name} holds a CLIP of a size that this node does not take: {SIZES}.") from error


def _complete(name: str, model: Any, weights: Weights) -> None:
    """ComfyUI only logs what is missing, and leaves it as it lay in memory. Raises ValueError instead."""
    missing = sorted(set(model.state_dict()) - set(weights))
    if missing:
        raise ValueError(f"{name} is incomplete: {len(missing)} tensors missing, first {missing[0]}. Write it again.")
