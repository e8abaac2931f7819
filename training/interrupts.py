"""Ctrl-C and SIGTERM: asked once, a run ends at the next update and saves; asked twice, it ends at once."""

from __future__ import annotations

import signal
from types import FrameType

from toolkit.errors import Interrupted


class Interrupts:
    """Catches both signals. Until `armed`, nothing is worth saving and they raise where they hit."""

    def __init__(self) -> None:
        """Install the handlers for this process."""
        self.received: int | None = None
        self.armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None or not self.armed:
            signal.signal(number, signal.SIG_DFL)
            raise Interrupted("Stopped before training began.", signal_number=number)
        self.received = number
