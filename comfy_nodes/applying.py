"""A LoRA onto a model: checked before, patched by ComfyUI's own loader, reported after."""

from __future__ import annotations

import logging
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.sd

from .logic import key_counting, rounding
from .logic.families import family_of, title
from .lora_files import LoraFile


def apply(model: Any, clip: Any, lora: LoraFile, strength_model: float, strength_clip: float) -> tuple[Any, Any, str]:
    """Patched clones of model and clip (None stays None), and what happened in a few lines.

    At strengths 0 both come back untouched. Raises ValueError with a sentence for a LoRA of another model.
    """
    _same_family(model, lora)
    tensors = comfy.lora_convert.convert_lora(lora.tensors)
    known: dict[str, Any] = comfy.lora.model_lora_keys_unet(model.model, {})
    if clip is not None:
        known = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, known)
    count = key_counting.count(tensors, known, clip=clip is not None)
    if not count.used:
        raise ValueError(_nothing_fits(lora, model, count))
    weights = model.model.state_dict()
    misfit = key_counting.misfit(tensors, known, weights)
    if misfit:
        raise ValueError(f"{lora.name} was made for a model of another size: {misfit}. Load the model it was made for.")
    lines = [str(count), rounding.warning(*rounding.lost_layers(tensors, known, weights, strength_model))]
    if count.unknown or lines[1]:
        logging.warning("Palate, %s: %s", lora.name, "; ".join(filter(None, lines)))
    report = "\n".join([lora.name, *filter(None, lines), *lora.about.lines()])
    if strength_model == 0 and (strength_clip == 0 or clip is None):
        return model, clip, report
    chosen = {name: tensors[name] for name in count.used}
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, chosen, strength_model, strength_clip)
    return patched, patched_clip, report


def changes_text(clip: Any, lora: LoraFile) -> bool:
    """Whether the file has a part for this text encoder; without one, every strength reads a text alike."""
    known = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})
    return bool(key_counting.count(comfy.lora_convert.convert_lora(lora.tensors), known, clip=True).used)


def _same_family(model: Any, lora: LoraFile) -> None:
    loaded, made_for = family_of(model.model), lora.about.family
    if loaded and made_for and loaded != made_for:
        raise ValueError(
            f"{lora.name} is a LoRA for {title(made_for)}, and the model is {title(loaded)}. "
            f"Load a {title(made_for)} model, or choose another LoRA."
        )


def _nothing_fits(lora: LoraFile, model: Any, count: key_counting.Count) -> str:
    if lora.about.family:
        action = "Write it for ComfyUI with `palate convert FILE --to comfyui`"
    else:
        action = "Choose a LoRA that was made for this model"
    name = title(family_of(model.model)) or type(model.model).__name__
    return f"{lora.name} does not fit this model ({name}): {count}. {action}."
