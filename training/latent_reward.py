"""A reward on noisy latents: R(x_t, level, text) without a decoder, its gradient, and what follows from it.

Its features are the frozen base's own estimate of the clean latents, so that one head serves every base. PRFL
(arXiv:2511.21541) and DiNa-LRM (arXiv:2602.11146) read hidden states of the base's first blocks instead: cheaper,
and tied to one architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load_file
from torch import Tensor, nn

from toolkit.errors import UsageError
from training import blueprint, described
from training.contracts import Conditioning, Policy
from training.interpolants import Estimate, expand
from training.randomness import key
from training.schedules import Level

BINS = (0.1, 0.3, 0.5, 0.7, 0.9)  # noise levels at which a reward's accuracy is known
KIND = "latent_reward"
QUERIES = 4


@dataclass(frozen=True)
class Seen:
    """What a reward says at x_t: score [B], its gradient by x_t [B, ...], and the frozen base's estimate there."""

    score: Tensor
    gradient: Tensor
    reference: Estimate


class LatentReward(nn.Module):
    """A small convolutional head on (x_t, the base's clean estimate), told the noise level by scale and shift."""

    accuracy: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, width: int = 64, *, seed: int = 0) -> None:
        """channels: of the base's latents. Frozen until someone trains it."""
        super().__init__()
        self.channels, self.width = channels, width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "latent_reward"))
            self.time = nn.Sequential(Timesteps(width, True, 0, scale=1000), TimestepEmbedding(width, 2 * width))
            self.stem = nn.Conv2d(2 * channels, width, 3, padding=1)
            sizes = ((width, width, True), (width, 2 * width, True), (2 * width, 2 * width, False))
            self.blocks = nn.ModuleList(_block(one, other, 2 * width, down=down) for one, other, down in sizes)
            self.queries = nn.Parameter(torch.randn(QUERIES, 2 * width))
            self.attend = nn.MultiheadAttention(2 * width, QUERIES, batch_first=True)
            self.out = nn.Linear(QUERIES * 2 * width, 1)
        self.register_buffer("accuracy", torch.full((len(BINS),), 0.5))  # on held-out pairs, at BINS
        self.register_buffer("mean", torch.zeros(()))  # of the scores of the pairs it was trained on
        self.register_buffer("std", torch.ones(()))
        self.eval().requires_grad_(False)

    def forward(self, x_t: Tensor, estimate: Estimate, level: Level) -> Tensor:
        """x_t [B, C, h, w], or of a clip [B, C, F, h, w] → the score [B], about 0 ± 1; clips: their frames' mean."""
        seen, sigma = torch.cat([x_t, estimate.x0], dim=1), level.sigma / (level.sigma + level.alpha)
        frames = 1 if seen.ndim == 4 else seen.shape[2]
        flat = seen if seen.ndim == 4 else seen.transpose(1, 2).flatten(0, 1)
        embedded = self.time[1](self.time[0](sigma.repeat_interleave(frames)).to(flat.dtype))
        hidden = self.stem(flat)
        for block in self.blocks:
            hidden = block(hidden, embedded)
        tokens = hidden.flatten(2).transpose(1, 2)
        pooled, _ = self.attend(self.queries.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        raw = self.out(pooled.flatten(1)).squeeze(1).unflatten(0, (-1, frames)).mean(dim=1)
        return (raw - self.mean) / self.std

    @torch.no_grad()
    def score(self, policy: Policy, x_t: Tensor, level: Level, conditioning: Conditioning) -> Tensor:
        """[B], without gradient to x_t."""
        with policy.as_reference():
            return self(x_t, policy.predict(x_t, level, conditioning), level)

    @torch.enable_grad()
    def look(self, policy: Policy, x_t: Tensor, level: Level, conditioning: Conditioning) -> Seen:
        """Score and gradient, through the head and the frozen base.

        Both passes are made here: recomputed activations would meet the adapter if the second were made later.
        """
        x = x_t.detach().requires_grad_()
        with policy.as_reference():
            estimate = policy.predict(x, level, conditioning)
            score = self(x, estimate, level)
            (gradient,) = torch.autograd.grad(score.sum(), x)
        return Seen(score.detach(), gradient, Estimate(*(part.detach() for part in estimate)))

    def trust(self, sigma: Tensor) -> Tensor:
        """How far it can be believed at `sigma` [B]: 0 where it guesses, 1 where it is always right, linear between."""
        known = torch.tensor(BINS, device=sigma.device)
        above = torch.bucketize(sigma, known).clamp(1, len(BINS) - 1)
        share = ((sigma - known[above - 1]) / (known[above] - known[above - 1])).clamp(0, 1)
        return (2 * torch.lerp(self.accuracy[above - 1], self.accuracy[above], share.to(self.accuracy)) - 1).clamp(
            min=0
        )

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write weights and, as JSON in the header, what one should know of them. Raises OSError."""
        described.save(path, self.state_dict(), KIND, {**facts, "channels": self.channels, "width": self.width})


def load(path: str, policy: Policy) -> LatentReward:
    """The reward in a file, on the policy's device. Raises UsageError unless it was trained on this base."""
    file = Path(path).expanduser()
    if not path or not file.is_file():
        raise UsageError(
            f"There is no latent reward `{path}`." if path else "No latent reward is given: `weights` is empty.",
            action="Make one with `palate reward train-latent`, and give its path in full.",
        )
    facts = about(file)
    if facts["base"] != policy.base_name:
        raise UsageError(
            f"`{file.name}` was trained on the base `{facts['base']}`, not on `{policy.base_name}`.",
            cause="A reward on latents belongs to one base and its autoencoder.",
            action="Train one for this base with `palate reward train-latent`.",
        )
    if blueprint.is_weightless():
        made = blueprint.build(lambda: LatentReward(facts["channels"], facts["width"]))
        blueprint.hollow(made)
        return made
    made = LatentReward(facts["channels"], facts["width"])
    made.load_state_dict(load_file(file))
    return made.to(policy.device)


def about(file: Path) -> dict[str, Any]:
    """What the header says: base, pairs, accuracy by noise level. Raises UsageError for any other file."""
    facts = described.about(file, KIND)
    if facts is None:
        raise UsageError(
            f"`{file.name}` is no latent reward.", action="Give a file that `palate reward train-latent` made."
        )
    return facts


def adjustment(gradient: Tensor, level: Level, scale: float) -> Estimate:
    """By how much an estimate changes when the density at this level is tilted by exp(scale R).

    The score grows by scale times the gradient, and the noise is -sigma times the score; x_t itself stays. For flow it
    is a change of the velocity by -scale sigma / (1 - sigma) gradient. alpha must not be 0.
    """
    sigma, alpha = expand(level.sigma, gradient), expand(level.alpha, gradient)
    return Estimate(scale * sigma.square() / alpha * gradient, -scale * sigma * gradient)


def rms(values: Tensor) -> Tensor:
    """Root mean square over all dimensions but the first, [B]."""
    return values.square().flatten(1).mean(dim=1).sqrt()


def limited(change: Tensor, most: Tensor) -> Tensor:
    """`change` [B, ...], shortened where its root mean square exceeds `most` [B]."""
    length = rms(change)
    return expand(most / length.maximum(most).clamp(min=torch.finfo(length.dtype).tiny), change) * change


class Guided:
    """A policy whose every call follows a latent reward a little: guidance without training."""

    def __init__(
        self, policy: Policy, reward: LatentReward, scale: float, *, sigma_high: float = 0.9, limit: float = 0.3
    ) -> None:
        """scale: λ of exp(λ R); above sigma_high it stays silent; limit: most change, as a share of the output."""
        self._policy, self._reward, self._scale = policy, reward, scale
        self._sigma_high, self._limit = sigma_high, limit

    def __getattr__(self, name: str) -> Any:
        """Everything else is the policy's own."""
        return getattr(self._policy, name)

    def folded(self) -> nullcontext[None]:
        """Nothing is folded: the reward asks the frozen base between the calls."""
        return nullcontext()

    def predict(self, x_t: Tensor, level: Level, conditioning: Conditioning, guidance_scale: float = 1.0) -> Estimate:
        """The policy's estimate, adjusted."""
        estimate = self._policy.predict(x_t, level, conditioning, guidance_scale)
        heard = level.sigma <= self._sigma_high * (level.sigma + level.alpha)
        if not heard.any():
            return estimate
        change = adjustment(self._reward.look(self._policy, x_t, level, conditioning).gradient, level, self._scale)
        output = self._policy.as_output(change, level)
        most = self._limit * rms(self._policy.as_output(estimate, level))
        share = expand(most / rms(output).maximum(most), x_t)
        added = (torch.where(expand(heard, x_t), share * by, 0.0) for by in change)
        return Estimate(*(now + by for now, by in zip(estimate, added, strict=True)))


def _block(narrow: int, wide: int, embedded: int, *, down: bool) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=narrow, out_channels=wide, temb_channels=embedded, groups=8, time_embedding_norm="scale_shift",
        down=down,
    )  # fmt: skip
