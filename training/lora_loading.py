"""Load a LoRA file into a pipeline that has no LoRA loader of its own, such as HunyuanDiT's, through peft."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.utils import set_peft_model_state_dict

from toolkit.errors import UsageError
from toolkit.loras.reading import read


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
    network = getattr(pipe, lora.family.component)
    modules = dict(network.named_modules())
    for name, update in lora.updates.items():
        if name not in modules or tuple(modules[name].weight.shape) != update.shape:
            raise UsageError(
                f"`{path.name}` does not fit this {lora.family.title}: `{name}` is missing or has another size.",
                action="Choose a LoRA that was trained on this base.",
            )
    first = next(iter(lora.updates.values())).rank
    ranks = {name: update.rank for name, update in lora.updates.items()}
    config = LoraConfig(r=first, lora_alpha=first, target_modules=list(ranks), rank_pattern=ranks, alpha_pattern=ranks)
    inject_adapter_in_model(config, network, adapter_name=adapter_name)
    state = {
        f"{name}.lora_{side}.weight": matrix.to(modules[name].weight)
        for name, update in lora.updates.items()
        for side, matrix in (("A", update.down), ("B", update.up))
    }
    result = set_peft_model_state_dict(network, state, adapter_name=adapter_name)
    _play_at(network, adapter_name, strength)
    missing = tuple(key for key in result.missing_keys if f".{adapter_name}." in key)
    return Loaded(len(ranks), missing, tuple(result.unexpected_keys))


def _play_at(network: Any, adapter_name: str, strength: float) -> None:
    for module in network.modules():
        if adapter_name in getattr(module, "scaling", {}):
            module.set_scale(adapter_name, strength)
            for parameter in (*module.lora_A[adapter_name].parameters(), *module.lora_B[adapter_name].parameters()):
                parameter.requires_grad_(False)
                parameter.data = parameter.data.to(module.get_base_layer().weight)
