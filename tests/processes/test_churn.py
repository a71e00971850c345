"""Nodes lose packets, are killed and come back: all mails arrive, each once.

`scripts/soak churn` does the same with 20 nodes and 1,000 mails.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from churning import Churn

NODES, SENDERS, MAILS = 6, 2, 8
KILLS, KILL_EVERY = 2, 3.0
LOSSES = (0.03, 0.01)  # a tenth each, as in the soak, takes a minute: each lost query is ten seconds
SEED = 1


def test_all_mails_arrive_once_while_nodes_are_killed(tmp_path: Path) -> None:
    with contextlib.closing(Churn(tmp_path / "net", NODES, SENDERS, MAILS, SEED, LOSSES)) as churn:
        churn.start()
        assert churn.run(KILL_EVERY, 120.0, lambda text: None, KILLS), churn.wrong()
        churn.calm_down(60.0)
        assert churn.wrong() == [] and churn.kills == KILLS
