"""Where a base's weights come from: a Hub id, a folder, one file, or the part files of a ComfyUI installation."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file

from toolkit.errors import UsageError
from training import blueprint, sources
from training.bases import _blueprint, _comfyui
from training.bases._blueprint import INDEX, LIBRARIES, NEVER_QUANTISED

TEXT_PARTS = ("text_encoder", "tokenizer")  # and whatever begins like this: text_encoder_2, tokenizer_3, …
NOT_NEEDED = ("safety_checker", "feature_extractor", "image_encoder")
FAILURES = (SafetensorError, OSError, ValueError, KeyError, RuntimeError)


class Source(_blueprint.Source, Protocol):
    """The part of a base's settings that says where its weights are and how they are kept."""

    @property
    def parts(self) -> dict[str, str]: ...
    @property
    def comfyui(self) -> str | None: ...


def load_pipeline(name: str, source: Source, *, component: str, text: bool) -> Any:
    """The text half (encoders and tokenizers) or the other half (network, VAE, scheduler) of a diffusers pipeline.

    `component` names the network. Raises UsageError when the weights are not there, not allowed or not of this family.
    """
    cls = getattr(diffusers, name)
    absent = left_out(cls, text=text)
    if blueprint.is_weightless():
        return _blueprint.pipeline(name, source, component=component, absent=absent)
    where = place(source.weights)
    try:
        given = {
            part: load_part(part, file, source, where) for part, file in source.parts.items() if part not in absent
        }
        options = {"torch_dtype": getattr(torch, source.dtype), **dict.fromkeys(absent), **given}
        if not text and component not in given and source.quantisation != "none":
            quantise = diffusers.PipelineQuantizationConfig(quant_mapping={component: quantiser(source.quantisation)})
            options["quantization_config"] = quantise
        if Path(where["path"]).is_file():
            if not hasattr(cls, "from_single_file"):
                raise ValueError("diffusers reads this family from a folder or the Hub only")
            pipe = cls.from_single_file(where["path"], config=source.layout, **options)
        else:
            pipe = cls.from_pretrained(where["path"], revision=where["revision"], **options)
    except FAILURES as error:
        said = str(error).strip().splitlines()[0][:200]
        raise UsageError(
            f"`{public_name(source.weights)}` could not be loaded as a {name}: {said}",
            cause="Its download is incomplete, or it holds another family or form of weights.",
            action="Check `base.weights`, and delete half-downloaded files.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def place(weights: str) -> dict[str, Any]:
    """{"path", "revision"} of a local file or folder, or of a Hub repository that was seen to answer.

    Raises UsageError with the Hub's refusal in words: diffusers itself would tell them all alike.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return {"path": str(path), "revision": None}
    sources.locate(weights, INDEX)
    repository, revision = sources.repository(weights)
    return {"path": repository, "revision": revision}


def load_part(part: str, file: str, source: Source, where: Mapping[str, Any]) -> Any:
    """One component from its own file; its class and config are those of `where`, the place of `source.weights`.

    Raises UsageError when the file is not there or lacks weights.
    """
    path, dtype = _comfyui.find(file, source.comfyui), getattr(torch, source.dtype)
    layout: Any = diffusers.DiffusionPipeline.load_config(where["path"], revision=where["revision"])
    if part not in layout:
        known = ", ".join(key for key in layout if not key.startswith("_"))
        raise UsageError(f"`{part}` is not a part of this base.", action=f"Its parts: {known}.")
    library, name = layout[part]
    cls = getattr(LIBRARIES[library], name)
    if library == "diffusers":
        options = {} if source.quantisation == "none" else {"quantization_config": quantiser(source.quantisation)}
        return cls.from_single_file(
            str(path), config=where["path"], subfolder=part, revision=where["revision"], torch_dtype=dtype,
            **(options if part in ("transformer", "unet") else {}),
        )  # fmt: skip
    config = cls.config_class.from_pretrained(where["path"], subfolder=part, revision=where["revision"])
    model, found = cls.from_pretrained(
        None, config=config, state_dict=load_file(path), dtype=dtype, output_loading_info=True
    )
    if found["missing_keys"]:
        raise UsageError(
            f"`{path.name}` lacks {len(found['missing_keys'])} weights of `{part}`, "
            f"such as `{sorted(found['missing_keys'])[0]}`.",
            cause="It is half downloaded, or made for another family.",
            action="Check `base.parts`.",
        )
    return model


def quantiser(kind: str) -> Any:
    """The library's config for the frozen network's weights. Raises UsageError when its package is missing."""
    try:
        if kind == "int8_weight_only":
            from torchao.quantization import Int8WeightOnlyConfig

            return diffusers.TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=list(NEVER_QUANTISED))
        importlib.import_module("bitsandbytes")  # diffusers asks for it only at the first layer
    except ImportError as error:
        package = "torchao" if kind == "int8_weight_only" else "bitsandbytes"
        raise UsageError(
            f"`{kind}` weights need {package}, which is not installed.", action=f"pip install {package}"
        ) from error
    if kind == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=list(NEVER_QUANTISED),
        )
    return diffusers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(NEVER_QUANTISED))


def left_out(cls: type, *, text: bool) -> list[str]:
    """Names of the pipeline's components that this half does without."""
    names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    texts = [name for name in names if name.startswith(TEXT_PARTS)]
    flags = [name for name in names if name.startswith(("force_", "requires_", "is_", "add_"))]
    if not text:
        return texts + [name for name in names if name in NOT_NEEDED]
    return [name for name in names if name not in (*texts, *flags, "scheduler")]


def public_name(weights: str) -> str:
    """What may be written into files: a Hub id as it is, a path by its last part only."""
    path = Path(weights).expanduser()
    return path.name if path.exists() or path.is_absolute() or weights.startswith((".", "~")) else weights


def text_id(source: Source) -> str:
    """A short digest of all settings of `source`, and of the text files' sizes and times where they are local."""
    return _digest(source, "t*", getattr(source, "max_tokens", None))


def latents_id(source: Source, shape: tuple[int, ...]) -> str:
    """The same of the VAE's files, and of the pictures' shape."""
    return _digest(source, "v*", shape)


def _digest(source: Source, parts: str, more: object) -> str:
    folder = Path(source.weights).expanduser()
    local = [file for part in sorted(folder.glob(parts)) for file in sorted(part.rglob("*")) if file.is_file()]
    local += [_comfyui.find(file, source.comfyui) for _, file in sorted(source.parts.items())]
    local += [folder] if folder.is_file() else []
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in local]
    commit = "" if local else _commit(source.weights)
    said = [source.weights, source.layout, commit, source.dtype, more]
    return hashlib.sha256(json.dumps([said, stamps], sort_keys=True).encode()).hexdigest()[:16]


def _commit(weights: str) -> str:
    """The commit that a Hub id stands for on this computer; empty while nothing of it is here, as in a plan."""
    repository, revision = sources.repository(weights)
    found = try_to_load_from_cache(repository, INDEX, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else ""
