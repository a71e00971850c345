"""Unix time that never jumps: slots run on the monotonic clock, epochs on its image in wall time."""

from __future__ import annotations

import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SteadyClock:
    """Wall time as it was at the start, advanced by the clock that goes on during suspend."""

    def __init__(self) -> None:
        self._offset = time.time() - time.clock_gettime(_STEADY)

    def now(self) -> float:
        """Unix seconds."""
        return time.clock_gettime(_STEADY) + self._offset
