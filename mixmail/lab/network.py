"""A whole network on a virtual clock: nodes and agents that ship, links that delay, lose and break.

    lab = LabNetwork(params, nodes=12, seed=1)
    lab.start()
    alice, bob = lab.host(0), lab.host(1)
    ...
    lab.run(60.0, until=lambda: ...)

The trace is the sequence of events (time, node, what, kind or size, mail) and never holds
ciphertext, so two runs with one seed have equal traces although KEM encapsulation is fresh each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mixmail.agent import events as agent_events
from mixmail.agent.core import Agent, Command
from mixmail.agent.tables import Row, Rows, apply_change
from mixmail.directory import puzzle
from mixmail.directory.peer_clocks import PeerClocks
from mixmail.directory.view import Checks, View
from mixmail.effects import Done, Effect, Emit, Frame, Offload, Persist, Send
from mixmail.errors import RemoteProtocolError
from mixmail.node import commands as node_commands
from mixmail.node import events as node_events
from mixmail.node.core import Node
from mixmail.node.keys import NodeKeys
from mixmail.params import DAY, GEOMETRY, Network, NetworkParameters, day_of
from mixmail.randomness import Randomness
from mixmail.testing import MemoryStore, SeededRandomness

from .scheduler import Scheduler

START = 20_000.0 * DAY + 40_000.0
"""Some noon, far from the turn of an epoch."""

PUZZLE_ATTEMPTS = 1_000
ROUNDING = 1e-6  # so that a machine with another clock never wakes before its moment


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something an observer of the lab sees."""

    time: float
    node: int
    what: str
    number: int
    mail: str


@dataclass(slots=True)
class Links:
    """How frames travel: latency uniform in [low, high] seconds, each lost with probability `loss`."""

    low: float = 0.005
    high: float = 0.050
    loss: float = 0.0
    lossy: frozenset[int] = frozenset()  # kinds of frames that are lost; none named: all


@dataclass
class LabHost:
    """One machine: a node with its agent, and what survives a crash of them."""

    number: int
    keys: NodeKeys
    node_id: bytes
    rng: Randomness
    store: MemoryStore
    tables: dict[str, dict[tuple[Any, ...], Row]] = field(default_factory=dict)
    node: Node | None = None
    agent: Agent | None = None
    wakes_at: float = float("inf")
    # the next timeouts of the two, each asked only when it has done something
    node_moment: float = float("inf")
    agent_moment: float = float("inf")
    events: list[Any] = field(default_factory=list)
    crash_at: str = ""  # "before X" or "after X" for a named point X of a `Persist`
    crash_skips: int = 0  # let so many of them pass first
    skew: float = 0.0  # seconds by which this machine's clock is ahead of the lab's
    clocks: PeerClocks | None = None  # what the others' HELLOs said of the time

    @property
    def up(self) -> bool:
        """Whether the machine runs."""
        return self.node is not None

    def rows(self) -> Rows:
        """The profile as an agent loads it."""
        return {name: [dict(row) for row in table.values()] for name, table in self.tables.items()}


class Crash(Exception):
    """A planted fault point was reached: what this host had not persisted is gone."""


class LabNetwork:
    """`nodes` hosts on one virtual clock; only the first `senders` have an agent (all, if not given).

    Relays without agents make a lab cheap where the cover traffic of others is not what is looked at.
    `observers` get every frame handed to a link, `blocker` says of each (sender, receiver, frame) whether it
    never arrives, `on_persist` gets every transaction once it is durable, `on_event` every event that a core
    emits.  `start` is the unix time at which it begins.
    """

    def __init__(
        self,
        params: NetworkParameters,
        nodes: int,
        seed: int,
        links: Links | None = None,
        trace: bool = True,
        senders: int | None = None,
        start: float = START,
    ) -> None:
        self.params = params
        self.seed = seed
        self.scheduler = Scheduler(start)
        self.links = links or Links()
        self.trace: list[TraceEvent] = []
        self.tracing = trace
        self.senders = nodes if senders is None else senders
        self.observers: list[Callable[[int, bytes, Frame], None]] = []
        self.blocker: Callable[[bytes, bytes, Frame], bool] | None = None
        self.on_persist: list[Callable[[LabHost, Persist], None]] = []
        self.on_event: list[Callable[[LabHost, Any], None]] = []
        self.frames = 0
        self._rng = SeededRandomness(f"links {seed}")
        self._checks = Checks()
        self.network = Network(SeededRandomness(f"network {seed}").bytes(32), day_of(start), params)
        self.hosts = [self._make_host(number) for number in range(nodes)]
        self._by_id = {host.node_id: host for host in self.hosts}

    @property
    def now(self) -> float:
        """Virtual unix time."""
        return self.scheduler.now

    def time_of(self, host: LabHost) -> float:
        """Unix time by this machine's own clock."""
        return self.scheduler.now + host.skew

    def _make_host(self, number: int) -> LabHost:
        rng = SeededRandomness(f"host {self.seed} {number}")
        seed = rng.bytes(32)
        day, start = day_of(self.now), 0
        node_id = NodeKeys(seed, b"", 0, b"").node_id
        while (proof := puzzle.solve(self.network, node_id, day, start, PUZZLE_ATTEMPTS)) is None:
            start += PUZZLE_ATTEMPTS
        keys = NodeKeys(seed, proof.nonce, proof.q, proof.storage_id)
        return LabHost(number, keys, node_id, rng, MemoryStore())

    # life of a host

    def start(self) -> None:
        """Start every host; all know all from the beginning, but for those whose clocks are too far apart."""
        for host in self.hosts:
            self._boot(host)
        for host in self.hosts:
            for other in self.hosts:
                if other is not host:
                    self._hear_clock(host, other)
        descriptors = [(other, other.node.descriptor) for other in self.hosts if other.node]
        for host in self.hosts:
            for other, raw in descriptors:
                if self._may_link(host, other):
                    self._node_command(host, node_commands.PeerDescriptor(raw))

    def connect(self) -> None:
        """Give every node links to all others that it may have: what it publishes goes out at once."""
        for host in self.hosts:
            for other in self.hosts:
                if other is not host and self._may_link(host, other):
                    self._node_command(host, node_commands.LinkUp(other.node_id))

    def _hear_clock(self, host: LabHost, other: LabHost) -> None:
        if host.clocks is None:
            host.clocks = PeerClocks(self.params)
        host.clocks.note(other.node_id, self.time_of(other), self.time_of(host))

    def _may_link(self, host: LabHost, other: LabHost) -> bool:
        """What a daemon decides at a HELLO."""
        if host.skew == other.skew:
            return True
        try:
            PeerClocks(self.params).check(self.time_of(other), self.time_of(host))
        except RemoteProtocolError:
            return False
        return True

    def _boot(self, host: LabHost) -> None:
        view = View(self.network, self._checks)
        endpoint = f"tcp:host=lab{host.number}:port=1"
        host.node = Node(self.network, host.keys, endpoint, bytes(32), host.store, host.rng, view)
        self._node_command(host, node_commands.Start())
        if host.number < self.senders:
            host.agent = Agent(self.network, host.node_id, view, host.rng, host.rows(), self.time_of(host))
            self._carry_out(host, host.agent.start(self.time_of(host)), host.agent.handle_command)

    def crash(self, host: LabHost) -> None:
        """Stop a host at once: memory is gone, what was persisted stays."""
        host.node = host.agent = None
        host.wakes_at = float("inf")
        self._note(host, "crash", 0, "")

    def restart(self, host: LabHost) -> None:
        """Start a crashed host again; it meets the others as over fresh links."""
        if host.up:
            self.crash(host)
        self._boot(host)
        if not host.up:
            return  # it met a planned crash while it started
        for other in self.hosts:
            if other is not host and other.up and self._may_link(host, other):
                self._node_command(host, node_commands.LinkUp(other.node_id))
                self._node_command(other, node_commands.LinkUp(host.node_id))
                self._hear_clock(host, other)
                self._hear_clock(other, host)
                for raw, target in ((self._descriptor(host), other), (self._descriptor(other), host)):
                    self._node_command(target, node_commands.PeerDescriptor(raw))

    def _descriptor(self, host: LabHost) -> bytes:
        if host.node is None:
            raise ValueError(f"host {host.number} is down")
        return host.node.descriptor

    # running

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Run for so much virtual time, or until `until()`; returns whether it held."""
        return self.scheduler.run_until(self.now + seconds, until)

    def command(self, host: LabHost, command: Command) -> None:
        """Hand a command to the host's agent; UserError comes through."""
        if host.agent is None:
            raise ValueError(f"host {host.number} is down")
        effects = host.agent.handle_command(command, self.time_of(host))
        self._carry_out(host, effects, host.agent.handle_command)

    def _node_command(self, host: LabHost, command: Any) -> None:
        if host.node is not None:
            effects = host.node.handle_command(command, self.time_of(host))
            self._carry_out(host, effects, host.node.handle_command)

    def _carry_out(
        self, host: LabHost, effects: list[Effect], again: Callable[[Any, float], list[Effect]]
    ) -> None:
        """Do what a core asked for, in order; `again` is where a finished `Offload` goes."""
        self._perform(host, effects, again)
        self._agent_acted(host)
        self._rearm(host)

    def _perform(
        self, host: LabHost, effects: list[Effect], again: Callable[[Any, float], list[Effect]]
    ) -> None:
        try:
            for effect in effects:
                match effect:
                    case Send():
                        self._transmit(host, effect.peer, effect.frame)
                    case Persist():
                        self._persist(host, effect)
                    case Offload():
                        done = Done(effect.token, _run(effect.job))
                        self._perform(host, again(done, self.time_of(host)), again)
                    case Emit():
                        self._emitted(host, effect.event)
                if not host.up:
                    return
        except Crash:
            self.crash(host)

    def _persist(self, host: LabHost, effect: Persist) -> None:
        if self._strikes(host, f"before {effect.point}"):
            raise Crash(effect.point)
        for change in effect.changes:
            apply_change(host.tables, change)
        for observer in self.on_persist:
            observer(host, effect)
        if self._strikes(host, f"after {effect.point}"):
            raise Crash(effect.point)

    def _strikes(self, host: LabHost, moment: str) -> bool:
        if host.crash_at != moment:
            return False
        host.crash_skips -= 1
        if host.crash_skips >= 0:
            return False
        host.crash_at, host.crash_skips = "", 0
        return True

    def _emitted(self, host: LabHost, event: Any) -> None:
        for observer in self.on_event:
            observer(host, event)
        match event:
            case node_events.SurbReply():
                if host.agent is not None:
                    effects = host.agent.handle_reply(event.ident, event.body, self.time_of(host))
                    self._perform(host, effects, host.agent.handle_command)
                    self._agent_acted(host)
                return  # not kept: 25 KB each
            case agent_events.QuerySent():
                self._note(host, f"query {event.kind}", int(event.real), "")
                return
            case agent_events.MailArrived():
                self._note(host, "arrived", 0, event.message_id.hex())
            case agent_events.MailState():
                self._note(host, event.state, event.sent_parts, event.mail)
        host.events.append(event)

    def _transmit(self, host: LabHost, peer: bytes, frame: Frame) -> None:
        cut = -(-len(frame.payload) // GEOMETRY.packet)
        self.frames += cut
        for observer in self.observers:
            observer(host.number, peer, frame)
        if self.tracing:
            self._note(host, "frame", frame.kind, "")
        target, links = self._by_id.get(peer), self.links
        lost = self._rng.uniform() < links.loss
        if self.blocker is not None and self.blocker(host.node_id, peer, frame):
            return
        if target is not None and not self._may_link(host, target):
            return
        if target is None or (lost and (not links.lossy or frame.kind in links.lossy)):
            return
        when = self.scheduler.now + links.low + (links.high - links.low) * self._rng.uniform()
        self.scheduler.at(when, partial(self._receive, host.node_id, target, frame))

    def _receive(self, sender: bytes, host: LabHost, frame: Frame) -> None:
        if host.node is not None:
            effects = host.node.handle_frame(sender, frame, self.scheduler.now + host.skew)
            self._perform(host, effects, host.node.handle_command)
            self._rearm(host)

    # timers

    def _rearm(self, host: LabHost) -> None:
        if host.node is None:
            return
        due = host.node.next_timeout()
        host.node_moment = float("inf") if due is None else due - host.skew + bool(host.skew) * ROUNDING
        when = min(host.node_moment, host.agent_moment)
        if when < host.wakes_at:
            host.wakes_at = when
            self.scheduler.at(when, partial(self._wake, host, when))

    def _agent_acted(self, host: LabHost) -> None:
        due = float("inf") if host.agent is None else host.agent.next_timeout()
        host.agent_moment = due - host.skew + bool(host.skew) * ROUNDING

    def _wake(self, host: LabHost, when: float) -> None:
        if host.wakes_at != when or host.node is None:
            return
        host.wakes_at = float("inf")
        node, agent = host.node, host.agent
        if host.node_moment <= self.now:
            self._perform(host, node.handle_timeout(self.time_of(host)), node.handle_command)
        if agent is not None and host.agent is agent and host.agent_moment <= self.now:
            self._perform(host, agent.handle_timeout(self.time_of(host)), agent.handle_command)
            self._agent_acted(host)
        self._rearm(host)

    def _note(self, host: LabHost, what: str, number: int, mail: str) -> None:
        if self.tracing:
            self.trace.append(TraceEvent(self.now, host.number, what, number, mail))


def _run(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:
        return error
