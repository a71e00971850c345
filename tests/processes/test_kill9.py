"""kill -9 at every named point from "queued" to "answered": the mail arrives once, the outbox never lies.

One mail of two boxes walks from point to point.  At each one the user's daemon dies by SIGKILL in the middle
of what it does, the disk is looked at, and the daemon is started again and dies at the next.
`scripts/soak crash` does the same for each point by itself, on a fresh home.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crash_points import MOMENTS, walk
from real_network import RealNetwork, real_network

NODES = 7


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNetwork]:
    with real_network(tmp_path_factory.mktemp("kill") / "net", NODES, friend=True) as up:
        yield up


def test_one_mail_survives_a_kill_at_every_point(network: RealNetwork) -> None:
    network.you.start()
    network.meet()
    network.you.stop()
    looks = walk(network, MOMENTS, "Killed again and again")
    assert [look.moment for look in looks] == list(MOMENTS[1:])
    assert len({look.id for look in looks}) == 1 and {look.parts for look in looks[3:]} == {2}
