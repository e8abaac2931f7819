"""DanceGRPO: noise of constant strength, a random share of the steps, no pull towards the base."""

from __future__ import annotations

from training.methods._groups import AdvantageScale, GroupSize, GuidanceScale, Minibatches, RolloutSteps, SharedNoise
from training.methods._policy_gradient import NoiseLevel, PolicyGradient, StepNoise
from training.methods._windows import Window


class DanceGrpo(PolicyGradient):
    """DanceGRPO (arXiv:2505.07818): noise of constant strength, 60 % of the steps trained, one noise for a group.

    For video the authors take `noise_level: 0.25, group_size: 24, best_of: 8`.
    """

    group_size: GroupSize = 12
    rollout_steps: RolloutSteps = 16
    guidance_scale: GuidanceScale = 3.5
    shared_noise: SharedNoise = True
    advantage_scale: AdvantageScale = "group"
    minibatches: Minibatches = 3
    dynamics: StepNoise = "dance_sde"
    noise_level: NoiseLevel = 0.3
    window: Window = "fraction"
