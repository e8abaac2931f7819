"""Put a LoRA file into a network: as a frozen peft adapter, or added into its weights.

Serves pipelines that have no LoRA loader of their own, such as HunyuanDiT's, and runs that start from a LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.utils import set_peft_model_state_dict
from torch import Tensor

from toolkit.errors import UsageError
from toolkit.loras.reading import read
from toolkit.loras.updates import Update

START = "start"  # the adapter that a run starts from


@dataclass(frozen=True)
class Loaded:
    """What was loaded: layers, and keys that found no place or stayed unset (both are empty, or loading is refused)."""

    layers: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_lora(
    pipe: Any, path: Path, *, family: str = "", adapter_name: str = "palate", strength: float = 1.0
) -> Loaded:
    """Put a LoRA of any known layout into `pipe.transformer` or `pipe.unet` as a peft adapter, on its device and dtype.

    alpha is folded into the weights, so `strength` 1 plays as trained. Raises UsageError when a layer of the file does
    not exist in the network or has another size; the network is then unchanged.
    """
    lora = read(path, family)
    return inject(getattr(pipe, lora.family.component), lora.updates, path.name, adapter_name, strength)


def start_from(network: Any, path: Path, *, family: str, strength: float, merge: bool) -> None:
    """Let a network play with a LoRA before anything is trained on it. Raises UsageError when it does not fit."""
    updates = read(path, family).updates
    if merge:
        merge_into(network, updates, path.name, strength)
    else:
        inject(network, updates, path.name, START, strength)


def merge_into(network: Any, updates: Mapping[str, Update], file: str, strength: float) -> None:
    """weight + strength · up · down, summed in float32. Raises UsageError for weights that cannot be added to."""
    modules = _fitting(network, updates, file)
    for name, update in updates.items():
        weight = modules[name].weight
        if type(weight.data) is not Tensor or not weight.is_floating_point():  # quantised
            raise UsageError(f"`{file}` cannot be added into quantised weights.", action="Set `lora.start_as: frozen`.")
        delta = update.delta().to(weight.device)
        weight.data = (weight.data.float() + strength * delta).to(weight.dtype)


def inject(network: Any, updates: Mapping[str, Update], file: str, adapter_name: str, strength: float) -> Loaded:
    """A frozen peft adapter with these updates."""
    modules = _fitting(network, updates, file)
    first = next(iter(updates.values())).rank
    ranks = {name: update.rank for name, update in updates.items()}
    config = LoraConfig(r=first, lora_alpha=first, target_modules=list(ranks), rank_pattern=ranks, alpha_pattern=ranks)
    inject_adapter_in_model(config, network, adapter_name=adapter_name)
    state = {
        f"{name}.lora_{side}.weight": matrix.to(modules[name].weight.device)
        for name, update in updates.items()
        for side, matrix in (("A", update.down), ("B", update.up))
    }
    result = set_peft_model_state_dict(network, state, adapter_name=adapter_name)
    _play_at(network, adapter_name, strength)
    missing = tuple(key for key in result.missing_keys if f".{adapter_name}." in key)
    return Loaded(len(ranks), missing, tuple(result.unexpected_keys))


def _fitting(network: Any, updates: Mapping[str, Update], file: str) -> dict[str, Any]:
    modules = dict(network.named_modules())
    for name, update in updates.items():
        if name not in modules or tuple(modules[name].weight.shape) != update.shape:
            raise UsageError(
                f"`{file}` does not fit this network: `{name}` is missing or has another size.",
                action="Choose a LoRA that was trained on this base.",
            )
    return modules


def _play_at(network: Any, adapter_name: str, strength: float) -> None:
    for module in network.modules():
        if adapter_name in getattr(module, "scaling", {}):
            module.set_scale(adapter_name, strength)
            for parameter in (*module.lora_A[adapter_name].parameters(), *module.lora_B[adapter_name].parameters()):
                parameter.requires_grad_(False)
                parameter.data = parameter.data.to(module.get_base_layer().weight)
