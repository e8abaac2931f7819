"""Ctrl-C and SIGTERM: asked once, a run ends at the next update and saves; asked twice, it ends at once."""

from __future__ import annotations

import signal
from types import FrameType

from toolkit.errors import Interrupted


class Interrupts:
    """Catches both signals. Until `armed`, nothing is worth saving and they raise where they hit.

    `received` stays set then too: a library that swallows the exception only delays the end to the first update.
    """

    def __init__(self) -> None:
        """Install the handlers for this process."""
        self.received: int | None = None
        self.armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None or not self.armed:
            self.received = number
            signal.signal(number, signal.SIG_DFL)
            what = "Stopped at once; what was saved is intact." if self.armed else "Stopped before training began."
            raise Interrupted(what, signal_number=number, action="Resume to go on.")
        self.received = number
