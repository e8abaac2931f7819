"""LeapAlign: the trajectory as two leaps, so that early steps feel the reward through one bridge only."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field

from training.contracts import Policy, PromptBatch, Report, Reward
from training.methods._trajectory import Active, TrajectoryReward, draw_two_steps, sweep, trust
from training.randomness import Rng


class LeapAlign(TrajectoryReward):
    """LeapAlign (arXiv:2604.15311): leap k → j → image at two random steps, rewarded on the sampler's own picture.

        x̂_j = x_k + (s_j - s_k) v_k,   x̂_0 = x_j - s_j v_j   (eqs. 3 to 5), their values pinned to the true path

    The gradient (eq. 10) is (s_j - s_k) aᵀ∂v_k - s_j aᵀ∂v_j - α s_j (s_j - s_k) (J_jᵀa)ᵀ∂v_k, and a sample counts the
    less the further its leaps land from the path (eq. 13).
    """

    rollout_steps: int = Field(default=25, ge=2, le=1000, description="Sampling steps from noise to image.")
    bridge: float = Field(
        default=0.3, ge=0, le=1, description="α: share of the gradient that passes through the network at j to step k."
    )
    distance_floor: float | None = Field(
        default=0.1, gt=0, description="τ: leaps that land nearer than this count fully; empty: all count alike."
    )
    margin: float | None = Field(default=0.55, description="relu(margin - reward), on HPSv2.1's scale; empty: never.")

    def losses(self, policy: Policy, reward: Reward, batch: PromptBatch, rng: Rng) -> Iterator[Report]:
        """Two reports: step j, then step k."""
        path = self.walk(policy, batch, rng)
        k, j = draw_two_steps(rng, path.length)
        end = torch.full_like(j, path.length)
        weights = torch.stack([path.sigmas[j] - path.sigmas[k], -path.sigmas[j]])
        leap_error = path.distance(j, path.leap(k[None], weights[:1]))
        end_error = path.distance(end, path.leap(j[None], weights[1:]))
        counts = trust(leap_error, end_error, self.distance_floor)
        verdict = self.judge(policy, reward, batch, rng, path.picture, counts)
        active = Active(torch.stack([k, j]), weights, torch.full_like(weights, self.bridge))
        yield from sweep(path, verdict, active, {"leap_error": leap_error, "end_error": end_error, "trust": counts})
