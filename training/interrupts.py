"""Ctrl-C and SIGTERM: asked once, a run ends at the next update and saves; asked twice, it ends at once."""

from __future__ import annotations

import signal
from types import FrameType

from toolkit.errors import Interrupted


class Interrupts:
    """Catches both signals. Until `arm`, nothing is worth saving and they raise KeyboardInterrupt where they hit.

    No Exception of ours, which a library that probes for something would swallow. `received` stays set, so that where
    even this one is lost (in a finaliser, say) the run ends before its first update.
    """

    def __init__(self) -> None:
        """Install the handlers for this process."""
        self.received: int | None = None
        self._armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def arm(self) -> None:
        """From here on a first signal is only noted. Raises KeyboardInterrupt when one came before."""
        if self.received is not None:
            raise KeyboardInterrupt
        self._armed = True

    def error(self) -> Interrupted:
        """What to tell the user about a KeyboardInterrupt that came through."""
        what = "Stopped at once; what was saved is intact." if self._armed else "Stopped before training began."
        return Interrupted(what, signal_number=self.received or signal.SIGINT, action="Resume to go on.")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        at_once = self.received is not None or not self._armed
        self.received = number
        if at_once:
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
