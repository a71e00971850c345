"""faulty_daemon.py HOME POINT: the ordinary daemon on HOME, which kills itself with SIGKILL at POINT.

POINT is "before NAME" or "after NAME", where NAME is a `Persist.point` of the agent (mixmail/effects.py):
right before its transaction, or right after it is durable and before anything that follows.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mixmail.cli import wiring
from mixmail.cli.home import Home


def main(home: str, wanted: str) -> None:
    def fault(point: str) -> None:
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    wiring.run_daemon(Home.at(home), fault=fault)


main(*sys.argv[1:])
