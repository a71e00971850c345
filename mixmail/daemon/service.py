"""One daemon: the cores, their effects carried out with real links, databases and threads.

`build` is the one place where everything is wired.  Rules: a core is only called in the reactor's
thread; each database belongs to one thread; what the agent asks for is carried out strictly in order,
so that no packet leaves before the rows that it rests on are on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mixmail.agent.core import Agent, Command
from mixmail.agent.tables import PRIMARY_KEYS, Rows
from mixmail.boxes.store import Usage
from mixmail.daemon.clock import SteadyClock
from mixmail.daemon.drain import DrainWatch
from mixmail.daemon.home import NodeConfig, NodeHome, solve_keys
from mixmail.daemon.lane import Lane
from mixmail.daemon.workshop import Workshop
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.peer_clocks import PeerClocks, pack_hello, parse_hello
from mixmail.directory.view import Checks, View
from mixmail.effects import Done, Effect, Emit, Frame, Offload, Persist, Send
from mixmail.errors import ForeignNetwork, RemoteProtocolError, UserError
from mixmail.link import certificate
from mixmail.link.service import LinkService
from mixmail.node import commands as node_commands
from mixmail.node import events as node_events
from mixmail.node.core import Node
from mixmail.params import Network
from mixmail.randomness import Randomness, SystemRandomness
from mixmail.storage import profile_key
from mixmail.storage.node_db import NodeDatabase
from mixmail.storage.profile_db import ProfileDatabase

STORE_TROUBLE_SHOWN = 600.0  # seconds that a failure of the store is shown
BLOCKED = (
    "Nothing that this node sends to itself comes back: it is cut off, or somebody holds its packets back. "
    "Check the connection."
)
DISK_RETRY = 2.0  # seconds until a write that the disk refused is tried again
SEED_RETRY = 1 / 10  # of `link_timeout`: wait before the seeds are asked again
AGENT_TABLES = tuple(name for name in PRIMARY_KEYS if name not in ("mails", "drafts", "settings"))

Fault = Callable[[str], None]


def no_fault(point: str) -> None:
    """The shipped fault hook: does nothing (tests pass one that kills the process)."""


class Daemon:
    """A node with its agent, on one home folder.

    `listeners` are called with each event that a core emits.  `profile` is the user's database, to be
    used through `in_profile` only.  `workers` processes open packets; with 0 the daemon does.
    """

    log = Logger()

    def __init__(
        self,
        home: NodeHome,
        reactor: Any,
        *,
        pool: ThreadPool,
        checks: Checks | None = None,
        fault: Fault = no_fault,
        rng: Randomness | None = None,
        workers: int = 0,
    ) -> None:
        self.home = home
        self.reactor = reactor
        self.rng = rng or SystemRandomness()
        self.clock = SteadyClock()
        self.listeners: list[Callable[[Any], None]] = []
        self.network_file = home.network_file()
        self.network: Network = self.network_file.network()
        self.config: NodeConfig = home.config()
        self.started_at = self.clock.now()
        self._checks = checks
        self._fault = fault
        self._wakes_at = float("inf")
        self._wake: IDelayedCall | None = None
        self._seed_call: IDelayedCall | None = None
        self._stopping = False
        self._node_lane = Lane(self._perform_node, self._failed)
        self._agent_lane = Lane(self._perform_agent, self._failed)
        self._workshop = Workshop(reactor, pool, workers)
        self.view = View(self.network, checks)
        self.peer_clocks = PeerClocks(self.network.parameters)
        self.links: LinkService
        self.node: Node
        self.agent: Agent
        self.node_database: NodeDatabase
        self.profile: ProfileDatabase
        self.ready = False
        self.locked = False
        self.trouble = ""  # one sentence about a disk that refuses; empty when all is well
        self._store_trouble = ("", 0.0)  # why the last access to other people's records failed, and when
        self._pending: set[Deferred[None]] = set()
        self.drained: DrainWatch | None = None

    # start and stop

    @inlineCallbacks
    def start(self) -> Any:
        """Take the home, open everything, listen, begin.  UserError says what is in the way.

        A profile under a passphrase stays shut until `unlock`; the node and its cover traffic run.
        """
        self.home.lock()
        try:
            keys = yield self._workshop.pool(
                partial(solve_keys, self.network, self.home.load_keys(), self.now(), self.rng)
            )
            self.home.save_keys(keys)
            link_certificate = certificate.load_or_make(self.home.path)
            self.node_database = yield self._workshop.node_store(
                partial(NodeDatabase, self.home.node_db, self.config.quota)
            )
            self._workshop.node_thread.use_batches(self.node_database.batch)
            rows = yield self._workshop.profile(self._open_profile).addErrback(self._shut)
            self.links = LinkService(
                self.reactor,
                self,
                link_certificate,
                self.network.parameters,
                self.rng,
                ready=self._may_take_frames,
            )
            port = yield self.links.listen(self.config.listen)
        except BaseException:
            if hasattr(self, "links"):
                yield self.links.close()
            yield self._close_databases()
            self.home.unlock()
            raise
        self._workshop.start_workers()
        endpoint = self.config.announce.format(port=port)
        published, claim = self.home.load_published()
        self.node = Node(
            self.network,
            keys,
            endpoint,
            link_certificate.hash,
            self.node_database,
            self.rng,
            self.view,
            published,
            self._workshop.batches_ahead,
            claim,
        )
        self._run_node(self.node.handle_command(node_commands.Start(), self.now()))
        self.agent = Agent(self.network, self.node.node_id, self.view, self.rng, rows, self.now())
        self.ready = True
        self._run_agent(self.agent.start(self.now()))
        self._ask_seeds()
        self._rearm()
        self.log.info("a {preset} node is up", preset=self.network.parameters.name)

    def _shut(self, failure: Failure) -> Rows:
        failure.trap(UserError)
        if failure.value.code != "locked":  # type: ignore[union-attr]
            failure.raiseException()
        self.locked = True
        return {}

    @inlineCallbacks
    def unlock(self, passphrase: str) -> Any:
        """Open the profile; UserError "passphrase" if it is the wrong one."""
        if not self.locked:
            return
        rows = yield self._workshop.profile(partial(self._open_profile, passphrase))
        self.locked = False
        # The same schedule goes on: an unlock must not show on the wire.
        schedule = self.agent.schedule
        self.agent = Agent(self.network, self.node.node_id, self.view, self.rng, rows, self.now(), schedule)
        self._run_agent(self.agent.start(self.now()))
        self._rearm()

    def set_passphrase(self, old: str | None, new: str | None) -> Deferred[None]:
        """From the next start on, the profile opens only with `new` (None: without any).

        UserError "passphrase" or "locked" if `old` does not open it.
        """
        path = self.home.profile_key
        return self._workshop.pool(partial(profile_key.change_passphrase, path, old, new))

    def check_passphrase(self, passphrase: str | None) -> Deferred[bytes]:
        """UserError "passphrase" or "locked" unless it opens the profile."""
        return self._workshop.pool(partial(profile_key.load, self.home.profile_key, passphrase))

    def _open_profile(self, passphrase: str | None = None) -> Rows:
        path, database = self.home.profile_key, self.home.profile_db
        # A database without its key is not a new profile: `load` says which file is missing.
        fresh = not path.exists() and not database.exists()
        key = profile_key.create(path) if fresh else profile_key.load(path, passphrase)
        self.profile = ProfileDatabase(database, key)
        rows = {name: self.profile.rows(name) for name in AGENT_TABLES}
        return {**rows, "mails": self.profile.rows("mails", {"folder": "outbox"})}

    @inlineCallbacks
    def stop(self) -> Any:
        """End everything; fires when the databases are closed and the home is free."""
        if self._stopping:
            return
        self._stopping = True
        for call in (self._wake, self._seed_call, self.drained.call if self.drained else None):
            if call is not None and call.active():
                call.cancel()
        if self.ready:
            yield self._agent_lane.idle().addErrback(lambda _: None)
            self.log.info("{count} packets in the pools are dropped", count=self.node.waiting)
            self._run_node(self.node.handle_command(node_commands.Stop(), self.now()))
            yield self.links.close()
        yield self._close_databases()
        self.home.unlock()

    def drain(self) -> Deferred[int]:
        """Take no more packets, send those inside; fires with how many are left when it is over."""
        if self.drained is None:
            self._run_node(self.node.handle_command(node_commands.Drain(), self.now()))
            self.drained = DrainWatch(self.reactor, self.node, self.network.parameters.tick, self.now)
        return self.drained.over()

    @inlineCallbacks
    def _close_databases(self) -> Any:
        if hasattr(self, "node_database"):
            yield self._workshop.node_store(self.node_database.close)
        if hasattr(self, "profile"):
            yield self._workshop.profile(self.profile.close)
        yield self._workshop.close()

    def now(self) -> float:
        """Unix seconds that never jump."""
        return self.clock.now()

    # what the control server asks

    def command(self, command: Command) -> Deferred[None]:
        """Hand a command to the agent; fires when what it made durable is durable."""
        if self.locked:
            raise UserError("The profile is locked: unlock it with its passphrase first.", "locked")
        if self.trouble:
            raise UserError(self.trouble, "disk")
        done: Deferred[None] = Deferred()
        self._pending.add(done)
        effects = self.agent.handle_command(command, self.now())

        def finished(result: object) -> None:
            if done in self._pending:
                self._pending.discard(done)
                if isinstance(result, Failure):
                    done.errback(result)
                else:
                    done.callback(None)

        self._agent_lane.push(effects).addBoth(finished)
        self._rearm()
        return done

    def in_profile(self, job: Callable[[ProfileDatabase], Any]) -> Deferred[Any]:
        """Run `job` with the user's database in its thread.  UserError "locked" while it is shut."""
        if self.locked:
            return fail(UserError("The profile is locked: unlock it with its passphrase first.", "locked"))
        return self._workshop.profile(lambda: job(self.profile))

    def warnings(self) -> list[str]:
        """What the user should know about disk, network and clock now, a sentence or two each."""
        reason, when = self._store_trouble
        recent = reason if self.now() - when < STORE_TROUBLE_SHOWN else ""
        blocked = BLOCKED if self.node.blocking_suspected else ""
        clock = self.peer_clocks.warning()
        return [text for text in (self.trouble, recent, blocked, clock) if text]

    def stored_records(self) -> Deferred[int]:
        """How many records this node holds for the network."""

        def counted() -> int:
            count = self.node_database.count()
            return count["records"] + count["entries"]

        return self._workshop.node_store(counted)

    def store_usage(self) -> Deferred[tuple[Usage, int]]:
        """How full the store is, and the size of its file in bytes."""

        def looked_at() -> tuple[Usage, int]:
            return self.node_database.usage(), self.home.node_db.stat().st_size

        return self._workshop.node_store(looked_at)

    # link callbacks

    def hello(self) -> bytes:
        """Our own descriptor and clock."""
        return pack_hello(self.node.descriptor, self.now())

    def on_hello(self, raw: bytes, cert_hash: bytes) -> bytes:
        """Check a peer's clock, and its descriptor against its certificate; hand that to the directory."""
        raw_descriptor, theirs = parse_hello(raw)
        descriptor = Descriptor.parse(raw_descriptor)
        if descriptor.link_cert_hash != cert_hash:
            raise RemoteProtocolError("the descriptor names another link certificate")
        # Valid by the peer's own clock: it says that it is a node of this network, which is free to say.  So
        # only nodes of the directory count, or anybody while the own clock may be what keeps it empty.
        alone = all(one.node_id == self.node.node_id for one in self.view.all())
        known = alone or self.view.get(descriptor.node_id) is not None
        if known and self.view.cheap_refusal(descriptor, theirs) is None:
            self.peer_clocks.note(descriptor.node_id, theirs, self.now())
        self.peer_clocks.check(theirs, self.now())
        refusal = self.view.cheap_refusal(descriptor, self.now())
        if refusal in ("network", "parameters"):
            raise ForeignNetwork("the peer is on another network or has other parameters")
        if refusal is not None:
            raise RemoteProtocolError(f"the peer's descriptor is refused: {refusal}")
        self._run_node(self.node.handle_command(node_commands.PeerDescriptor(raw_descriptor), self.now()))
        return descriptor.node_id

    def on_frame(self, peer: bytes, frame: Frame) -> None:
        """A message from a peer."""
        effects = self.node.handle_frame(peer, frame, self.now())
        if effects:
            self._run_node(effects)
        due = self.node.next_timeout()  # the agent hears nothing of a frame
        if due is not None and due < self._wakes_at:
            self._rearm()

    def on_link_up(self, peer: bytes) -> None:
        """A link stands."""
        self._run_node(self.node.handle_command(node_commands.LinkUp(peer), self.now()))
        self._rearm()

    def on_link_down(self, peer: bytes) -> None:
        """A link is gone."""
        if not self._stopping:
            self._run_node(self.node.handle_command(node_commands.LinkDown(peer), self.now()))

    def _may_take_frames(self) -> bool:
        return not (self.ready and self.node.busy)

    def resolve(self, peer: bytes) -> tuple[str, bytes] | None:
        """Where a node of the directory is reached."""
        descriptor = self.view.get(peer)
        return (descriptor.endpoint, descriptor.link_cert_hash) if descriptor else None

    def _ask_seeds(self) -> None:
        """Until there is a peer, ask the seeds of the network file again and again."""
        if self._stopping:
            return
        if not self.links.peers():
            for seed in self.network_file.seeds:
                if seed.node_id != self.node.node_id:
                    found = self.links.connect_seed(seed.endpoint, seed.cert_hash)
                    found.addErrback(self._seed_missing)
        wait = self.network.parameters.link_timeout * SEED_RETRY
        self._seed_call = self.reactor.callLater(wait, self._ask_seeds)

    def _seed_missing(self, failure: Failure) -> None:
        failure.trap(UserError)
        self.log.debug("a seed does not answer")

    # carrying out effects

    def _run_node(self, effects: list[Effect]) -> None:
        self._node_lane.push(effects).addErrback(_told)

    def _run_agent(self, effects: list[Effect]) -> None:
        self._agent_lane.push(effects).addErrback(_told)

    def _perform_node(self, effect: Effect) -> Deferred[None] | None:
        match effect:
            case Send():
                self.links.send(effect.peer, effect.frame)
            case Offload():
                self._offload(effect, self._node_done)
            case Emit(node_events.SurbReply() as reply):
                self._run_agent(self.agent.handle_reply(reply.ident, reply.body, self.now()))
            case Emit(node_events.StoreFailed() as failed):
                self._store_trouble = (failed.reason, self.now())
            case Emit(node_events.KeysRenewed() as renewed):
                self.home.save_keys(renewed.keys)
            case Emit(node_events.EpochKeysDeleted()):
                self._workshop.forget_epoch_keys()
            case Emit(node_events.OwnDescriptor() as own):
                descriptor = Descriptor.parse(own.raw)
                self.home.save_published(descriptor.order, descriptor.stamp_bits)
            case Emit():
                self._tell(effect.event)
            case Persist():
                raise AssertionError("a node keeps nothing in the profile")
        return None

    def _perform_agent(self, effect: Effect) -> Deferred[None] | None:
        match effect:
            case Send():
                self.links.send(effect.peer, effect.frame)
            case Offload():
                self._offload(effect, partial(self._agent_done, self.agent))
            case Emit():
                self._tell(effect.event)
            case Persist():
                return self._persist_until_done(effect)
        return None

    @inlineCallbacks
    def _persist_until_done(self, effect: Persist) -> Any:
        """Write, and as long as the disk refuses try again: nothing that rests on it may go first.

        Meanwhile the agent's queries stand still and the status says why; nothing is lost, for what
        waits here is also in memory.
        """
        while True:
            try:
                yield self._workshop.profile(partial(self._persist, effect))
            except UserError as error:
                self._set_trouble(error)
            else:
                self.trouble = ""
                return
            wait: Deferred[None] = Deferred()
            self.reactor.callLater(DISK_RETRY, wait.callback, None)
            yield wait
            if self._stopping:
                raise UserError(self.trouble, "disk")

    def _set_trouble(self, error: UserError) -> None:
        if not self.trouble:
            self.log.error("{message}", message=error.message)
        self.trouble = error.message
        waiting, self._pending = self._pending, set()
        for done in waiting:
            done.errback(UserError(f"{error.message} What you did is kept in memory meanwhile.", "disk"))

    def _persist(self, effect: Persist) -> None:
        """In the profile's thread."""
        self._fault(f"before {effect.point}")
        self.profile.apply(effect.changes)
        self._fault(f"after {effect.point}")

    def _offload(self, effect: Offload, done: Callable[[Done], None]) -> None:
        result = self._workshop.run(effect)
        result.addCallback(lambda value: done(Done(effect.token, value)))
        result.addErrback(self._failed)

    def _node_done(self, done: Done) -> None:
        if not self._stopping:
            self._run_node(self.node.handle_command(done, self.now()))
            if not self.node.busy:
                self.links.turns.resume()
            self._rearm()

    def _agent_done(self, asked: Agent, done: Done) -> None:
        # A profile that was unlocked meanwhile has another agent, whose tokens mean other jobs.
        if not self._stopping and asked is self.agent:
            self._run_agent(self.agent.handle_command(done, self.now()))
            self._rearm()

    def _tell(self, event: Any) -> None:
        for listener in self.listeners:
            listener(event)

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, UserError):
            self.log.error("{message}", message=failure.value.message)
        else:
            self.log.failure("a task of the daemon failed", failure)

    # timers

    def _rearm(self) -> None:
        if self._stopping or not self.ready:
            return
        # own queries wait for the next start: their answers would be refused
        when = self.agent.next_timeout() if self.drained is None else float("inf")
        node = self.node.next_timeout()
        if node is not None and node < when:
            when = node
        if when >= self._wakes_at:
            return
        self._wakes_at = when
        delay = max(0.0, when - self.now())
        if self._wake is not None and self._wake.active():
            self._wake.reset(delay)
        else:
            self._wake = self.reactor.callLater(delay, self._on_wake)

    def _on_wake(self) -> None:
        self._wakes_at = float("inf")
        now = self.now()
        try:
            due = self.node.next_timeout()
            if due is not None and due <= now:
                self._run_node(self.node.handle_timeout(now))
            if self.drained is None and self.agent.next_timeout() <= now:
                self._run_agent(self.agent.handle_timeout(now))
        finally:
            self.links.flush()
            self._rearm()  # a defect in one task must not silence the slots that come after it


def _told(failure: Failure) -> None:
    """The lane has told `Daemon._failed` already."""


def build(
    path: Path,
    reactor: Any,
    pool: ThreadPool,
    *,
    checks: Checks | None = None,
    fault: Fault = no_fault,
    workers: int = 0,
) -> Daemon:
    """The daemon of the home folder `path`; nothing runs before its `start`.

    `workers`: how many processes open packets for it; with 0 it does that itself.
    """
    return Daemon(NodeHome(path), reactor, pool=pool, checks=checks, fault=fault, workers=workers)
