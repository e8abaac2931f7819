"""Where a base's weights come from: a Hub id, a folder, one file, or the part files of a ComfyUI installation."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
import transformers
from huggingface_hub import errors as hub
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file

from toolkit.errors import UsageError
from training import blueprint
from training.bases import _blueprint, _comfyui

TEXT_PARTS = ("text_encoder", "tokenizer")  # and whatever begins like this: text_encoder_2, tokenizer_3, …
NOT_NEEDED = ("safety_checker", "feature_extractor", "image_encoder")
INDEX = "model_index.json"
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
FAILURES = (hub.HfHubHTTPError, hub.HFValidationError, SafetensorError, OSError, ValueError, KeyError, RuntimeError)


class Source(Protocol):
    """The part of a base's settings that says where its weights are and how they are kept."""

    @property
    def weights(self) -> str: ...
    @property
    def layout(self) -> str | None: ...
    @property
    def parts(self) -> dict[str, str]: ...
    @property
    def comfyui(self) -> str | None: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def quantisation(self) -> str: ...


def load_pipeline(name: str, source: Source, *, component: str, text: bool) -> Any:
    """The text half (encoders and tokenizers) or the other half (network, VAE, scheduler) of a diffusers pipeline.

    `component` names the network. Raises UsageError when the weights are not there, not allowed or not of this family.
    """
    cls = getattr(diffusers, name)
    absent = left_out(cls, text=text)
    try:
        if blueprint.is_weightless():
            return _blueprint.pipeline(name, source, component=component, absent=absent)
        given = {part: load_part(part, file, source) for part, file in source.parts.items() if part not in absent}
        options = {"torch_dtype": getattr(torch, source.dtype), **dict.fromkeys(absent), **given}
        if not text and component not in given and source.quantisation != "none":
            quantise = diffusers.PipelineQuantizationConfig(quant_mapping={component: quantiser(source.quantisation)})
            options["quantization_config"] = quantise
        file = Path(source.weights).expanduser()
        if file.is_file():
            pipe = cls.from_single_file(str(file), config=source.layout, **options)
        else:
            pipe = cls.from_pretrained(
                str(file) if file.is_dir() else source.weights, revision=source.revision, **options
            )
    except FAILURES as error:
        raise refusal(source.weights, name, error) from error
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def load_part(part: str, file: str, source: Source) -> Any:
    """One component from its own file; its class and config are those of `source.weights`.

    Raises UsageError when the file is not there or lacks weights.
    """
    path, dtype = _comfyui.find(file, source.comfyui), getattr(torch, source.dtype)
    layout: Any = diffusers.DiffusionPipeline.load_config(source.weights, revision=source.revision)
    if part not in layout:
        known = ", ".join(key for key in layout if not key.startswith("_"))
        raise UsageError(f"`{part}` is not a part of this base.", action=f"Its parts: {known}.")
    library, name = layout[part]
    cls = getattr(LIBRARIES[library], name)
    if library == "diffusers":
        options = {} if source.quantisation == "none" else {"quantization_config": quantiser(source.quantisation)}
        return cls.from_single_file(
            str(path), config=source.weights, subfolder=part, revision=source.revision, torch_dtype=dtype,
            **(options if part in ("transformer", "unet") else {}),
        )  # fmt: skip
    config = cls.config_class.from_pretrained(source.weights, subfolder=part, revision=source.revision)
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

            return diffusers.TorchAoConfig(Int8WeightOnlyConfig())
        importlib.import_module("bitsandbytes")  # diffusers asks for it only at the first layer
    except ImportError as error:
        package = "torchao" if kind == "int8_weight_only" else "bitsandbytes"
        raise UsageError(
            f"`{kind}` weights need {package}, which is not installed.", action=f"pip install {package}"
        ) from error
    if kind == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return diffusers.BitsAndBytesConfig(load_in_8bit=True)


def left_out(cls: type, *, text: bool) -> list[str]:
    """Names of the pipeline's components that this half does without."""
    names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    texts = [name for name in names if name.startswith(TEXT_PARTS)]
    flags = [name for name in names if name.startswith(("force_", "requires_", "is_", "add_"))]
    if not text:
        return texts + [name for name in names if name in NOT_NEEDED]
    return [name for name in names if name not in (*texts, *flags, "scheduler")]


def refusal(weights: str, pipeline: str, error: Exception) -> UsageError:
    """The sentence for weights that could not be loaded."""
    if isinstance(error, UsageError):
        return error
    name = public_name(weights)
    if isinstance(error, hub.GatedRepoError):
        return UsageError(
            f"`{name}` needs its licence accepted once, and a token.",
            action="Open the model page, accept the licence, then `hf auth login`.",
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return UsageError(f"There is no `{name}` on the Hub, or your token cannot see it.", action="Check the id.")
    if isinstance(error, hub.HFValidationError) or not (Path(weights).expanduser().exists() or "/" in weights):
        return UsageError(
            f"`{name}` is neither a folder, a file nor a Hub id.", action="Give one of these as `base.weights`."
        )
    return UsageError(
        f"`{name}` could not be loaded as a {pipeline}: {str(error).strip().splitlines()[0][:200]}",
        cause="The download is incomplete, or the weights are of another family.",
        action="Check `base.weights`, and delete half-downloaded files.",
    )


def public_name(weights: str) -> str:
    """What may be written into files: a Hub id as it is, a path by its last part only."""
    path = Path(weights).expanduser()
    return path.name if path.exists() or path.is_absolute() or weights.startswith((".", "~")) else weights


def text_id(source: Source) -> str:
    """A short digest of all settings of `source`, and of the text files' sizes and times where they are local."""
    folder = Path(source.weights).expanduser()
    local = [file for part in sorted(folder.glob("t*")) for file in sorted(part.rglob("*")) if file.is_file()]
    local += [_comfyui.find(file, source.comfyui) for _, file in sorted(source.parts.items())]
    local += [folder] if folder.is_file() else []
    stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in local]
    snapshot = None if local else try_to_load_from_cache(source.weights, INDEX, revision=source.revision)
    commit = Path(snapshot).parent.name if isinstance(snapshot, str) else source.revision
    said = [source.weights, source.layout, commit, source.dtype, getattr(source, "max_tokens", None)]
    return hashlib.sha256(json.dumps([said, stamps], sort_keys=True).encode()).hexdigest()[:16]
