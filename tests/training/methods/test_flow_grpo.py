"""Flow-GRPO: what of the family it is."""

from __future__ import annotations

from yaml import safe_load as parse

from toolkit.recipe import Section
from training import tables
from training.methods.flow_grpo import FlowGrpo


def test_the_defaults_are_the_published_constants() -> None:
    """Source: the released SD3.5-M configuration; 9 of 10 steps, two optimizer steps per collection."""
    method = FlowGrpo()
    assert (method.dynamics, method.noise_level, method.rollout_steps, method.window) == ("flow_sde", 0.7, 10, "all")
    assert (method.group_size, method.guidance_scale, method.optimizer_steps) == (24, 4.5, 2)
    assert (method.clip_range, method.advantage_limit, method.kl_weight) == (1e-4, 5.0, 0.04)
    assert (method.advantage_scale, method.ratio, method.shared_noise) == ("global", "plain", False)
    assert method.trained_per_sample(method.rollout_steps) == 9


def test_the_fast_variant_of_the_docstring_is_a_setting() -> None:
    sentence = " ".join(FlowGrpo.__doc__.split()).split("`")[1]
    settings = {name: parse(value) for name, value in (part.split(": ") for part in sentence.split(", "))}
    method = tables.method(Section(name="flow_grpo", settings=settings))
    assert (method.window, method.trained_per_sample(10), method.dynamics) == ("random", 3, "cps")
    assert (method.guidance_scale, method.clip_range, method.kl_weight) == (1.0, 1e-5, 0.0)
