"""What diffusers calls the linear layers of its blocks, for families to choose their LoRA's places from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_ATTENTION = (*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")  # text has its own projections
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
JOINT_FEED_FORWARD = (*FEED_FORWARD, "ff_context.net.0.proj", "ff_context.net.2")


def layers(attention: Sequence[str], *rest: str) -> Mapping[str, Sequence[str]]:
    """A base's `lora_layers`: attention alone, and all."""
    return {"attention": attention, "all": [*attention, *rest]}


def in_blocks(blocks: str, count: int, *names: str) -> list[str]:
    """Full names of layers in the first `count` blocks, for a layer that only some blocks have or use."""
    return [f"{blocks}.{number}.{name}" for number in range(count) for name in names]
