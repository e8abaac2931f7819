"""Any LoRA file as updates under diffusers' names: which family, which spelling, alpha folded into `up`.

torch is imported inside the functions, so that the toolkit stays light.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import lora_file
from toolkit.errors import UsageError
from toolkit.loras import families, keys
from toolkit.loras.family import Family
from toolkit.loras.updates import Update

if TYPE_CHECKING:
    from torch import Tensor

PREFIXES = (
    "base_model.model.", "diffusion_model.", "transformer.", "unet.", "lora_unet_", "lora_transformer_", "lycoris_",
)  # fmt: skip
ENDINGS = {
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up", ".lora_down.weight": "down", ".lora_up.weight": "up",
    ".lora.down.weight": "down", ".lora.up.weight": "up", ".alpha": "alpha",
}  # fmt: skip
OTHER_KINDS = {
    r"lora_magnitude_vector|dora_scale": "a DoRA",
    r"hada_w": "a LoHa",
    r"lokr_w": "a LoKr",
    r"oft_|boft": "an OFT adapter",
    r"lora_mid": "a LoCon with a third matrix",
    r"\.(diff|diff_b|set_weight|w_norm|b_norm)$": "a file with whole changed weights",
    r"lora_embedding": "a LoRA on embeddings",
    r"\.lora_[AB]\.bias$": "a LoRA with biases",
}
TEXT_ENCODERS = ("lora_te", "text_encoder", "lora_prior_te")
REWRITE = "Export it as a plain LoRA from the program that made it."


@dataclass
class Stem:
    """The tensors of one layer in a file, by role."""

    prefix: str
    name: str
    tensors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lora:
    """A LoRA in Palate's hands. By the file's own name of each layer: `stems`, `shapes` of the weight that it changes,
    and `factors`, what alpha makes of it.
    """

    family: Family
    updates: Mapping[str, Update]
    metadata: Mapping[str, str]
    stems: Mapping[str, Stem]
    shapes: Mapping[str, tuple[int, ...]]
    factors: Mapping[str, float]
    dtypes: tuple[str, ...]


def read(path: Path, family: str = "") -> Lora:
    """Read a LoRA of any known layout. Raises UsageError in words for anything that is not one.

    alpha comes from `.alpha` tensors, else from diffusers' `lora_adapter_metadata`, else from an `adapter_config.json`
    beside a peft file; without any it equals the rank.
    """
    tensors, metadata = lora_file.read(path)
    stems = parse(tensors, path.name)
    pairs = {stem: _update(tensors, each, stem) for stem, each in stems.items()}
    shapes = {stem: pair.shape for stem, pair in pairs.items()}
    found = identify(stems, metadata, family, path.name, shapes)
    settings = adapter_settings(path, metadata, found.component)
    factors = {stem: _factor(tensors, each, pairs[stem].rank, settings) for stem, each in stems.items()}
    updates = {
        name: part
        for stem, each in stems.items()
        for name, place in found.renaming.find(each.name)
        if (part := pairs[stem].scaled(factors[stem]).cut(place)).rank
    }
    if not updates:
        raise UsageError(f"`{path.name}` changes nothing: all its weights are zero.", action="Train it first.")
    dtypes = sorted({str(tensors[key].dtype).removeprefix("torch.") for key in tensors if not key.endswith(".alpha")})
    return Lora(found, updates, metadata, stems, shapes, factors, tuple(dtypes))


def parse(names: Iterable[str], file: str) -> dict[str, Stem]:
    """The layers of a file by stem, each with its matrices. Raises UsageError for everything but plain LoRA."""
    stems: dict[str, Stem] = {}
    for name in sorted(names):
        for expression, kind in OTHER_KINDS.items():
            if re.search(expression, name):
                raise UsageError(f"`{file}` is {kind}, which only its own program plays right.", action=REWRITE)
        if name.startswith(TEXT_ENCODERS):
            raise UsageError(
                f"`{file}` also changes the text encoder (`{name}`), which Palate does not convert.",
                action="Export the image model's part alone.",
            )
        ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
        if ending is None:
            raise UsageError(f"`{file}` is not a LoRA: it holds `{name}`.", action="Choose a LoRA file.")
        stem = name.removesuffix(ending)
        prefix = next((prefix for prefix in PREFIXES if stem.startswith(prefix)), "")
        stems.setdefault(stem, Stem(prefix, stem.removeprefix(prefix))).tensors[ENDINGS[ending]] = name
    for stem, each in stems.items():
        if missing := {"down", "up"} - each.tensors.keys():
            raise UsageError(
                f"`{file}` is incomplete: `{stem}` has no `{missing.pop()}` matrix.", action="Download it again."
            )
    if not stems:
        raise UsageError(f"`{file}` is not a LoRA: it is empty.", action="Choose a LoRA file.")
    return stems


def identify(
    stems: Mapping[str, Stem],
    metadata: Mapping[str, str],
    wanted: str,
    file: str,
    shapes: Mapping[str, tuple[int, ...]],
) -> Family:
    """The family: as asked for, else as the metadata says, else by names and then sizes. Raises UsageError."""
    if wanted:
        family = families.get(wanted)
        if stem := _stranger(family, stems):
            raise UsageError(
                f"`{file}` is not a LoRA for {family.title}: `{stem}` is none of its layers.",
                action="Leave out --family to see what it is for.",
            )
        return family
    named = families.named_in(metadata)
    if named and not _stranger(named, stems):
        return named
    fits = [family for family in families.FAMILIES.values() if not _stranger(family, stems)]
    sized = [family for family in fits if published_models(family, stems, shapes)]
    if not fits:
        raise UsageError(
            f"`{file}` fits no family that Palate knows: none has all layers such as `{next(iter(stems))}`.",
            action=f"Known: {', '.join(families.FAMILIES)}.",
        )
    if len(sized or fits) > 1:
        names = " or ".join(family.name for family in sized or fits)
        raise UsageError(f"`{file}` could be for {names}.", action="Say which with --family.")
    return (sized or fits)[0]


def published_models(family: Family, stems: Mapping[str, Stem], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The published models of a family that have all these layers in these sizes."""
    fitting = []
    for model, layers in keys.layers(family.name).items():
        wanted = [
            (layers.get(name), shapes[stem], place)
            for stem, each in stems.items()
            for name, place in family.renaming.find(each.name)
        ]
        if all(size and _same_size(size, shape, place.last - place.first, place.of) for size, shape, place in wanted):
            fitting.append(model)
    return fitting


def adapter_settings(path: Path, metadata: Mapping[str, str], component: str) -> dict[str, Any]:
    """peft's settings of the adapter: from diffusers' metadata, or the file beside. Raises UsageError for DoRA."""
    beside = path.with_name("adapter_config.json")
    try:
        if "lora_adapter_metadata" in metadata:
            content = json.loads(metadata["lora_adapter_metadata"])
            settings = {name.removeprefix(f"{component}."): value for name, value in content.items()}
        elif path.name.startswith("adapter_model") and beside.is_file():
            settings = json.loads(beside.read_text(encoding="utf-8"))
        else:
            settings = {}
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"The adapter settings of `{path.name}` cannot be read: {error}.", action="Download it again."
        ) from error
    if settings.get("use_dora"):
        raise UsageError(f"`{path.name}` is a DoRA, which only its own program plays right.", action=REWRITE)
    return settings


def _factor(tensors: Mapping[str, Tensor], stem: Stem, rank: int, settings: Mapping[str, Any]) -> float:
    """alpha / rank, or alpha / √rank for a rank-stabilised LoRA (arXiv:2312.03732)."""
    if "alpha" in stem.tensors:
        return float(tensors[stem.tensors["alpha"]]) / rank
    alpha = settings.get("lora_alpha", rank)
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", stem.name):
            alpha = value
    return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)


def _update(tensors: Mapping[str, Tensor], stem: Stem, name: str) -> Update:
    update = Update(tensors[stem.tensors["down"]], tensors[stem.tensors["up"]])
    if update.up.ndim < 2 or update.down.ndim < 2 or update.up.shape[1] != update.rank or update.up[0, 0].numel() != 1:
        raise UsageError(
            f"The matrices of `{name}` do not fit each other: {tuple(update.up.shape)} and {tuple(update.down.shape)}.",
            cause="They are of different ranks, or laid out in a way that no loader reads.",
            action=REWRITE,
        )
    return update


def _same_size(size: tuple[int, ...], shape: tuple[int, ...], share: int, of: int) -> bool:
    return size[0] * of == shape[0] * share and size[1:] == shape[1:]


def _stranger(family: Family, stems: Mapping[str, Stem]) -> str | None:
    return next((stem for stem, each in stems.items() if not family.renaming.find(each.name)), None)
