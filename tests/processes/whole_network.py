"""Twelve daemons in this process over real TLS links on loopback, and everything that crosses the links.

Nothing of the product is replaced.  What is added looks on: an observer on every link service, and around
`draw_route` and `Queries.send` a note of what they returned, so that frames can be told apart afterwards with
the nodes' own keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from waiting import until

from mixmail.agent import queries
from mixmail.agent.commands import AddContact, CreateIdentity, SendMail
from mixmail.agent.queries import Queries
from mixmail.boxes import query as boxquery
from mixmail.boxes.query import Answer, CourierReply, CourierRequest, Query, QueryOp
from mixmail.boxes.status import Status
from mixmail.crypto import kem
from mixmail.daemon import devnet, service
from mixmail.daemon.echo import Echo
from mixmail.daemon.service import Daemon
from mixmail.directory.path import Route
from mixmail.directory.view import View
from mixmail.errors import RemoteProtocolError
from mixmail.mail import message
from mixmail.mail.address import Address
from mixmail.node.keys import NodeKeys
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.surb import SurbKeys, open_surb_reply, use_surb
from mixmail.sphinx.unwrap import open_header

HEAD = GEOMETRY.frame_header
SECOND_LAYER = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """One wire frame at one end of a link; `digest` is of its 32,768 payload bytes."""

    at: float
    node: bytes
    out: bool
    peer: bytes
    kind: int
    stream: int
    digest: int


@dataclass(slots=True)
class Drawn:
    """One call of `draw_route`."""

    own_id: bytes
    route: Route
    rng: Randomness
    at: float
    known: int  # eligible nodes in the view


@dataclass(slots=True)
class Sent:
    """One query as it left its agent."""

    own_id: bytes
    op: QueryOp
    real: bool
    route: Route
    packet: bytes
    surb_id: bytes
    surb_keys: SurbKeys
    reply_key: bytes
    at: float


@dataclass(slots=True)
class Step:
    """A packet at one hop: as it came, as it goes on, what the hop's command says."""

    node: bytes
    packet: bytes
    command: Command
    content: bytes


@dataclass(slots=True)
class Recorder:
    """What crossed all links, and what should not have."""

    secret: list[bytes] = field(default_factory=list)  # in no frame at all
    sealed: list[bytes] = field(default_factory=list)  # parts of records: between proxies and homes only
    frames: list[Seen] = field(default_factory=list)
    answers: dict[tuple[bytes, int], bytes] = field(default_factory=dict)  # (courier, stream): sealed answer
    wrong: list[str] = field(default_factory=list)
    routes: list[Drawn] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    by_digest: dict[int, list[Seen]] = field(default_factory=dict)

    def watch(self, daemon: Daemon) -> None:
        """Record every wire frame of this daemon."""
        own = daemon.node.node_id

        def saw(direction: str, peer: bytes, wire: bytes) -> None:
            kind, out = wire[0], direction == "out"
            stream = int.from_bytes(wire[4:8], "big")
            payload = wire[HEAD:]
            seen = Seen(daemon.now(), own, out, peer, kind, stream, hash(payload))
            self.frames.append(seen)
            self.by_digest.setdefault(seen.digest, []).append(seen)
            if len(wire) != GEOMETRY.frame:
                self.wrong.append(f"a frame of {len(wire)} bytes")
            if kind == Kind.PACKET and wire[1:HEAD] != _PACKET_HEAD:
                self.wrong.append(f"a packet frame with the header {wire[:HEAD].hex()}")
            if not out:
                return  # the same bytes were looked at when they left their sender
            if kind == Kind.PROXY_REPLY:
                self.answers[peer, stream] = payload[: GEOMETRY.reply_ct]
            for needle in self.secret:
                if needle in wire:
                    self.wrong.append(f"{needle!r} in a frame of kind {kind}")
            if kind not in (Kind.HOME_QUERY, Kind.HOME_REPLY, Kind.RECORD):
                for needle in self.sealed:
                    if needle in wire:
                        self.wrong.append(f"a piece of a record in a frame of kind {kind}")

        daemon.links.observers.append(saw)

    def listen_in(self, patch: pytest.MonkeyPatch) -> None:
        """Note every route that is drawn and every query that is made of it."""
        draw, send = queries.draw_route, Queries.send

        def noted_draw(
            view: View,
            own_id: bytes,
            now: float,
            rng: Randomness,
            avoid: frozenset[bytes],
            used: frozenset[bytes],
        ) -> Route:
            route = draw(view, own_id, now, rng, avoid, used)
            self.routes.append(Drawn(own_id, route, rng, now, len(view.eligible(now))))
            return route

        def noted_send(this: Queries, task: queries.Task, now: float, avoid: frozenset[bytes]) -> Any:
            effects, way = send(this, task, now, avoid)
            surb_id, flight = next(reversed(this._in_flight.items()))
            route = self.routes[-1].route
            packet = effects[0].frame.payload  # type: ignore[union-attr]
            note = Sent(
                this._own_id, task.op, task.real, route, packet, surb_id, flight.keys, flight.reply_key, now
            )
            if task.real:
                self.sent.append(note)
            return effects, way

        patch.setattr(queries, "draw_route", noted_draw)
        patch.setattr(Queries, "send", noted_send)

    def find(self, node: bytes, out: bool, payload: bytes, kind: int = Kind.PACKET) -> Seen | None:
        """When these bytes came to or left a node."""
        digest = hash(payload + bytes(GEOMETRY.packet - len(payload)))
        for seen in self.by_digest.get(digest, ()):
            if seen.node == node and seen.out == out and seen.kind == kind:
                return seen
        return None


_PACKET_HEAD = b"\0" + GEOMETRY.packet.to_bytes(2, "big") + bytes(HEAD - 4)


class WholeNetwork:
    """The twelve daemons, by name and by node id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorder = Recorder()
        self.daemons: dict[str, Daemon] = {}
        self.events: list[tuple[str, Any]] = []
        self._out: dict[bytes, list[Step]] = {}
        self._back: dict[bytes, list[Step]] = {}

    # life

    def create(self) -> None:
        """Homes of a network in which neither you nor echo is a mix of the second layer."""
        devnet.create(
            self.folder, suits=lambda network, keys: not _second_layer(network, keys) & {"you", "echo"}
        )

    async def start(self, *names: str) -> None:
        """Start these nodes and watch their links."""
        fresh = {
            name: service.build(self.folder / name, reactor, reactor.getThreadPool())  # type: ignore[attr-defined]
            for name in names
        }
        self.daemons.update(fresh)
        await gatherResults([daemon.start() for daemon in fresh.values()], consumeErrors=True)
        for name, daemon in fresh.items():
            self.recorder.watch(daemon)
            daemon.listeners.append(lambda event, name=name: self.events.append((name, event)))

    async def know_each_other(self) -> None:
        """Until every view holds every node as it is now, with no node to come."""
        raw = {daemon.node.node_id: daemon.node.descriptor for daemon in self.daemons.values()}

        def complete() -> bool:
            return all(
                {item.node_id: item.raw for item in daemon.view.eligible(daemon.now())} == raw
                for daemon in self.daemons.values()
            )

        await until(complete, "all views are complete")

    async def stop(self, *names: str) -> None:
        """Stop these nodes."""
        await gatherResults([self.daemons[name].stop() for name in names], consumeErrors=True)

    def second_layer(self) -> list[str]:
        """The names of the mixes of the second layer."""
        you = self.daemons["you"]
        ids = {item.node_id for item in you.view.layers(you.now())[SECOND_LAYER]}
        return [name for name, daemon in self.daemons.items() if daemon.node.node_id in ids]

    # people

    async def meet_echo(self) -> None:
        """Echo gets its identity, you get yours and echo's address."""
        await Echo(self.daemons["echo"]).start()
        address = next(iter(self.daemons["echo"].agent.state.people))
        await self.daemons["you"].command(CreateIdentity("Ada Augusta Lovelace"))
        await self.daemons["you"].command(AddContact(address, "echo"))
        for text in (address, next(iter(self.daemons["you"].agent.state.people))):
            one = Address.parse(text)
            self.recorder.secret += [text.encode(), one.pack(), one.root]

    async def write(self, mail: message.Mail) -> str:
        """A mail to echo into your outbox; returns its id."""
        state = self.daemons["you"].agent.state
        command = SendMail(next(iter(state.contacts)), next(iter(state.people)), message.compose(mail))
        await self.daemons["you"].command(command)
        return mail.message_id.hex()

    async def inbox(self, name: str = "you") -> list[message.Mail]:
        """The mails in an inbox, newest first."""

        def read(profile: Any) -> list[bytes]:
            rows = [
                row for folder in ("inbox", "requests") for row in profile.list_mails(folder, 0, 1_000)[2]
            ]
            return [profile.get_mail(row["id"])["eml"] for row in rows]

        return [message.parse(raw) for raw in await self.daemons[name].in_profile(read)]

    # keys

    def by_id(self, node_id: bytes) -> Daemon:
        return next(daemon for daemon in self.daemons.values() if daemon.node.node_id == node_id)

    def mix_keys(self, node_id: bytes) -> list[kem.PrivateKey]:
        """The mix keys that a node holds, of all epochs."""
        return list(self.by_id(node_id).node._epochs._mix.values())

    def proxy_keys(self, node_id: bytes) -> list[tuple[int, kem.PrivateKey]]:
        """(epoch, key) of the proxy keys that a node holds."""
        return list(self.by_id(node_id).node._epochs._proxy.items())

    # following one query

    def peel(self, node_id: bytes, packet: bytes) -> Step:
        """What the node's own mix keys make of a packet."""
        header = open_header(self.mix_keys(node_id), packet)
        return Step(node_id, packet, header.command, header.finish())

    def way_out(self, sent: Sent) -> list[Step]:
        """The query's packet at each mix and at the courier, opened hop by hop."""
        if sent.surb_id not in self._out:
            self._out[sent.surb_id] = self._follow(sent.route.out[0].node_id, sent.packet)
        return self._out[sent.surb_id]

    def _follow(self, node_id: bytes, packet: bytes) -> list[Step]:
        steps: list[Step] = []
        while True:
            step = self.peel(node_id, packet)
            steps.append(step)
            if step.command.kind is not CommandKind.FORWARD:
                return steps
            packet, node_id = step.content, step.command.ident

    def request(self, sent: Sent) -> CourierRequest:
        """What the courier finds."""
        return CourierRequest.parse(self.way_out(sent)[-1].content)

    def query(self, sent: Sent) -> Query:
        """What the proxy finds."""
        proxy, network = sent.route.proxy.node_id, self.daemons["you"].network
        return boxquery.open_query(self.proxy_keys(proxy), network.hash, proxy, self.request(sent).blob)

    def question(self, sent: Sent) -> Seen | None:
        """The blob as it left the courier for the proxy."""
        return self.recorder.find(
            sent.route.courier.node_id, True, self.request(sent).blob, kind=Kind.PROXY_QUERY
        )

    def way_back(self, sent: Sent) -> list[Step] | None:
        """The answer's packet at each mix and at the sender; None if the proxy has not answered."""
        if sent.surb_id not in self._back:
            question = self.question(sent)
            sealed = question and self.recorder.answers.get((question.node, question.stream))
            if not sealed:
                return None
            first, packet = use_surb(self.request(sent).surb, CourierReply(Status.OK, sealed).pack())
            self._back[sent.surb_id] = self._follow(first, packet)
        return self._back[sent.surb_id]

    def answer(self, sent: Sent) -> Answer | None:
        """The answer that came back, opened with what only the sender has."""
        steps = self.way_back(sent)
        if steps is None:
            return None
        reply = CourierReply.parse(open_surb_reply(sent.surb_keys, steps[-1].content))
        return boxquery.open_answer(sent.reply_key, reply.sealed)

    def opens(self, keys: list[kem.PrivateKey], packet: bytes) -> bool:
        """Whether one of the keys opens a packet's header."""
        try:
            open_header(keys, packet)
        except RemoteProtocolError:
            return False
        return True


def _second_layer(network: Network, keys: dict[str, NodeKeys]) -> set[str]:
    """Who is a mix of the second layer when all these nodes are up: the view's own rule."""
    nodes: Any = tuple(SimpleNamespace(storage_id=k.storage_id, node_id=k.node_id) for k in keys.values())
    layer = View(network)._assign(nodes)
    return {name for name, k in keys.items() if layer[k.node_id] == SECOND_LAYER}
