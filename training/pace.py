"""How fast to go after the gradients seen so far: a pure function of the norms that the run's log holds.

So nothing more has to be kept for an exact resume. Both limits are Palate's own and off by default.
"""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.recipe import Optimizer

MEMORY = 0.9  # of the running norm
GRACE = 10  # updates before a norm may be called wild


class Pace:
    """A running mean of gradient norms, measured before they are clipped."""

    def __init__(self, settings: Optimizer, norms: Iterable[float] = ()) -> None:
        """norms: those of the updates made so far."""
        self._settings = settings
        self._mean, self._count = 0.0, 0
        for norm in norms:
            self.see(norm)

    @property
    def share(self) -> float:
        """Of the learning rate, in (0, 1]: calm_norm over the running norm where that is larger."""
        calm = self._settings.calm_norm
        return 1.0 if calm is None or self._mean <= calm else calm / self._mean

    def is_wild(self, norm: float) -> bool:
        """Whether an update should be skipped: its gradient is out of all proportion to those before."""
        limit = self._settings.skip_above
        return limit is not None and self._count >= GRACE and norm > limit * self._mean

    def see(self, norm: float) -> None:
        """Count an update's norm in. A wild one counts as the limit: a lasting change is believed in the end."""
        limit = self._settings.skip_above
        counted = limit * self._mean if limit is not None and self.is_wild(norm) else norm
        self._mean = counted if self._count == 0 else MEMORY * self._mean + (1 - MEMORY) * counted
        self._count += 1
