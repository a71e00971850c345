"""Links over real TLS sockets on loopback.

No test waits for a time to pass: each waits for what must happen (`Node.until`), with a limit after which it
is red.
"""

from __future__ import annotations

import dataclasses
import functools

import pytest
import pytest_twisted
from link_stage import HASTY, PATIENT, Node, Raw, Stage, packet, stage, until
from OpenSSL import SSL
from OpenSSL._util import lib as openssl
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from mixmail.directory.peer_clocks import PeerClocks, pack_hello, parse_hello
from mixmail.effects import Frame
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.link import certificate, tls
from mixmail.link.frames import FrameReader, cut
from mixmail.link.protocol import HELLO
from mixmail.params import GEOMETRY

__all__ = ["stage"]  # a fixture
PACKET = 1


# what must work


@pytest_twisted.ensureDeferred
async def test_packets_go_both_ways(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    b.links.send(a.id, packet(2))
    await until(lambda: a.got(b))
    assert b.got(a) == [packet(1)]
    assert a.got(b) == [packet(2)]
    assert a.events == [("up", b.id)]
    assert b.events == [("up", a.id)]
    assert a.links.peers() == [b.id]
    assert (a.hellos, b.hellos) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_observers_and_counters_see_each_frame_at_the_socket(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    hello = cut(Frame(HELLO, 0, a.hello()))
    assert [wire for way, _, wire in b.wires if way == "in"] == hello + cut(packet(1))
    assert ("out", b.id, cut(packet(1))[0]) in a.wires
    assert ("in", a.id, cut(packet(1))[0]) in b.wires
    assert {len(wire) for _, _, wire in a.wires + b.wires} == {32_800}
    assert a.links.counters.frames_out == b.links.counters.frames_in == {HELLO: 1, PACKET: 1}
    assert b.links.counters.bytes_in[PACKET] == 32_800


@pytest_twisted.ensureDeferred
async def test_tls_is_1_3_with_the_hybrid_group_on_both_sides(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    for node in (a, b):
        (link,) = node.links._links
        connection = link.transport.getHandle()
        assert connection.get_group_name() == "X25519MLKEM768"
        assert connection.get_protocol_version_name() == "TLSv1.3"
        assert connection.get_cipher_name() == "TLS_CHACHA20_POLY1305_SHA256"
        assert connection.get_peer_certificate() is not None


@pytest_twisted.ensureDeferred
async def test_a_hundred_messages_in_order(stage: Stage) -> None:
    a, b = await stage.pair()
    sent = [packet(number, 4 * number) for number in range(100)]
    for frame in sent:
        a.links.send(b.id, frame)
    await until(lambda: len(b.got(a)) == 100)
    assert b.got(a) == sent


@pytest_twisted.ensureDeferred
async def test_long_messages_come_back_whole(stage: Stage) -> None:
    a, b = await stage.pair()
    sent = [packet(3, 3 * GEOMETRY.packet), packet(4, 2 * GEOMETRY.packet + 1), packet(5, GEOMETRY.message)]
    for frame in sent:
        a.links.send(b.id, frame)
    await until(lambda: len(b.got(a)) == 3)
    assert b.got(a) == sent
    assert b.links.counters.frames_in[PACKET] == 3 + 3 + 32
    with pytest.raises(LocalProtocolError):
        a.links.send(b.id, packet(6, GEOMETRY.message + 1))


@pytest_twisted.ensureDeferred
async def test_both_sides_call_at_once(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    b.links.send(a.id, packet(2))
    await until(lambda: a.got(b) and b.got(a))
    await until(lambda: a.hellos == b.hellos == 2, "the second link")
    await until(lambda: len(a.links._peers[b.id].links) == 2)
    _, younger = a.links._peers[b.id].links
    younger.send = None  # type: ignore[assignment,method-assign]
    for number in range(3, 30):
        a.links.send(b.id, packet(number, 9))
        b.links.send(a.id, packet(number, 9))
    await until(lambda: len(a.got(b)) == len(b.got(a)) == 28)
    assert [frame.stream for frame in a.got(b)] == [2, *range(3, 30)]
    assert [frame.stream for frame in b.got(a)] == [1, *range(3, 30)]
    assert a.events == [("up", b.id)]
    await b.links.close()
    await until(lambda: ("down", b.id) in a.events)
    assert a.events == [("up", b.id), ("down", b.id)]


@pytest_twisted.ensureDeferred
async def test_a_seed_is_reached_by_endpoint_and_hash(stage: Stage) -> None:
    a, b = await stage.pair()
    a.known.clear()
    where = f"tcp:host=127.0.0.1:port={b.port}"
    assert await a.links.connect_seed(where, b.certificate.hash) == b.id
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    for endpoint, cert_hash, code in (
        (where, bytes(32), "unreachable"),
        ("unix:/tmp/x", b.certificate.hash, "endpoint"),
    ):
        with pytest.raises(UserError) as caught:
            await a.links.connect_seed(endpoint, cert_hash)
        assert caught.value.code == code


@pytest_twisted.ensureDeferred
async def test_a_peer_that_starts_later_gets_what_waits(stage: Stage) -> None:
    a, b = await stage.pair()
    port = b.port
    await b.links.close()
    a.links.send(b.id, packet(1))
    await until(lambda: a.links.counters.failed_connects)
    again = stage.node("bert2")
    again.id = b.id
    await again.listen(port)
    a.knows(again)
    await until(lambda: again.got(a))
    assert again.got(a) == [packet(1)]


@pytest_twisted.ensureDeferred
async def test_an_idle_link_ends_and_the_next_message_opens_another(stage: Stage) -> None:
    a, b = await stage.pair(dataclasses.replace(HASTY, link_idle=0.2))
    a.links.send(b.id, packet(1))
    await until(lambda: ("down", b.id) in a.events and ("down", a.id) in b.events)
    a.links.send(b.id, packet(2))
    await until(lambda: len(b.got(a)) == 2)
    assert stage.lines == []


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_service(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    await b.links.close()
    await until(lambda: ("down", b.id) in a.events)
    assert b.links.peers() == a.links.peers() == []
    with pytest.raises(Exception, match="refused"):
        await stage.raw(b)
    stage.raws.clear()
    b.links.send(a.id, packet(2))  # is dropped, not an error
    await b.links.close()


@pytest_twisted.ensureDeferred
async def test_what_follows_a_hello_in_the_same_bytes_may_be_long(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, mine = await stage.raw_tls(a)
    me = b"mallory".ljust(32, b".")
    long = Frame(PACKET, 7, bytes([5]) * (GEOMETRY.packet + 1))
    data = b"".join(cut(Frame(HELLO, 0, me + mine)) + cut(long))
    most = GEOMETRY.frame - 1_000  # so that the next 64 KiB hold the end of the HELLO and a whole frame
    raw.transport.write(data[:most])
    await until(lambda: any(link._reader.unfinished for link in a.links._links))
    raw.transport.write(data[most:])
    await until(lambda: a.frames or raw.lost)
    assert a.frames == [(me, long)]


@pytest_twisted.ensureDeferred
async def test_a_flush_sends_at_once_and_a_close_sends_before_it_ends(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    a.wires.clear()
    a.links.send(b.id, packet(2))
    assert a.wires == []  # waits for more until the reactor's next turn
    a.links.flush()
    assert [way for way, _, _ in a.wires] == ["out"]
    a.links.send(b.id, packet(3))
    await a.links.close()
    await until(lambda: len(b.got(a)) == 3)


# limits


@pytest_twisted.ensureDeferred
async def test_a_full_queue_drops_the_newest(stage: Stage) -> None:
    a, b = await stage.pair(dataclasses.replace(PATIENT, link_queue=8))
    a.links.send(b.id, packet(0))
    await until(lambda: b.got(a))
    for number in range(1, 200):
        a.links.send(b.id, packet(number))
    full = a.links.counters.full
    assert 100 < full <= 191
    await until(lambda: len(b.got(a)) == 200 - full)
    assert [frame.stream for frame in b.got(a)] == list(range(200 - full))


@pytest_twisted.ensureDeferred
async def test_the_queue_before_the_link_is_bounded_too(stage: Stage) -> None:
    a, b = await stage.pair(dataclasses.replace(PATIENT, link_queue=8))
    for number in range(20):
        a.links.send(b.id, packet(number))
    assert a.links.counters.full == 12
    await until(lambda: len(b.got(a)) == 8)
    a.links.send(b"nobody".ljust(32, b"."), packet(1))
    assert a.links.counters.unknown == 1


@pytest_twisted.ensureDeferred
async def test_what_waits_for_a_dead_peer_is_forgotten(stage: Stage) -> None:
    a, b = await stage.pair(HASTY)
    await b.links.close()
    a.links.send(b.id, packet(1))
    await until(lambda: a.links.counters.late == 1)
    await until(lambda: not a.links._peers)


# peers that are not who they should be


@pytest_twisted.ensureDeferred
async def test_another_certificate_than_the_pinned_one_is_refused(stage: Stage) -> None:
    a, b = await stage.pair()
    a.known[b.id] = (a.known[b.id][0], bytes(32))
    a.links.send(b.id, packet(1))
    await until(lambda: a.links.counters.failed_connects and b.links.counters.dropped_links)
    assert a.hellos == b.hellos == 0
    assert not [wire for way, _, wire in b.wires if way == "in"]
    assert any("certificate" in line for line in stage.lines)


@pytest_twisted.ensureDeferred
async def test_a_client_whose_descriptor_names_another_certificate(stage: Stage) -> None:
    a, b = await stage.pair()
    a.claimed_hash = bytes(32)
    a.links.send(b.id, packet(1))
    # in TLS 1.3, and with a HELLO each way, the client believes for a moment that the link stands
    await until(lambda: b.links.counters.dropped_links == 1)
    await until(lambda: not a.links.peers())
    assert b.events == [] and b.got(a) == []
    assert "dropped a link: the descriptor names another certificate" in stage.lines


@pytest_twisted.ensureDeferred
async def test_a_link_that_ended_soon_is_not_opened_at_once(stage: Stage) -> None:
    a, b = await stage.pair()
    a.links.send(b.id, packet(1))
    await until(lambda: b.got(a))
    (link,) = b.links._links
    link.drop("of a whim")
    await until(lambda: not a.links.peers())
    record = a.links._peers[b.id]
    assert record.retry is not None
    a.links.send(b.id, packet(2))
    assert not record.connecting
    record.retry.reset(0)
    await until(lambda: len(b.got(a)) == 2)


@pytest_twisted.ensureDeferred
async def test_another_node_at_the_endpoint(stage: Stage) -> None:
    a, b = await stage.pair()
    stranger = b"somebody else".ljust(32, b".")
    a.known[stranger] = a.known[b.id]
    a.links.send(stranger, packet(1))
    await until(lambda: a.links.counters.dropped_links == 1)
    assert a.links.peers() == []
    assert b.got(a) == []


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_certificate(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, _ = await stage.raw_tls(a, SSL.Context(SSL.TLS_METHOD))
    await raw.gone()
    await until(lambda: a.links.counters.dropped_links == 1)
    assert stage.lines == ["dropped a link: no TLS with the peer (peer did not return a certificate)"]
    assert a.wires == []


@pytest_twisted.ensureDeferred
async def test_an_older_tls(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    context = tls.make_context(a.certificate)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    raw, _ = await stage.raw_tls(a, context)
    await raw.gone()
    await until(lambda: a.links.counters.dropped_links == 1)
    assert a.wires == []


def without_hybrid_group(mine: certificate.Certificate) -> SSL.Context:
    context = tls.make_context(mine)
    assert openssl.SSL_CTX_set1_curves_list(context._context, b"X25519") == 1
    return context


@pytest_twisted.ensureDeferred
async def test_a_client_without_the_hybrid_group(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, _ = await stage.raw_tls(a, without_hybrid_group(a.certificate))
    await raw.gone()
    assert "dropped a link: link with key exchange x25519 instead of X25519MLKEM768" in stage.lines
    assert a.wires == [] and raw.data == b""


@pytest_twisted.ensureDeferred
async def test_a_server_without_the_hybrid_group(stage: Stage) -> None:
    a, b = stage.node("anna"), stage.node("bert")
    raw = Raw()
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
        tls.server_factory(reactor, without_hybrid_group(b.certificate), Factory.forProtocol(lambda: raw))
    )
    stage.ports.append(port)
    a.knows(b, port.getHost().port)
    a.links.send(b.id, packet(1))
    await until(lambda: a.links.counters.dropped_links == 1)
    assert "dropped a link: link with key exchange x25519 instead of X25519MLKEM768" in stage.lines
    assert a.wires == []
    await raw.gone()


# peers that misbehave


@pytest_twisted.ensureDeferred
async def test_garbage_instead_of_tls(stage: Stage) -> None:
    a, b = await stage.pair()
    raw = await stage.raw(a)
    raw.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await raw.gone()
    await until(lambda: len(stage.lines) == 1)
    assert stage.lines[0].startswith("dropped a link: no TLS with the peer (")
    b.links.send(a.id, packet(1))  # others do not notice
    await until(lambda: a.got(b))


@pytest_twisted.ensureDeferred
async def test_something_else_than_hello(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    for first, reason in (
        (b"\xff" * GEOMETRY.frame, "frame header with a reserved value"),
        (cut(packet(1))[0], "first frame is not HELLO"),
        (cut(Frame(HELLO, 0, b"no descriptor"))[0], "the descriptor names another certificate"),
        (cut(packet(1, 40_000))[0], "message of more than 1 frames"),
    ):
        raw, _ = await stage.raw_tls(a)
        raw.transport.write(first)
        await raw.gone()
        assert stage.lines.pop() == f"dropped a link: {reason}"
    assert a.events == [] and a.frames == []


class Clocked(Node):
    """A node whose HELLO is as the daemon's: a descriptor (its id and zeros) and a clock."""

    ahead = 0.0

    def now(self) -> float:
        return 2_000_000_000.0 + self.ahead

    def hello(self) -> bytes:
        return pack_hello(self.id.ljust(GEOMETRY.descriptor, b"\0"), self.now())

    def on_hello(self, raw: bytes, cert_hash: bytes) -> bytes:
        descriptor, theirs = parse_hello(raw)
        PeerClocks(PATIENT).check(theirs, self.now())
        return descriptor[:32]


@pytest_twisted.ensureDeferred
async def test_both_ends_of_a_refused_link_say_that_the_clocks_differ(stage: Stage) -> None:
    a, b = Clocked(stage.folder, "anna"), Clocked(stage.folder, "bert")
    stage.nodes += [a, b]
    for node in (a, b):
        await node.listen()
    a.knows(b)
    b.knows(a)
    for caller, answerer, ahead in ((a, b, 7_200.0), (b, a, -7_200.0)):
        b.ahead = ahead
        with pytest.raises(UserError, match="clock and ours differ by about 2 h"):
            await caller.links.connect_seed(
                f"tcp:host=127.0.0.1:port={answerer.port}", answerer.certificate.hash
            )
        await until(lambda: len(stage.lines) == 2)
        assert stage.lines == ["dropped a link: the peer's clock and ours differ by about 2 h"] * 2
        stage.lines.clear()
        assert not (a.events or b.events or a.links.peers() or b.links.peers())
    assert a.links.counters.dropped_links == b.links.counters.dropped_links == 2
    for b.ahead in (600.0, -600.0):
        a.links.send(b.id, packet(1))
        await until(lambda: a.links.peers() == [b.id])
    await until(lambda: len(b.got(a)) == 2)


@pytest_twisted.ensureDeferred
async def test_garbage_after_hello(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    for garbage in (b"\0" * GEOMETRY.frame, cut(Frame(HELLO, 0, b"again"))[0]):
        raw, me = await stage.introduced(a)
        raw.transport.write(cut(packet(1))[0] + garbage)
        await raw.gone()
        await until(functools.partial(a.saw_last, "down", me))
    assert len(stage.lines) == 2


@pytest_twisted.ensureDeferred
async def test_silent_peers(stage: Stage) -> None:
    a = stage.node("anna", HASTY)
    await a.listen()
    tcp = await stage.raw(a)
    hello, _ = await stage.raw_tls(a)
    await tcp.gone()
    await hello.gone()
    assert stage.lines == ["dropped a link: the peer did not say who it is in time"] * 2
    assert FrameReader().feed(hello.data) == [Frame(HELLO, 0, a.hello())]


@pytest_twisted.ensureDeferred
async def test_a_peer_that_stops_half_way(stage: Stage) -> None:
    a = stage.node("anna", HASTY)
    await a.listen()
    half_frame = cut(packet(1))[0][:20_000]
    half_message = cut(packet(1, 100_000))[0]
    for half in (half_frame, half_message):
        raw, me = await stage.introduced(a)
        raw.transport.write(cut(packet(9))[0] + half)
        await raw.gone()
        assert a.frames.pop() == (me, packet(9))
        await until(functools.partial(a.saw_last, "down", me))
        assert stage.lines.pop() == "dropped a link: the peer stopped half-way"


@pytest_twisted.ensureDeferred
async def test_a_quiet_peer_is_not_half_way(stage: Stage) -> None:
    a = stage.node("anna", HASTY)
    await a.listen()
    raw, me = await stage.introduced(a, "quiet")
    other, _ = await stage.introduced(a, "half")
    other.transport.write(b"\1")
    await other.gone()  # by then the quiet one has been quiet for as long
    raw.transport.write(cut(packet(1))[0])
    await until(lambda: a.frames)
    assert a.frames == [(me, packet(1))]


@pytest_twisted.ensureDeferred
async def test_a_peer_that_leaves(stage: Stage) -> None:
    a = stage.node("anna")
    await a.listen()
    raw, me = await stage.introduced(a)
    raw.transport.write(cut(packet(1))[0] + b"\1" * 99)
    raw.transport.loseConnection()
    await until(lambda: ("down", me) in a.events)
    assert a.frames == [(me, packet(1))]
    assert stage.lines == []


@pytest_twisted.ensureDeferred
async def test_a_message_that_the_node_refuses_costs_only_itself(stage: Stage) -> None:
    a, b = await stage.pair()
    b.refuse = RemoteProtocolError
    a.links.send(b.id, packet(1))
    await until(lambda: b.links.counters.broken == 1)
    b.refuse = None
    a.links.send(b.id, packet(2))
    await until(lambda: b.got(a))
    assert b.events == [("up", a.id)]


@pytest_twisted.ensureDeferred
async def test_a_hostile_endpoint_in_a_descriptor(stage: Stage) -> None:
    a, b = await stage.pair()
    a.known[b.id] = ("unix:/run/secret.sock", b.certificate.hash)
    a.links.send(b.id, packet(1))
    assert a.links.counters.failed_connects == 1


@pytest_twisted.ensureDeferred
async def test_a_port_in_use(stage: Stage) -> None:
    a, b = stage.node("anna"), stage.node("bert")
    await a.listen()
    with pytest.raises(UserError) as caught:
        await b.listen(a.port)
    assert caught.value.code == "port"
    assert str(a.port) in caught.value.message and "\n" not in caught.value.message
    with pytest.raises(UserError) as caught:
        await b.links.listen("nonsense")
    assert caught.value.code == "endpoint"
