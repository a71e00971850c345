"""Nodes, raw peers and log lines for tests of links over real TLS sockets on loopback.

No test waits for a time to pass: each waits for what must happen (`until`), with a limit after which it is
red.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from mixmail.effects import Frame
from mixmail.errors import RemoteProtocolError
from mixmail.link import certificate, tls
from mixmail.link.frames import cut
from mixmail.link.protocol import HELLO
from mixmail.link.service import LinkService
from mixmail.params import DEMO, GEOMETRY, NODE_LIMITS, NetworkParameters, NodeLimits

PACKET = 1
TOO_LONG = 10.0  # seconds after which a test is red
PATIENT = dataclasses.replace(DEMO, link_timeout=2 * TOO_LONG)
HASTY = dataclasses.replace(DEMO, link_timeout=0.4)


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Let the reactor turn until `condition` holds."""
    end = reactor.seconds() + TOO_LONG
    while not condition():
        assert reactor.seconds() < end, f"still waiting for {what or condition}"
        await deferLater(reactor, 0.005, lambda: None)


class Node:
    """A node that knows where the others are; its descriptor is id | certificate hash."""

    def __init__(
        self,
        folder: Path,
        name: str,
        params: NetworkParameters = PATIENT,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        self.id = name.encode().ljust(32, b".")
        (folder / name).mkdir()
        self.certificate = certificate.make(folder / name)
        self.claimed_hash = self.certificate.hash
        self.known: dict[bytes, tuple[str, bytes]] = {}
        self.frames: list[tuple[bytes, Frame]] = []
        self.events: list[tuple[str, bytes]] = []
        self.hellos = 0
        self.refuse: type[Exception] | None = None
        self.wires: list[tuple[str, bytes, bytes]] = []
        self.links = LinkService(reactor, self, self.certificate, params, limits=limits)
        self.links.observers.append(lambda *seen: self.wires.append(seen))
        self.port = 0

    async def listen(self, port: int = 0) -> None:
        self.port = await self.links.listen(f"tcp:{port}:interface=127.0.0.1")

    def knows(self, other: Node, port: int | None = None) -> None:
        self.known[other.id] = (f"tcp:host=127.0.0.1:port={port or other.port}", other.certificate.hash)

    def saw_last(self, event: str, peer: bytes) -> bool:
        return self.events[-1] == (event, peer)

    def got(self, other: Node) -> list[Frame]:
        return [frame for peer, frame in self.frames if peer == other.id]

    # LinkCallbacks

    def hello(self) -> bytes:
        return self.id + self.claimed_hash

    def on_hello(self, raw_descriptor: bytes, cert_hash: bytes) -> bytes:
        self.hellos += 1
        if len(raw_descriptor) != 64 or raw_descriptor[32:] != cert_hash:
            raise RemoteProtocolError("the descriptor names another certificate")
        return raw_descriptor[:32]

    def on_frame(self, peer: bytes, frame: Frame) -> None:
        if self.refuse is not None:
            raise self.refuse("not this one")
        self.frames.append((peer, frame))

    def on_link_up(self, peer: bytes) -> None:
        self.events.append(("up", peer))

    def on_link_down(self, peer: bytes) -> None:
        self.events.append(("down", peer))

    def resolve(self, peer: bytes) -> tuple[str, bytes] | None:
        return self.known.get(peer)


class Raw(Protocol):
    """A peer that sends what the test wants; keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Exception | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason.value

    async def gone(self) -> None:
        await until(lambda: self.lost is not None, "the end of the connection")


class Stage:
    """The nodes, raw peers and log lines of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Node] = []
        self.ports: list[Any] = []
        self.raws: list[Raw] = []
        self.lines: list[str] = []

    def log(self, event: Any) -> None:
        if event["log_level"] >= LogLevel.info and event["log_namespace"].startswith("mixmail"):
            self.lines.append(formatEvent(event))

    def node(self, name: str, params: NetworkParameters = PATIENT, limits: NodeLimits = NODE_LIMITS) -> Node:
        node = Node(self.folder, name, params, limits)
        self.nodes.append(node)
        return node

    async def pair(self, params: NetworkParameters = PATIENT) -> tuple[Node, Node]:
        a, b = self.node("anna", params), self.node("bert", params)
        await a.listen()
        await b.listen()
        a.knows(b)
        b.knows(a)
        return a, b

    async def raw(self, node: Node, source: str = "127.0.0.1") -> Raw:
        """A plain TCP connection to `node` from the address `source`."""
        raw = Raw()
        self.raws.append(raw)
        await clientFromString(reactor, f"tcp:host=127.0.0.1:port={node.port}:bindAddress={source}").connect(
            Factory.forProtocol(lambda: raw)
        )
        return raw

    async def raw_tls(
        self, node: Node, context: SSL.Context | None = None, expected: bytes | None = None
    ) -> tuple[Raw, bytes]:
        """A TLS connection to `node` with a certificate of its own (and its hash)."""
        folder = self.folder / f"raw{len(self.raws)}"
        folder.mkdir()
        mine = certificate.make(folder)
        raw = Raw()
        self.raws.append(raw)
        wrapped = tls.client_factory(
            reactor,
            context or tls.make_context(mine),
            expected or node.certificate.hash,
            Factory.forProtocol(lambda: raw),
        )
        await clientFromString(reactor, f"tcp:host=127.0.0.1:port={node.port}").connect(wrapped)
        return raw, mine.hash

    async def introduced(self, node: Node, name: str = "mallory") -> tuple[Raw, bytes]:
        """A TLS peer whose HELLO was accepted, and its id."""
        raw, mine = await self.raw_tls(node)
        me = name.encode().ljust(32, b".")
        raw.transport.write(cut(Frame(HELLO, 0, me + mine))[0])
        await until(lambda: ("up", me) in node.events)
        return raw, me


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    globalLogPublisher.addObserver(made.log)
    yield made
    globalLogPublisher.removeObserver(made.log)
    for raw in made.raws:
        if raw.transport is not None and raw.lost is None:
            raw.transport.abortConnection()
            await raw.gone()
    for node in made.nodes:
        await node.links.close()
    for port in made.ports:
        await port.stopListening()
    # no address of anybody in what was logged at level info or above
    assert not [line for line in made.lines if "127.0.0." in line]


def packet(number: int, size: int = GEOMETRY.packet) -> Frame:
    return Frame(PACKET, number, number.to_bytes(4, "big") * (size // 4) + bytes(size % 4))
