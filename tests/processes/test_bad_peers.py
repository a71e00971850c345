"""Peers that flood, stall, stop half-way, come too often or belong elsewhere: real TLS sockets on loopback.

Each is limited and counted, and honest links go on; `stage` looks that no log line holds an address.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest_twisted
from link_stage import HASTY, Node, Raw, Stage, packet, stage, until
from twisted.internet import reactor

from mixmail.effects import Frame
from mixmail.errors import ForeignNetwork
from mixmail.link.frames import cut
from mixmail.link.protocol import HELLO, READ, Link
from mixmail.params import GEOMETRY, NODE_LIMITS, NodeLimits

__all__ = ["stage"]  # a fixture

RECORD = 2**14  # a TLS record of which the beginning came with an earlier read


def limits(**fields: Any) -> NodeLimits:
    return dataclasses.replace(NODE_LIMITS, **fields)


def link_of(node: Node, peer: bytes) -> Link:
    (link,) = node.links._peers[peer].links
    return link


class Watch:
    """Looks at each turn of the reactor that something holds."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self.looks = 0
        self._holds = holds
        self.broken = False
        self._call = reactor.callLater(0, self._look)

    def _look(self) -> None:
        self.looks += 1
        self.broken = self.broken or not self._holds()
        self._call = reactor.callLater(0, self._look)

    def stop(self) -> None:
        self._call.cancel()
        assert self.looks
        assert not self.broken


async def honest_passes(stage: Stage, node: Node, name: str = "honest") -> None:
    """A node comes, and its packet arrives."""
    other = stage.node(name)
    other.knows(node)
    other.links.send(node.id, packet(7))
    await until(lambda: node.got(other), "an honest packet")
    assert node.got(other) == [packet(7)]


# floods


@pytest_twisted.ensureDeferred
async def test_a_flood_waits_in_its_own_link_and_others_pass(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_turn=1))
    await a.listen()
    flooder, me = await stage.introduced(a, "flood")
    link = link_of(a, me)
    watch = Watch(lambda: link.held <= NODE_LIMITS.link_inbox + 2 * READ + RECORD)
    flooder.transport.write(cut(packet(1))[0] * 1_000)
    await until(lambda: a.frames, "the flood")
    await honest_passes(stage, a)
    assert len(a.frames) < 1_000  # it passed while the flood lasted
    watch.stop()
    flooder.transport.abortConnection()
    await until(lambda: a.saw_last("down", me))
    assert a.links.memory.total == 0


@pytest_twisted.ensureDeferred
async def test_a_frame_in_too_many_records(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, _ = await stage.introduced(a)
    for octet in cut(packet(1))[0][: NODE_LIMITS.link_records + 1]:
        raw.transport.getHandle().send(bytes([octet]))
        raw.transport._flushSendBIO()
    await raw.gone()
    assert stage.lines == ["dropped a link: too many short TLS records"]
    await honest_passes(stage, a)


@pytest_twisted.ensureDeferred
async def test_half_messages_of_many_peers_are_bounded_together(stage: Stage) -> None:
    """Strangers make room; who stands in the directory keeps his half message."""
    bound = 12 * GEOMETRY.frame
    a = stage.node("anna", limits=limits(link_memory=bound))
    await a.listen()
    long = b"".join(cut(packet(1, 5 * GEOMETRY.packet)))
    known, id = await stage.introduced(a, "known")
    a.known[id] = ("tcp:host=127.0.0.1:port=9", bytes(32))
    watch = Watch(lambda: a.links.memory.total <= bound)
    known.transport.write(long[: 4 * GEOMETRY.frame])
    await until(lambda: a.links.memory.total >= 4 * GEOMETRY.packet)
    for number in range(6):
        raw, _ = await stage.introduced(a, f"half{number}")
        raw.transport.write(long[: 4 * GEOMETRY.frame])
    await until(lambda: a.links.counters.dropped["memory"] >= 4)
    known.transport.write(long[4 * GEOMETRY.frame :])
    await until(lambda: a.frames)
    assert a.frames == [(id, packet(1, 5 * GEOMETRY.packet))]
    watch.stop()


# stalls


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_read_is_dropped(stage: Stage) -> None:
    a = stage.node("anna", HASTY)
    await a.listen()
    raw, me = await stage.introduced(a)
    raw.transport.pauseProducing()
    link = link_of(a, me)
    while link._full_since is None:
        a.links.send(me, packet(1))
    for number in range(HASTY.link_queue + 10):
        a.links.send(me, packet(number))
    assert a.links.counters.full == 10
    in_socket = READ + NODE_LIMITS.link_batch * GEOMETRY.frame
    assert link.held == HASTY.link_queue * GEOMETRY.frame + in_socket == a.links.memory.total
    await until(lambda: a.links.counters.dropped["stall"] == 1)
    assert a.links.memory.total == 0
    assert stage.lines == ["dropped a link: the peer does not take what is sent to it"]
    raw.transport.resumeProducing()
    await raw.gone()


@pytest_twisted.ensureDeferred
async def test_what_waits_for_slow_peers_is_bounded_together(stage: Stage) -> None:
    bound = 100 * GEOMETRY.frame
    a = stage.node("anna", limits=limits(link_memory=bound))
    await a.listen()
    raws, ids = [], []
    for number in range(3):
        raw, me = await stage.introduced(a, f"slow{number}")
        raw.transport.pauseProducing()
        raws.append(raw)
        ids.append(me)
        a.known[me] = ("tcp:host=127.0.0.1:port=9", bytes(32))
    for me in ids[:2]:
        for _ in range(200):
            a.links.send(me, packet(1))
            assert a.links.memory.total <= bound
    assert a.links.counters.full > 100
    a.links.send(ids[2], packet(3))
    assert a.links.counters.dropped == {}  # they are slow, not hostile
    raws[2].transport.resumeProducing()
    await until(lambda: raws[2].data.endswith(cut(packet(3))[0]), "a small one still gets its message")


@pytest_twisted.ensureDeferred
async def test_what_waits_for_nodes_that_are_down_is_bounded_together(stage: Stage) -> None:
    bound = 10 * GEOMETRY.frame
    a = stage.node("anna", limits=limits(link_memory=bound))
    for number in range(5):
        peer = str(number).encode().ljust(32, b".")
        a.known[peer] = ("tcp:host=127.0.0.1:port=9", bytes(32))
        for _ in range(5):
            a.links.send(peer, packet(number))
            assert a.links.memory.total <= bound
    assert a.links.counters.full >= 15


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_let_go(stage: Stage) -> None:
    """`close` waits for the peer's answer, but not for ever."""
    a = stage.node("anna", HASTY)
    await a.listen()
    raw, me = await stage.introduced(a)
    raw.transport.pauseProducing()
    link_of(a, me).close("we want to")
    await until(lambda: a.saw_last("down", me))
    assert a.links._links == set()
    assert stage.lines == []


# callers


@pytest_twisted.ensureDeferred
async def test_idle_connections_push_each_other_out(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_pending=8))
    await a.listen()
    quiet = await stage.raw(a, "127.0.0.3")
    watch = Watch(lambda: a.links.callers.pending <= 8)
    idle = [await stage.raw(a) for _ in range(40)]
    await until(lambda: a.links.counters.dropped["crowd"] == 33)
    await until(lambda: sum(raw.lost is not None for raw in idle) == 33)
    assert all(raw.lost is not None for raw in idle[:33])  # the oldest went
    assert quiet.lost is None  # nobody else of his address came
    await honest_passes(stage, a)
    watch.stop()
    assert len(stage.lines) == NODE_LIMITS.link_log_burst
    assert set(stage.lines) == {"dropped a link: too many callers have not said who they are"}


@pytest_twisted.ensureDeferred
async def test_who_has_begun_tls_is_not_pushed_out_by_the_silent(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_pending=4))
    await a.listen()
    slow, mine = await stage.raw_tls(a)
    await until(lambda: any(link.heard for link in a.links._links))
    for _ in range(20):
        await stage.raw(a)
    await until(lambda: a.links.counters.dropped["crowd"] == 17)
    slow.transport.write(cut(Frame(HELLO, 0, b"slow".ljust(32, b".") + mine))[0])
    await until(lambda: a.events == [("up", b"slow".ljust(32, b"."))])


@pytest_twisted.ensureDeferred
async def test_an_address_that_comes_too_often(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_address_burst=3, link_address_refill=1e9))
    await a.listen()
    came = [await stage.raw(a, "127.0.0.2") for _ in range(10)]
    await until(lambda: sum(raw.lost is not None for raw in came) == 7)
    assert a.links.callers.refused == 7
    assert a.links.callers.pending == 3
    other = await stage.raw(a, "127.0.0.3")
    await until(lambda: a.links.callers.pending == 4)
    assert other.lost is None
    await honest_passes(stage, a)
    assert set(stage.lines) == {"refused a connection: its address comes too often"}


@pytest_twisted.ensureDeferred
async def test_a_peer_that_reconnects_in_a_loop(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_peer_burst=3, link_peer_refill=1e9))
    await a.listen()
    me = b"mallory".ljust(32, b".")
    for _ in range(3):
        raw, _ = await stage.introduced(a)
        raw.transport.loseConnection()
        await raw.gone()
        await until(lambda: a.saw_last("down", me))
    for _ in range(2):
        raw, mine = await stage.raw_tls(a)
        raw.transport.write(cut(Frame(HELLO, 0, me + mine))[0])
        await raw.gone()
    assert a.events == [("up", me), ("down", me)] * 3
    assert stage.lines == ["dropped a link: the peer opens links too often"] * 2
    await honest_passes(stage, a)


@pytest_twisted.ensureDeferred
async def test_a_third_link_of_one_peer_ends_its_oldest(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raws: list[Raw] = []
    for _ in range(4):
        raw, me = await stage.introduced(a)
        raws.append(raw)
        hellos = len(raws)
        await until(lambda hellos=hellos: a.hellos == hellos)
    await raws[0].gone()
    await raws[1].gone()
    assert len(a.links._peers[me].links) == NODE_LIMITS.link_same_peer
    raws[3].transport.write(cut(packet(1))[0])
    await until(lambda: a.frames == [(me, packet(1))])
    assert a.events == [("up", me)]


@pytest_twisted.ensureDeferred
async def test_strangers_make_room_for_callers(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_callers=3))
    await a.listen()
    raws = {}
    for name, known in (("oldest", True), ("stranger", False), ("young", True)):
        raws[name], me = await stage.introduced(a, name)
        if known:
            a.known[me] = ("tcp:host=127.0.0.1:port=9", bytes(32))
    await stage.introduced(a, "newcomer")
    await raws["stranger"].gone()
    assert raws["oldest"].lost is raws["young"].lost is None
    assert a.links.callers.up == 3


# elsewhere


@pytest_twisted.ensureDeferred
async def test_a_peer_of_another_network_is_counted_and_told_at_a_bounded_rate(stage: Stage) -> None:
    a = stage.node("anna", limits=limits(link_log_burst=2))
    await a.listen()

    def foreign(raw: bytes, cert_hash: bytes) -> bytes:
        raise ForeignNetwork("the peer is on another network or has other parameters")

    a.on_hello = foreign
    for _ in range(5):
        raw, mine = await stage.raw_tls(a)
        raw.transport.write(cut(Frame(HELLO, 0, b"somewhere".ljust(32, b".") + mine))[0])
        await raw.gone()
    assert a.links.counters.dropped == {"foreign": 5}
    assert stage.lines == ["dropped a link: the peer is on another network or has other parameters"] * 2


@pytest_twisted.ensureDeferred
async def test_a_defect_in_the_node_costs_one_link(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, me = await stage.introduced(a)
    a.refuse = ZeroDivisionError
    raw.transport.write(cut(packet(1))[0] * 2)
    await until(lambda: a.saw_last("down", me))
    a.refuse = None
    await honest_passes(stage, a)
    assert "dropped a link: a defect in this node" in stage.lines
