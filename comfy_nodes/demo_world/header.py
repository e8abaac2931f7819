"""The contract of the Demo World's one file: the prefixes of its tensors and one safetensors key with the sizes.

Standard library only: the loader reads it inside ComfyUI, `toolkit.demo_export` writes through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

KEY = "palate_demo_world"
FORMAT_VERSION = 1
FILE_NAME = "palate_demo_world.safetensors"
NETWORK, TEXT_ENCODER, AUTOENCODER = "diffusion_model.", "text_encoder.", "vae."
LARGEST = 1 << 16  # no size in an honest file comes near; a forged one must not fill the memory


@dataclass(frozen=True)
class DemoWorldHeader:
    """How to build the parts: ComfyUI's FLUX arguments, a CLIP text configuration, the autoencoder's, a tokenizer."""

    network: dict[str, Any]
    text_encoder: dict[str, Any]
    autoencoder: dict[str, Any]
    scaling_factor: float
    shift_factor: float
    tokenizer: str
    version: int = FORMAT_VERSION

    def to_metadata(self) -> dict[str, str]:
        """The one metadata entry, its JSON with sorted keys so that equal headers are equal bytes."""
        return {KEY: json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))}


def read(metadata: Mapping[str, str] | None) -> DemoWorldHeader:
    """The header inside safetensors metadata. Raises ValueError with a sentence for any other file."""
    if not metadata or KEY not in metadata:
        raise ValueError("This is not a Demo World file. `palate demo --export-comfyui` writes one.")
    try:
        content = json.loads(metadata[KEY])
        if content["version"] != FORMAT_VERSION:
            raise ValueError("it was written by another version of Palate")
        header = DemoWorldHeader(**{name: content[name] for name in DemoWorldHeader.__dataclass_fields__})
        for part in (header.network, header.text_encoder, header.autoencoder):
            _check_sizes(part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"This Demo World file cannot be read: {error}. Export it again.") from error
    return header


def _check_sizes(part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        for size in value if isinstance(value, list) else [value]:
            if isinstance(size, int) and not 0 <= size <= LARGEST:
                raise ValueError(f"`{name}` is {size}")
