"""The policy: a frozen base with a LoRA in its network that can be switched off, folded in and taken out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from toolkit.errors import TrainingError
from toolkit.recipe import Lora
from training import interpolants
from training.contracts import Base, Conditioning
from training.randomness import key
from training.schedules import Level

ADAPTER = "default"


class Policy:
    """What a method trains: `predict` and `decode` with the adapter on, `as_reference()` without it."""

    def __init__(
        self,
        base: Base,
        lora: Lora,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        encode_nothing: Callable[[], Conditioning] | None = None,
    ) -> None:
        """Inject a fresh LoRA (B = 0, so the first picture equals the base's). dtype is that of the network calls.

        encode_nothing: gives what true guidance guides away from; the base's own unless it is kept somewhere.
        An adapter that is already in the network stays on, frozen, with the LoRA and in the reference.
        """
        self.device = device or torch.device("cpu")
        self.base = base.to(self.device)
        self.network = base.network
        self.schedule = base.schedule
        self.latent_shape = base.latent_shape
        self.dtype = dtype
        self.config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.rank,
            target_modules=list(base.lora_layers[lora.layers]),
            init_lora_weights="gaussian",
        )
        self._resident = tuple(sorted({name for layer in self._layers() for name in layer.active_adapters}))
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # A resident adapter is meant to be there.
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            torch.manual_seed(key(seed, "lora"))
            inject_adapter_in_model(self.config, self.network, adapter_name=ADAPTER)
        self.network.requires_grad_(False)
        for parameter in self.trainable().values():
            parameter.data = parameter.data.to(self.device, torch.float32)
        self._active: tuple[str, ...] = ()
        self._activate(*self._resident, ADAPTER)
        self._encode_nothing = encode_nothing
        self._unconditional: Conditioning | None = None

    @property
    def base_name(self) -> str:
        """Which base it is, as LoRA files say."""
        return self.base.lora_facts.base_name

    def predict(
        self, x_t: Tensor, level: Level, conditioning: Conditioning, guidance_scale: float = 1.0
    ) -> interpolants.Estimate:
        """x_t [B, …], level [B] → the estimate in float32; true guidance doubles the batch when guidance_scale != 1."""
        guided = self.base.guidance == "true" and guidance_scale != 1.0
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if guided:
                both = _join(conditioning, self._empty(len(x_t)))
                twice = torch.cat([level.timestep, level.timestep])
                output = self.base.forward(torch.cat([x_t, x_t]), twice, both, guidance_scale)
                with_text, without = output.float().chunk(2)
                output = self.base.guide(with_text, without, guidance_scale)
            else:
                output = self.base.forward(x_t, level.timestep, conditioning, guidance_scale).float()
        return interpolants.FROM_OUTPUT[self.base.parametrisation](output, x_t, level.alpha, level.sigma)

    def as_output(self, estimate: interpolants.Estimate, level: Level) -> Tensor:
        """What the network itself would have said, [B, …], of an estimate or a difference of two."""
        return interpolants.TO_OUTPUT[self.base.parametrisation](estimate, level.alpha, level.sigma)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] or clips [B, F, 3, H, W] in [0, 1], with gradient."""
        return self.base.decode(latents)

    def release_text(self) -> None:
        """Encode the empty prompt for guidance, then let the text encoders go."""
        if self.base.guidance == "true":
            self._empty(1)
        self.base.release_text()

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Inside, the network is the frozen base."""
        before = self._active
        self._activate(*self._resident)
        try:
            yield
        finally:
            self._activate(*before)

    @contextmanager
    def as_version(self, adapter: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the LoRA has the weights of an earlier `adapter_state()`; the original tensors come back untouched.

        Without gradient: a graph made inside would be led back through the other weights.
        """
        originals = {name: parameter.data for name, parameter in self.trainable().items()}
        try:
            with torch.no_grad():
                for name, parameter in self.trainable().items():
                    parameter.data = adapter[name.replace(f".{ADAPTER}.", ".")].to(parameter)
                yield
        finally:
            for name, parameter in self.trainable().items():
                parameter.data = originals[name]

    @contextmanager
    def folded(self) -> Iterator[None]:
        """Inside, the adapter is added into the weights: the same pictures for fewer operations, without gradient.

        The original tensors come back untouched. Only float32 weights are added to, for as long as their copies take
        memory: in bfloat16 the sum would round a young LoRA away, and a LoRA of rank 32 costs FLUX two percent of a
        layer's operations. Packed weights have no sum at all.
        """
        originals = []
        try:
            for layer in self._layers():
                weight = layer.get_base_layer().weight
                if layer.disable_adapters or weight.dtype != torch.float32:
                    continue
                originals.append((weight, weight.data))
                folded = weight.data
                for name in layer.active_adapters:
                    folded = folded + layer.get_delta_weight(name).float()
                weight.data = folded
                layer.enable_adapters(False)
            yield
        finally:
            for weight, original in originals:
                weight.data = original
            self._activate(*self._active)

    @contextmanager
    def at_strength(self, strength: float) -> Iterator[None]:
        """Inside, the adapter plays at `strength` (1 = as trained)."""
        for layer in self._layers():
            layer.set_scale(ADAPTER, strength)
        try:
            yield
        finally:
            for layer in self._layers():
                layer.set_scale(ADAPTER, 1.0)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The LoRA's parameters by name, in a fixed order."""
        ours = f".{ADAPTER}."
        return {name: p for name, p in sorted(self.network.named_parameters()) if "lora_" in name and ours in name}

    def adapter_state(self) -> dict[str, Tensor]:
        """A copy of the LoRA's weights under peft's names (`….lora_A.weight`), sorted."""
        state = get_peft_model_state_dict(self.network, adapter_name=ADAPTER)
        return {name: state[name].detach().clone() for name in sorted(state)}

    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """Replace the LoRA's weights. Raises TrainingError when names or shapes do not fit."""
        expected = {name: tensor.shape for name, tensor in self.adapter_state().items()}
        given = {name: tensor.shape for name, tensor in state.items()}
        if expected != given:
            odd = sorted(set(expected.items()) ^ set(given.items()))[0][0]
            raise TrainingError(
                f"The LoRA does not fit this base: `{odd}` differs.",
                cause="It was trained with another rank, other layers or another base.",
                action="Use the recipe it was trained with.",
            )
        set_peft_model_state_dict(self.network, dict(state), adapter_name=ADAPTER)

    def take_out(self) -> None:
        """Leave the base as it was before this policy, so that another may be built on it; this one is at its end."""
        ours: list[tuple[str, Any]] = [(n, m) for n, m in self.network.named_modules() if isinstance(m, BaseTunerLayer)]
        for name, layer in ours:
            layer.delete_adapter(ADAPTER)
            if not layer.lora_A:
                self.network.set_submodule(name, layer.get_base_layer())
        del self.network.peft_config[ADAPTER]  # type: ignore[union-attr]
        if not self.network.peft_config:
            del self.network.peft_config

    def _activate(self, *names: str) -> None:
        """Let exactly these adapters play, each where it has a layer; gradients follow the LoRA."""
        self._active = names
        for layer in self._layers():
            here = [name for name in names if name in layer.lora_A]
            layer.enable_adapters(bool(here))
            layer.set_adapter(here, inference_mode=True)
        for parameter in self.trainable().values():
            parameter.requires_grad_(ADAPTER in names)

    def _layers(self) -> list[Any]:
        return [module for module in self.network.modules() if isinstance(module, BaseTunerLayer)]

    def _empty(self, size: int) -> Conditioning:
        if self._unconditional is None:
            self._unconditional = (self._encode_nothing or self.base.encode_nothing)()
        return {name: value.expand(size, *value.shape[1:]) for name, value in self._unconditional.items()}


def _join(first: Conditioning, second: Conditioning) -> Conditioning:
    return {name: torch.cat([first[name], second[name].to(first[name].dtype)]) for name in first}
