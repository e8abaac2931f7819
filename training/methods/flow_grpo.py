"""Flow-GRPO: the sampler of a flow model made stochastic, rewards compared within a group."""

from __future__ import annotations

from training.methods._groups import GuidanceScale, Minibatches
from training.methods._policy_gradient import KlWeight, PolicyGradient


class FlowGrpo(PolicyGradient):
    """Flow-GRPO (arXiv:2505.05470): every step drawn by the Flow-SDE, its density pushed up or down by the reward.

    Flow-GRPO-Fast is `window: random, dynamics: cps, noise_level: 0.8, guidance_scale: 1, clip_range: 1e-5,
    kl_weight: 0`: a few noisy steps in an otherwise deterministic rollout.
    """

    guidance_scale: GuidanceScale = 4.5
    minibatches: Minibatches = 2
    kl_weight: KlWeight = 0.04
