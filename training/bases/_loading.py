"""Where a base's weights come from: a Hub id, a folder in diffusers layout, or one file. Nothing here runs a model."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
from huggingface_hub import errors as hub

from toolkit.errors import UsageError

TEXT_PARTS = ("text_encoder", "tokenizer")  # and whatever begins like this: text_encoder_2, tokenizer_3, …
NOT_NEEDED = ("safety_checker", "feature_extractor", "image_encoder")


class Source(Protocol):
    """The part of a base's settings that says where its weights are."""

    @property
    def weights(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def dtype(self) -> str: ...


def load_pipeline(name: str, source: Source, *, text: bool) -> Any:
    """The text half (encoders and tokenizers) or the other half (network, VAE, scheduler) of a diffusers pipeline.

    Raises UsageError when the weights are not there, not allowed or not of this family.
    """
    cls = getattr(diffusers, name)
    options = {"torch_dtype": getattr(torch, source.dtype), **dict.fromkeys(left_out(cls, text=text))}
    path = Path(source.weights).expanduser()
    if path.is_file() and not hasattr(cls, "from_single_file"):
        raise UsageError(
            f"A {name} cannot be read from one file.", action="Give a folder in diffusers layout or a Hub id."
        )
    try:
        if path.is_file():
            pipe = cls.from_single_file(str(path), **options)
        else:
            where = str(path) if path.is_dir() else source.weights
            pipe = cls.from_pretrained(where, revision=source.revision, **options)
    except (hub.HfHubHTTPError, hub.HFValidationError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise refusal(source.weights, name, error) from error
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def left_out(cls: type, *, text: bool) -> list[str]:
    """Names of the pipeline's components that this half does without."""
    names = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
    parts = [name for name in names if not name.startswith(("force_", "requires_", "is_"))]
    wanted_text = [name for name in parts if name.startswith(TEXT_PARTS)]
    other = [name for name in parts if name not in wanted_text and name != "scheduler"]
    return [name for name in (other if text else [*wanted_text, *NOT_NEEDED]) if name in parts]


def refusal(weights: str, pipeline: str, error: Exception) -> UsageError:
    """The sentence for weights that could not be loaded."""
    name = public_name(weights)
    if isinstance(error, hub.GatedRepoError):
        return UsageError(
            f"`{name}` needs its licence accepted once, and a token.",
            action="Open the model page, accept the licence, then `hf auth login`.",
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return UsageError(f"There is no `{name}` on the Hub, or your token cannot see it.", action="Check the id.")
    if isinstance(error, hub.HFValidationError) or not (Path(weights).exists() or "/" in weights):
        return UsageError(
            f"`{name}` is neither a folder, a file nor a Hub id.", action="Give one of these as `base.weights`."
        )
    return UsageError(
        f"`{name}` could not be loaded as a {pipeline}: {str(error).splitlines()[0][:200]}",
        cause="The download is incomplete, or the weights are of another family.",
        action="Check `base.weights`, and delete half-downloaded files.",
    )


def public_name(weights: str) -> str:
    """What may be written into files: a Hub id as it is, a path by its last part only."""
    path = Path(weights).expanduser()
    return path.name if path.exists() or path.is_absolute() or weights.startswith((".", "~")) else weights
