"""FlowBP: backpropagation through a surrogate of a finished trajectory, in three forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._lagrange import MOST_NODES, Quadrature, draw_segments, quadrature
from training.methods._trajectory import Active, Path, TrajectoryReward, draw_late, draw_two_steps, sweep, trust
from training.randomness import Rng

Surrogate = tuple[Active, Tensor | None, Mapping[str, Tensor]]  # what trains, how much each sample counts, what to log


class FlowBp(TrajectoryReward):
    """FlowBP (arXiv:2606.11075): a few steps of a finished rollout are asked again, the reward sees its own picture.

    sparse:   x0 = noise + Σ h_i v_i, with gradient in K steps on detached inputs, drawn late-biased
    bridge:   the same, but a step j in the middle also hands gradient on to the steps before it
    lagrange: two segments k → j → image, each a Lagrange quadrature, with gradient in its first two nodes
    """

    form: Literal["sparse", "bridge", "lagrange"] = Field(default="sparse", description="Which surrogate is trained.")
    k: int = Field(default=3, ge=1, le=1000, description="Steps that carry gradient (sparse, bridge).")
    late_bias: float = Field(
        default=2.0, ge=0, le=8, description="b: step i is drawn with (i + 1)^b; 0 draws all alike, 2 mostly late ones."
    )
    rescale: float = Field(
        default=1.0, ge=0, le=2, description="γ: 0 leaves the sampler's weights; at 1 active steps stand for all steps."
    )
    bridge: float = Field(default=0.1, ge=0, le=1, description="α: share of the gradient that passes step j.")
    nodes: int = Field(default=3, ge=1, le=MOST_NODES, description="Nodes per segment (lagrange); 1 is LeapAlign.")
    second: float = Field(default=0.25, ge=0, le=1, description="β: share of the gradient at a segment's second node.")
    blend: float = Field(
        default=1.0, ge=0, le=1, description="Share of the quadrature in the first segment; the rest is a plain leap."
    )
    longest_tail: int = Field(default=0, ge=0, description="Most steps from j to the image (lagrange); 0: any number.")
    distance_floor: float | None = Field(
        default=0.2, gt=0, description="τ: segments that land nearer than this count fully (lagrange); empty: all do."
    )
    margin: float | None = Field(default=0.55, description="relu(margin - reward), on HPSv2.1's scale; empty: never.")

    @model_validator(mode="after")
    def _fitting(self) -> FlowBp:
        least = 2 if self.form == "bridge" else 1
        if not least <= self.k <= self.rollout_steps:
            raise ValueError(f"{least} <= k <= rollout_steps must hold")
        if self.form == "lagrange" and self.rollout_steps < 3:
            raise ValueError("lagrange needs 3 rollout_steps")
        return self

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """One report per active step."""
        path = self.walk(policy, batch, rng)
        surrogate = {"sparse": self.sparse, "bridge": self.bridged, "lagrange": self.lagrange}[self.form]
        active, counts, metrics = surrogate(path, rng)
        verdict = self.judge(policy, reward, batch, rng, path.picture, counts)
        yield from sweep(path, verdict, active, metrics)

    def sparse(self, path: Path, rng: Rng) -> Surrogate:
        """K steps of all T."""
        shares = rng.uniform("steps", shape=(path.length,))
        start = torch.zeros(len(shares), dtype=torch.int64, device=shares.device)
        chosen = draw_late(shares, start, start + path.length, start + self.k, self.late_bias)
        return self._weighed(path, chosen)

    def bridged(self, path: Path, rng: Rng) -> Surrogate:
        """K steps around j, shared out by the lengths of both sides, at least one each; j is always one of them."""
        _, j = draw_two_steps(rng, path.length)
        start, end = torch.zeros_like(j), torch.full_like(j, path.length)
        before = (self.k * j / path.length).round().long().clamp(min=1, max=self.k - 1)  # k <= T: either side has these
        shares = rng.uniform("steps", shape=(path.length,))
        chosen = draw_late(shares, start, j, before, self.late_bias)
        chosen |= draw_late(shares, j + 1, end, self.k - 1 - before, self.late_bias)
        return self._weighed(path, chosen.scatter(1, j[:, None], True), j)

    def lagrange(self, path: Path, rng: Rng) -> Surrogate:
        """The first two nodes of k → j and of j → image; samples count as in LeapAlign."""
        k, j = draw_segments(rng, path.length, self.longest_tail)
        end = torch.full_like(j, path.length)
        first = quadrature(path.sigmas, k, j, self.nodes).blended(self.blend)
        last = quadrature(path.sigmas, j, end, self.nodes)
        leap_error = path.distance(j, path.leap(first.nodes.T, first.weights.T))
        end_error = path.distance(end, path.leap(last.nodes.T, last.weights.T))
        steps = torch.cat([first.nodes[:, :2], last.nodes[:, :2]], dim=1).T
        weights = torch.cat([self._first_two(first), self._first_two(last)], dim=1).T
        counts = trust(leap_error, end_error, self.distance_floor)
        metrics = {
            "leap_error": leap_error, "end_error": end_error, "trust": counts,
            "guarded": (first.guarded + last.guarded) / 2,
            "start_share": torch.minimum(first.wanted_start, last.wanted_start),
        }  # fmt: skip
        return Active(steps, weights, self.bridge * (steps == j).double()), counts, metrics

    def _weighed(self, path: Path, chosen: Tensor, j: Tensor | None = None) -> Surrogate:
        """chosen: [B, T], K of each row."""
        steps = chosen.long().argsort(dim=1, descending=True, stable=True)[:, : self.k].sort(dim=1).values.T
        factor = self._factor(path.widths.abs().sum(), path.widths[steps].abs().sum(dim=0))
        bridges = None if j is None else self.bridge * (steps == j).double()
        return Active(steps, factor * path.widths[steps], bridges), None, {"rescale": factor}

    def _factor(self, whole: Tensor, active: Tensor) -> Tensor:
        """c = 1 + γ (Σ|w| / Σ_active|w| - 1), [B]."""
        return 1 + self.rescale * (torch.where(active > 0, whole / active, 1.0) - 1)

    def _first_two(self, of: Quadrature) -> Tensor:
        """Weights [B, 2] of a segment's nodes that carry gradient ([B, 1] where it has one)."""
        active = of.weights[:, :2]
        factor = self._factor(of.weights.abs().sum(dim=1), active.abs().sum(dim=1))
        shares = torch.tensor([1.0, self.second], dtype=active.dtype, device=active.device)
        return factor[:, None] * active * shares[: active.shape[1]]
