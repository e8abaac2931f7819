"""MixGRPO: noise in a window that slides from the noisy end to the image, the plain sampler around it."""

from __future__ import annotations

from training.methods._groups import AdvantageScale, GroupSize, GuidanceScale, Minibatches, RolloutSteps
from training.methods._policy_gradient import PolicyGradient
from training.methods._windows import Window, WindowSize


class MixGrpo(PolicyGradient):
    """MixGRPO (arXiv:2507.21802): four noisy steps at a time, one step later every 25 updates, then from the start."""

    group_size: GroupSize = 12
    rollout_steps: RolloutSteps = 25
    guidance_scale: GuidanceScale = 3.5
    advantage_scale: AdvantageScale = "group"
    minibatches: Minibatches = 4
    window: Window = "sliding"
    window_size: WindowSize = 4
