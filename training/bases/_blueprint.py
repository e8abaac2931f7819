"""A diffusers pipeline from its configs alone: every component as large as the real one, and nothing to download.

The configs come from a local folder, from those of the published bases that lie in `layouts/`, or from the Hub.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from training import blueprint, sources

LAYOUTS = Path(__file__).parent / "layouts"
INDEX = "model_index.json"
LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
NEVER_QUANTISED = ("pooler",)  # HunyuanDiT's hands its weights themselves to torch's attention
SMALL_FILES = ["*.json", "*.txt", "*.model"]  # configs and tokenizers


class Source(Protocol):
    """The part of a base's settings that says which model it is and how its weights are kept."""

    @property
    def weights(self) -> str: ...
    @property
    def layout(self) -> str | None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def quantisation(self) -> str: ...


def pipeline(name: str, source: Source, *, component: str, absent: Sequence[str]) -> Any:
    """The pipeline `name` on fake tensors, without the components in `absent`. Raises UsageError."""
    cls: Any = getattr(diffusers, name)
    folder = layout(name, source)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    parts: dict[str, Any] = dict.fromkeys(absent)
    for part, said in index.items():
        if part.startswith("_") or part in parts:
            continue
        if not isinstance(said, list):
            parts[part] = said
        elif said[0] is not None:
            parts[part] = _component(folder / part, *said, dtype=getattr(torch, source.dtype))
    if component not in absent and source.quantisation != "none":
        quantise(parts[component], source.quantisation)
    if component in absent:  # no adapter will be put into the text half
        for part in parts.values():
            if isinstance(part, nn.Module):
                blueprint.hollow(part)
    pipe = cls(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def layout(name: str, source: Source) -> Path:
    """The folder with model_index.json and the components' configs."""
    for chosen in (source.weights, source.layout):
        folder = Path(chosen).expanduser() if chosen else None
        if folder is not None and (folder / INDEX).is_file():
            return folder
    wanted = source.layout or source.weights
    shipped = blueprint.shipped(LAYOUTS, INDEX)
    if wanted in shipped:
        return shipped[wanted]
    if Path(wanted).expanduser().is_file():  # one checkpoint file: laid out as the family's published model is
        for folder in shipped.values():
            if json.loads((folder / INDEX).read_text(encoding="utf-8"))["_class_name"] == name:
                return folder
    return sources.locate_folder(wanted, SMALL_FILES)


def _component(folder: Path, library: str, name: str, dtype: torch.dtype) -> Any:
    if "Tokenizer" in name or "Processor" in name:
        return _tokenizer(folder)
    cls: Any = getattr(LIBRARIES[library], name)
    if name.endswith("Scheduler"):
        return cls.from_config(cls.load_config(folder))
    if library == "diffusers":
        config = cls.load_config(folder)
        return blueprint.build(partial(cls.from_config, config), dtype)
    config = cls.config_class.from_pretrained(folder)
    return blueprint.build(partial(cls, config), dtype)


def _tokenizer(folder: Path) -> blueprint.LengthTokenizer:
    """Never the real one: how long a prompt is would be a number, and a plan is made for the longest."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return blueprint.LengthTokenizer(config["model_max_length"])


class _Dequantised(torch.autograd.Function):
    """A product with weights that exist in full only while it is computed, in the forward and in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rows: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.rows, ctx.columns = rows, x.shape[-1]
        return functional.linear(x, x.new_empty(rows, x.shape[-1]), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return gradient @ gradient.new_empty(ctx.rows, ctx.columns), None, None, None


class QuantisedLinear(nn.Linear):
    """As large as bitsandbytes' and torchao's frozen layers: packed weights, their scales, one full copy while in use.

    nf4: 4 bits a weight and a float32 scale for each 64 of them (4.5 bits); int8: 8 bits and one scale per row.
    """

    def __init__(self, full: nn.Linear, kind: str) -> None:
        """full: the layer it replaces."""
        super().__init__(1, 1, bias=False)
        self.in_features, self.out_features = full.in_features, full.out_features
        count = full.in_features * full.out_features
        packed, scales = (count // 2, count // 64) if kind == "nf4" else (count, full.out_features)
        self.weight = nn.Parameter(torch.empty(packed, dtype=torch.uint8), requires_grad=False)
        self.register_buffer("scales", torch.empty(scales, dtype=torch.float32))
        self.bias = full.bias
        self.full_elements = count + (0 if full.bias is None else full.bias.numel())

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] → [..., out] in the input's precision, or in autocast's."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        bias = None if self.bias is None else self.bias.to(dtype)
        return _Dequantised.apply(input.to(dtype), self.weight, bias, self.out_features)


def quantise(network: nn.Module, kind: str) -> None:
    """Replace the linear layers' weights by ones of the size that the quantising libraries keep."""
    for place, module in list(network.named_modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and not set(place.split(".")) & set(NEVER_QUANTISED):
                setattr(module, name, blueprint.build(partial(QuantisedLinear, child, kind)))
