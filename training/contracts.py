"""What the rooms promise each other. A method sees a `Policy`, a `Reward` and a batch, and knows neither's name.

Pictures are [B, 3, H, W] in [0, 1] everywhere. A video family has latents [B, C, F, h, w] and makes clips: pictures in
time order, [B, F, 3, H, W]. Rewards see pictures only; `training.clips` stands between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from toolkit.words import WordPair
from training.interpolants import Estimate
from training.randomness import Rng
from training.schedules import Level, Schedule

Conditioning = Mapping[str, Tensor]  # each [B, ...]


@dataclass(frozen=True)
class PromptBatch:
    """B prompts with what the network is conditioned on, and the word pair each is pulled along."""

    prompts: Sequence[str]
    conditioning: Conditioning
    words: Sequence[WordPair]


@dataclass(frozen=True)
class PhotoBatch(PromptBatch):
    """B finished pictures of the prompts, encoded: latents [B, *latent_shape], and how much each counts [B]."""

    latents: Tensor
    weights: Tensor


@dataclass(frozen=True)
class LikeBatch(PhotoBatch):
    """B pictures judged one by one: liked [B] bool."""

    liked: Tensor


@dataclass(frozen=True)
class PairBatch(PromptBatch):
    """B pairs of latents [B, *latent_shape], the chosen one preferred.

    weights [B]: how much a pair counts; margins [B]: by how much its logit should win, in the method's own units;
    scores [B, 2] of (chosen, rejected): what a scorer gave, in [0, 1] over the whole set; 0.5 where it gave nothing;
    focus [B, 1, …, h, w]: where the sides are compared, of mean 1 per pair; None: everywhere alike.
    """

    chosen: Tensor
    rejected: Tensor
    weights: Tensor
    margins: Tensor
    scores: Tensor
    focus: Tensor | None = None


@dataclass(frozen=True)
class Report:
    """One loss to go backward from, and what to log of it: scalars or [B] tensors, detached."""

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerStep:
    """Yielded between two reports: the optimizer steps here, once every micro-batch and process has come this far.

    The step at the end of an update is the trainer's own.
    """


@dataclass(eq=False)
class Pool:
    """Yielded for a statistic over all samples of an update: `values` [n, ...] of one micro-batch, no gradient.

    When the method is asked to go on, `everyone` holds those of every micro-batch and process in the order of samples.
    """

    values: Tensor
    everyone: Tensor = field(init=False)


Event = Report | OptimizerStep | Pool


class Policy(Protocol):
    """The base with its adapter, as a method sees it."""

    schedule: Schedule
    latent_shape: tuple[int, ...]
    device: torch.device

    @property
    def base_name(self) -> str:
        """Which base it is, as its LoRA files say."""
        ...

    def predict(self, x_t: Tensor, level: Level, conditioning: Conditioning, guidance_scale: float = 1.0) -> Estimate:
        """One network call at x_t [B, *latent_shape]; float32 out."""
        ...

    def as_output(self, estimate: Estimate, level: Level) -> Tensor:
        """What the network itself would have said, noise or velocity, of an estimate or a difference of two."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] or clips [B, F, 3, H, W] in [0, 1], with gradient."""
        ...

    def as_reference(self) -> AbstractContextManager[None]:
        """Inside, the adapter is off."""
        ...

    def as_version(self, adapter: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Inside, the adapter has the weights of an earlier `adapter_state()`; no gradient."""
        ...

    def adapter_state(self) -> dict[str, Tensor]:
        """A copy of the adapter's weights."""
        ...

    def folded(self) -> AbstractContextManager[None]:
        """Inside, calls are cheaper and carry no gradient to the adapter."""
        ...


class Reward(Protocol):
    """A scorer. Weighing texts against each other is the method's business; one image pass serves all of them."""

    def target(self, texts: Sequence[Sequence[str]]) -> Any:
        """What B pictures are compared with, T texts each. Made once per text and cached; no gradient."""
        ...

    def score(self, images: Tensor, target: Any) -> Tensor:
        """images: [B, 3, H, W] or clips [B, F, 3, H, W] in [0, 1] → float32 [B, T]; gradient where `differentiable`."""
        ...


class ImageFeatures(Protocol):
    """A scorer that also embeds pictures and texts in one space, which retrieval and diversity need."""

    def embed_images(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → unit vectors [B, D]."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D]."""
        ...


class Method(Protocol):
    """One paper. Its settings are its fields; its losses are summed over an update's yields."""

    needs: ClassVar[frozenset[str]]

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Event]:
        """Yield one report per backward pass; a yielded loss has gone backward, and its graph with it, before the next.

        The caller may put one factor on all losses of an update, such as an accumulation's share. A method that steps
        more than once per update yields OptimizerStep between, and is led through its micro-batches side by side: until
        a step, all of them see the same weights.
        """
        ...


@runtime_checkable
class Remembers(Protocol):
    """A method that carries tensors from update to update. Checkpoints hold them; they are equal on every process."""

    def after_update(self, policy: Policy, update: int) -> None:
        """Called after the last optimizer step of update number `update`, from 0.

        Nothing else may change what is remembered: an update that was killed half-way leaves no trace.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What to save; empty before the first update."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        ...


@runtime_checkable
class Examines(Protocol):
    """A method for pairs that can say what it thinks of some without learning from them."""

    def examine(self, policy: Policy, batch: PairBatch, rng: Rng) -> Mapping[str, Tensor]:
        """Of each pair [B], no gradient: `accuracy`, ties counting half, `gap_chosen` and `gap_rejected`."""
        ...


@dataclass(frozen=True)
class LoraFacts:
    """How LoRA files of a family are named and described."""

    family: str  # the family string kept in headers, such as "flux"
    component: str  # the diffusers pipeline component the adapter belongs to, "transformer" or "unet"
    architecture: str  # modelspec.architecture without "/lora"
    base_model_version: str  # ss_base_model_version
    base_name: str  # a Hub id or a short name, never a path
    resolution: tuple[int, int]


class Base(Protocol):
    """A model family: loads, encodes, predicts, decodes. Adapters go into `network`."""

    network: nn.Module
    schedule: Schedule
    parametrisation: Literal["epsilon", "sample", "v_prediction", "velocity"]
    guidance: Literal["true", "embedded", "none"]
    latent_shape: tuple[int, ...]
    frames_per_second: int  # of its clips; 0 where it makes pictures
    frames: int  # of one clip; 0 where it makes pictures
    lora_layers: Mapping[str, Sequence[str]]  # "attention" and "all" → module names
    lora_facts: LoraFacts
    text_id: str  # names all that `encode` depends on, for a cache on disk; empty: not worth one
    latents_id: str  # the same of `encode_images`

    def to(self, device: torch.device) -> Base:
        """Move every part."""
        ...

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Text conditioning on the base's device, no gradient: [B, ...] each, of one shape for every prompt."""
        ...

    def release_text(self) -> None:
        """Give the text encoders' memory back; a later `encode` loads them again."""
        ...

    def encode_nothing(self) -> Conditioning:
        """What true guidance guides away from, [1, ...]."""
        ...

    def guide(self, with_text: Tensor, without: Tensor, guidance_scale: float) -> Tensor:
        """The family's mixture of two raw outputs, asked for where guidance is "true" and guidance_scale is not 1."""
        ...

    def forward(self, x_t: Tensor, timestep: Tensor, conditioning: Conditioning, guidance_scale: float) -> Tensor:
        """The raw network output [B, *latent_shape]; guidance_scale only matters to embedded guidance."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] or clips [B, F, 3, H, W] in [0, 1], with gradient."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [B, *latent_shape] of what `decode` gives, no gradient."""
        ...
