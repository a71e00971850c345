"""kill -9 of a home's store under load: it opens, it is whole, nothing that was acknowledged is gone.

`scripts/soak crash --store` does the same 200 times.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import soak_store  # type: ignore[import-not-found]

KILLS = 6
SEED = 4  # two at a commit, one while the store opens, three under load


def test_a_store_survives_six_kills_under_load(tmp_path: Path) -> None:
    told = soak_store.crash(KILLS, SEED, tmp_path)
    assert told["failed"] == [] and told["n"] == KILLS
    assert told["answered"] > 100 and told["rows"] > 50  # there was something to lose
    assert told["killed_at_a_commit"] == 2
    assert list(tmp_path.iterdir()) == []
