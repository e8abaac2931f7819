"""CogVideoX-2B in small: positions are added, and its noise levels are shifted."""

from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline
from tiny import cogvideox
from tiny.cogvideox import GUIDANCE, LEFT_OUT, SETTINGS, SIZE, to_pipeline

__all__ = ["BASE", "GUIDANCE", "LEFT_OUT", "SETTINGS", "SIZE", "build", "to_pipeline"]

BASE = "cogvideox"


def build() -> CogVideoXPipeline:
    scheduler = CogVideoXDDIMScheduler(snr_shift_scale=3.0, **cogvideox.NOISE)
    return cogvideox.pipeline(scheduler, scaling_factor=1.15258426, rope=False)
