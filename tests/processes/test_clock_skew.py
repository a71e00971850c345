"""Daemons over real TLS, one of them two hours off: refused at both ends, and its user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.logger import formatEvent, globalLogPublisher
from waiting import until

from mixmail.crypto import kem
from mixmail.daemon import devnet, service
from mixmail.daemon.clock import SteadyClock
from mixmail.directory import puzzle
from mixmail.directory.descriptor import build, epoch_of
from mixmail.directory.peer_clocks import pack_hello
from mixmail.errors import RemoteProtocolError
from mixmail.node.keys import NodeKeys
from mixmail.params import NODE_LIMITS, day_of
from mixmail.testing import SeededRandomness

SEEDS = [f"node-0{number}" for number in range(1, devnet.SEEDS + 1)]
REFUSED = "dropped a link: the peer's clock and ours differ by about 2 h"
TOLD = "Your clock differs from most of the network by about 2 h: set it right. Then start mixmail again."


class WrongClock(SteadyClock):
    """A clock that is off by `ahead` seconds."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.parametrize("ahead", [7_200.0, -7_200.0])
@pytest_twisted.ensureDeferred
async def test_a_daemon_two_hours_off_is_refused_and_says_so(tmp_path: Path, ahead: float) -> None:
    devnet.create(tmp_path, len(SEEDS) + 2)
    pool = reactor.getThreadPool()  # type: ignore[attr-defined]
    daemons = [service.build(tmp_path / name, reactor, pool) for name in (*SEEDS, "you")]
    *others, you = daemons
    you.clock = WrongClock()
    you.clock.ahead = ahead
    lines: list[str] = []

    def heard(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(heard)
    try:
        await gatherResults([daemon.start() for daemon in others])
        await until(lambda: all(len(one.links.peers()) == 2 for one in others), "the seeds are linked")
        await you.start()
        await until(lambda: you.warnings() == [TOLD], "the user is told")
        await until(lambda: lines.count(REFUSED) >= 2 * len(SEEDS), "both ends of each link say why")
        assert you.links.peers() == []
        assert all(one.warnings() == [] and len(one.links.peers()) == 2 for one in others)
        assert not [line for line in lines if "dropped a link" in line and line != REFUSED]
    finally:
        globalLogPublisher.removeObserver(heard)
        await gatherResults([daemon.stop() for daemon in daemons])


def a_stranger(daemon: service.Daemon, rng: SeededRandomness) -> bytes:
    """The HELLO of a node that has solved no puzzle and whose clock is two hours ahead."""
    theirs = daemon.now() + 7_200.0
    seed, day = rng.bytes(32), day_of(theirs)
    q = puzzle.period(daemon.network.parameters, NodeKeys(seed, b"", 0, b"").node_id, day)
    descriptor = build(
        seed,
        daemon.network,
        day=day,
        revision=1,
        epoch=epoch_of(daemon.network.parameters, theirs),
        mix_keys=[KEY] * 3,
        proxy_keys=[KEY] * 3,
        endpoint="tcp:host=192.0.2.1:port=1",
        link_cert_hash=bytes(32),
        proof=puzzle.Proof(bytes(puzzle.NONCE_BYTES), q, bytes(32)),
    )
    return pack_hello(descriptor.raw, theirs)


KEY = kem.PrivateKey.from_seed(bytes(32)).public


@pytest_twisted.ensureDeferred
async def test_ids_that_cost_nothing_do_not_make_a_user_set_a_right_clock_wrong(tmp_path: Path) -> None:
    devnet.create(tmp_path, len(SEEDS) + 2)
    pool = reactor.getThreadPool()  # type: ignore[attr-defined]
    daemons = [service.build(tmp_path / name, reactor, pool) for name in SEEDS]
    rng = SeededRandomness("strangers' clocks")
    try:
        await gatherResults([daemon.start() for daemon in daemons])
        await until(lambda: all(len(one.view.all()) > 1 for one in daemons), "the seeds know each other")
        for _ in range(NODE_LIMITS.peer_clocks):
            with pytest.raises(RemoteProtocolError, match="clock"):
                daemons[0].on_hello(a_stranger(daemons[0], rng), bytes(32))
        assert daemons[0].warnings() == []
    finally:
        await gatherResults([daemon.stop() for daemon in daemons])
