"""The only writer of LoRA files: diffusers' names, metadata for every reader, the same bytes each time.

torch is imported inside the functions, so that the toolkit stays light.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.header import AlignedLoraHeader
from comfy_nodes.header import read as read_header
from toolkit import atomic
from toolkit.errors import PalateError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

SPEC = "1.0.1"  # modelspec version


@dataclass(frozen=True)
class Description:
    """What a file says beside its weights. `component` prefixes every name, as in diffusers pipelines."""

    title: str
    component: str
    architecture: str
    base_model_version: str
    resolution: tuple[int, int]
    rank: int
    target_modules: tuple[str, ...]
    learning_rate: float
    updates: int
    seed: int
    header: AlignedLoraHeader


def save(path: Path, adapter: Mapping[str, Tensor], description: Description, *, dtype: str = "float32") -> None:
    """Write peft-named weights as a diffusers LoRA, atomically, then re-open and verify.

    alpha equals rank, so no program plays the file at another strength. Raises PalateError when the written file does
    not hold exactly what was meant to be in it.
    """
    import torch

    weights = {
        f"{description.component}.{name}": adapter[name].to("cpu", getattr(torch, dtype)).contiguous()
        for name in sorted(adapter)
    }
    write(path, weights, metadata(weights, description))


def write(path: Path, weights: Mapping[str, Tensor], entries: Mapping[str, str]) -> None:
    """Write tensors under the names they have, atomically, then re-open and verify. Raises PalateError like `save`."""
    from safetensors.torch import save as to_bytes

    atomic.write_file(path, with_metadata(to_bytes(dict(weights)), entries))
    _verify(path, weights)


def metadata(weights: Mapping[str, Tensor], description: Description) -> dict[str, str]:
    """All header entries: modelspec, kohya's ss_, diffusers' peft config and Palate's own. No clock, path or host."""
    digest = tensors_hash(weights)
    peft = {"r": description.rank, "lora_alpha": description.rank, "target_modules": sorted(description.target_modules)}
    return {
        "format": "pt",
        "lora_adapter_metadata": _json({f"{description.component}.{k}": v for k, v in peft.items()}),
        "modelspec.sai_model_spec": SPEC,
        "modelspec.architecture": f"{description.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": description.title,
        "modelspec.resolution": "x".join(map(str, description.resolution)),
        "modelspec.hash_sha256": f"0x{digest}",
        "sshs_model_hash": digest,
        "ss_base_model_version": description.base_model_version,
        "ss_sd_model_name": description.header.base,
        "ss_output_name": description.title,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(description.rank),
        "ss_network_alpha": str(float(description.rank)),
        "ss_learning_rate": repr(description.learning_rate),
        "ss_steps": str(description.header.update),
        "ss_max_train_steps": str(description.updates),
        "ss_seed": str(description.seed),
        "ss_training_comment": f"aligned with {description.header.method}",
        **description.header.to_metadata(),
        **word_entries([pair["positive"] for pair in description.header.words]),
    }


def word_entries(positives: Sequence[str]) -> dict[str, str]:
    """The words under every name that LoRA managers look for; nothing when there are none."""
    words = list(dict.fromkeys(positives))
    if not words:
        return {}
    joined = ", ".join(words)
    frequency = _json({"style words": dict.fromkeys(words, 1)})
    return {"modelspec.trigger_phrase": joined, "trained_words": joined, "ss_tag_frequency": frequency}


def with_metadata(file: bytes, entries: Mapping[str, str]) -> bytes:
    """A safetensors file whose header has these entries, keys sorted: the library writes them in random order."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(entries)
    text = _json(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + file[8 + length :]


def tensors_hash(weights: Mapping[str, Tensor]) -> str:
    """sha256 over names and bytes of all tensors, hex."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_metadata(path: Path) -> dict[str, str]:
    """The header entries. Raises UsageError for anything but a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"`{path.name}` is not a readable safetensors file: {error}.",
            action="Give a LoRA saved as .safetensors; other formats can hold code and are never opened.",
        ) from error


def header(path: Path) -> AlignedLoraHeader | None:
    """What an aligned LoRA says of itself, or None for somebody else's file."""
    try:
        return read_header(read_metadata(path))
    except ValueError as error:
        raise UsageError(str(error), action="Download the file again.") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and header entries. Raises UsageError for anything but a whole safetensors file."""
    from safetensors.torch import load_file

    entries = read_metadata(path)
    return load_file(path), entries


def load(path: Path, component: str) -> dict[str, Tensor]:
    """Weights under peft's names, the component's prefix removed. Raises UsageError for files of another component."""
    weights, _ = read(path)
    prefix = f"{component}."
    foreign = [name for name in weights if not name.startswith(prefix)]
    if foreign:
        raise UsageError(
            f"`{path.name}` is not a LoRA for this base: `{foreign[0]}` does not begin with `{prefix}`.",
            action="Choose a LoRA that was trained on this base.",
        )
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def unmatched(names: Collection[str], modules: Collection[str], component: str) -> list[str]:
    """LoRA names without a module of that name in the network: what a loader would silently skip."""
    known = {f"{component}.{module}" for module in modules}
    return sorted(name for name in names if name.rsplit(".lora_", 1)[0] not in known)


def _verify(path: Path, weights: Mapping[str, Tensor]) -> None:
    import torch
    from safetensors.torch import load_file

    written = load_file(path)
    if written.keys() != weights.keys() or not all(torch.equal(written[name], weights[name]) for name in weights):
        raise PalateError(
            f"`{path.name}` does not hold what was written to it.",
            cause="The disk may be failing.",
            action="Write to another disk; the checkpoints are intact.",
        )


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
