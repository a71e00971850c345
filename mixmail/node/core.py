"""A node: the roles mix, courier, proxy, replica and directory behind one sans-IO interface.

Rules of use
- First command `Start`, last command `Stop`; nothing before and after them.  Frames that come then are
  counted and dropped.  Keys of the epochs are made by `Start`, so a restart is a new `Node`.
- Every method takes `now` (unix seconds that never go back) and returns effects, to be carried out in
  their order.  A node persists nothing itself: records go through its store as `Offload`, lane "store".
- `Offload` results come back as `Done` to the node that asked; tokens are unique within one node only,
  so a driver that runs a node and an agent keeps their results apart.
- After every call ask `next_timeout()` (cheap) and call `handle_timeout` at that moment or later, never
  earlier.  An idle node asks for gossip and housekeeping only, not for every tick.
- `handle_frame` takes whole messages from authenticated peers and never raises for what is in them: what
  breaks a rule is counted in `stats` under `drop.` and gone.  HELLO belongs to the link layer, which
  hands the descriptor in as `PeerDescriptor`.
- `Send` may name a peer to which there is no link, or of which the surroundings know nothing; then the
  frame is lost and `LinkDown` may say so.  A node never sends to itself: such frames are taken in at once.
- The surroundings give `SurbReply` events to the agent.  `view` is shared with the agent, who only reads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

from mixmail.boxes.store import RecordStore
from mixmail.directory import puzzle
from mixmail.directory.descriptor import FULL, NO_ROLES, Descriptor, build
from mixmail.directory.puzzle import Proof
from mixmail.directory.view import View
from mixmail.effects import Done, Effect, Emit, Frame, Send
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.jobs import Jobs
from mixmail.node.budget import FairBudget
from mixmail.node.commands import Command, Drain, LinkDown, LinkUp, PeerDescriptor, Start, Stop
from mixmail.node.courier import Courier
from mixmail.node.directory_role import Directory
from mixmail.node.events import (
    EpochKeysDeleted,
    KeysRenewed,
    OwnDescriptor,
    OwnDescriptorRefused,
    Stopped,
)
from mixmail.node.keys import EpochKeys, NodeKeys
from mixmail.node.mix import Delivered, Mix
from mixmail.node.proxy import Proxy
from mixmail.node.repair import Repair
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.unwrapping import Opened, Unwrapping
from mixmail.node.wire import Kind
from mixmail.params import DAY, NODE_LIMITS, Network, day_of
from mixmail.randomness import Randomness

_REVISIONS = 2**16


class Node:
    """All roles of one full node.  `stats` counts, `view` is what it knows of the others."""

    def __init__(
        self,
        network: Network,
        keys: NodeKeys,
        endpoint: str,
        link_cert_hash: bytes,
        store: RecordStore,
        rng: Randomness,
        view: View,
        published: tuple[int, int] = (0, 0),
        unwrap_ahead: int = 0,
        claim: int = 0,
    ) -> None:
        """`published`: (day, revision) of the last descriptor that an earlier life of this node published,
        `claim`: the bits of work it asked for in it.

        `unwrap_ahead`: how many batches of packets may be out to be opened elsewhere; 0 opens each here.
        """
        self.network = network
        self.node_id = keys.node_id
        self.view = view
        self.stats = Stats()
        self._params = network.parameters
        self._keys = keys
        self._endpoint = endpoint
        self._link_cert_hash = link_cert_hash
        self._rng = rng
        self._running = False
        self.drained_by: float | None = None  # unix seconds, once `Drain` was given
        self._roles = FULL  # until it drains
        self._own: Descriptor | None = None
        self._published = published
        self._outdone = -self._params.gossip_interval  # when it last had to outdo an older life
        self._next_housekeeping = 0.0
        self._epochs = EpochKeys(self._params, rng)
        self._jobs = Jobs(NODE_LIMITS.jobs)
        self._mix = Mix(network, self.node_id, self._epochs, view, rng, self.stats)
        self._unwrapping: Unwrapping | None = None
        if unwrap_ahead:
            self._unwrapping = Unwrapping(
                self._epochs, self._jobs, unwrap_ahead, NODE_LIMITS, self.stats, self._came_opened
            )
        self._courier = Courier(network, rng, self.stats)
        self._replica = Replica(network, store, self._jobs, self.stats, part_of=view.part_of)
        self._proxy = Proxy(
            network, self.node_id, self._epochs, view, self._jobs, rng, self.stats, self._replica.stamp_budget
        )
        self._home_askers = FairBudget(
            NODE_LIMITS.home_queries_per_s, NODE_LIMITS.home_queries_memory_s, NODE_LIMITS.stamp_askers
        )
        self._repair = Repair(
            network, self.node_id, view, store, self._replica.take_in, self._jobs, rng, self.stats
        )
        self._replica.on_new = self._repair.note_new
        self._replica.restore_claim(claim, published[0])
        self._directory = Directory(network, self.node_id, view, self._jobs, rng, self.stats, self._outdo)

    @property
    def descriptor(self) -> bytes:
        """The own descriptor, 7704 bytes; LocalProtocolError before `Start`."""
        if self._own is None:
            raise LocalProtocolError("a node has no descriptor before it is started")
        return self._own.raw

    @property
    def waiting(self) -> int:
        """Packets, queries and answers that wait in the pools or to be opened."""
        unopened = len(self._unwrapping) if self._unwrapping is not None else 0
        return unopened + len(self._mix.pool) + len(self._courier.pool) + len(self._proxy.pool)

    @property
    def leaving(self) -> int:
        """Records that a draining node has not handed over yet, as far as it knows."""
        return self._repair.leaving

    @property
    def busy(self) -> bool:
        """Whether so many packets wait to be opened elsewhere that no more should be handed in for now.

        Always false when this node opens its packets itself.  It is over when a `Done` has come.
        """
        return self._unwrapping is not None and self._unwrapping.enough

    def holds(self, now: float) -> bool:
        """Whether the blocking alarm holds back what this node's mix has."""
        return self._mix.holds(now)

    @property
    def blocking_suspected(self) -> bool:
        """Whether no own loop has come in since the blocking alarm gave up (`BlockingSuspected`)."""
        return self._mix.blocking_suspected

    @property
    def claim(self) -> int:
        """The bits of work that this node's store asks for now."""
        return self._replica.claim

    @property
    def links(self) -> frozenset[bytes]:
        """The peers to which a link is open."""
        return self._directory.links

    def handle_frame(self, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        """Take in one message of `peer`; never raises for what is in it."""
        if not self._running:
            self.stats.add("drop.not_running")
            return []
        return self._settle(self._take(peer, frame, now), now)

    def handle_command(self, command: Command, now: float) -> list[Effect]:
        """Carry out one of `mixmail.node.commands` or an `effects.Done`.

        LocalProtocolError: before `Start`, a second `Start`, or a token that is not outstanding.
        """
        if isinstance(command, Start):
            return self._settle(self._start(now), now)
        if not self._running:
            if isinstance(command, Done | LinkUp | LinkDown | PeerDescriptor) and self._own is not None:
                return []  # what was under way when the node stopped
            raise LocalProtocolError("the node is not running")
        return self._settle(self._carry_out(command, now), now)

    def handle_timeout(self, now: float) -> list[Effect]:
        """Do what is due at `now`."""
        if not self._running:
            return []
        effects: list[Effect] = []
        if now >= self._epochs.next_rotation:
            effects.extend(self._rotate(now))
        effects.extend(self._mix.handle_tick(now))
        effects.extend(self._courier.handle_tick(now))
        effects.extend(self._proxy.handle_tick(now))
        effects.extend(self._proxy.asker.handle_timeout(now))
        effects.extend(self._directory.handle_timeout(now))
        effects.extend(self._repair.handle_timeout(now))
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + NODE_LIMITS.housekeeping
            effects.extend(self._replica.expire(now))
        return self._settle(effects, now)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` has something to do; None when the node does not run."""
        if not self._running:
            return None
        soonest = min(
            self._mix.wake,
            self._courier.pool.wake,
            self._proxy.pool.wake,
            self._directory.next_gossip,
            self._repair.wake,
            self._epochs.next_rotation,
            self._next_housekeeping,
        )
        silent = self._proxy.asker.next_timeout()
        return soonest if silent is None or silent > soonest else silent

    # life

    def _start(self, now: float) -> list[Effect]:
        if self._own is not None:
            raise LocalProtocolError("a node is started once")
        self._running = True
        self._directory.start(now)
        self._mix.start(now)
        self._repair.start(now)
        self._next_housekeeping = now + NODE_LIMITS.housekeeping
        return [*self._rotate(now), *self._replica.expire(now)]

    def _stop(self) -> list[Effect]:
        dropped = self.waiting
        self._running = False
        return [Emit(Stopped(dropped))]

    def _drain(self, now: float) -> list[Effect]:
        if self.drained_by is None:
            # the longest delay, and a tick for each pool that a packet may still pass
            self.drained_by = now + self._params.delay_max + 3 * self._params.tick
            self._mix.drain(now)
            self._repair.leave(self.drained_by, now)
            self._roles = NO_ROLES
            return self._publish((0, 0), now)
        return []

    def _carry_out(self, command: Command, now: float) -> list[Effect]:
        match command:
            case Done(token, result):
                try:
                    return self._jobs.done(token, result, now)
                except KeyError:
                    raise LocalProtocolError(f"no job {token} is outstanding") from None
            case LinkUp(peer):
                return self._directory.link_up(peer)
            case LinkDown(peer):
                self._directory.link_down(peer)
                return self._proxy.asker.link_down(peer, now)
            case PeerDescriptor(raw):
                try:
                    return self._directory.handle_descriptor(raw, now)
                except RemoteProtocolError:
                    self.stats.add("drop.descriptor_layout")
                    return []
            case Drain():
                return self._drain(now)
            case Stop():
                return self._stop()
            case Start():
                raise LocalProtocolError("a node is started once")

    # keys and descriptor

    def _rotate(self, now: float) -> list[Effect]:
        fresh, gone = self._epochs.rotate(now)
        for epoch in gone:
            self._mix.forget_epoch(epoch)
            self._proxy.forget_epoch(epoch)
        effects: list[Effect] = []
        if gone and self._unwrapping is not None:
            effects.append(Emit(EpochKeysDeleted()))
        if self._keys.q != puzzle.period(self._params, self.node_id, day_of(now)):
            return effects + self._renew_proof(day_of(now), 0)
        return effects + self._publish((0, 0), now) if fresh else effects

    def _renew_proof(self, day: int, start: int) -> list[Effect]:
        """The identity puzzle's period is over: solve the new one elsewhere, then publish."""
        job = partial(puzzle.solve, self.network, self.node_id, day, start, NODE_LIMITS.puzzle_chunk)

        def solved(found: Any, now: float) -> list[Effect]:
            if isinstance(found, Exception):
                return [Emit(OwnDescriptorRefused(f"the puzzle could not be solved: {found}"))]
            if found is None:
                return self._renew_proof(day, start + NODE_LIMITS.puzzle_chunk)
            self._keys = replace(self._keys, nonce=found.nonce, q=found.q, storage_id=found.storage_id)
            return [Emit(KeysRenewed(self._keys)), *self._publish((0, 0), now)]

        return self._jobs.start("cpu", job, solved)

    def _outdo(self, order: tuple[int, int], now: float) -> list[Effect]:
        # Two nodes that run with one key would go on for ever: not more often than the gossip.
        if now - self._outdone < self._params.gossip_interval:
            return []
        self._outdone = now
        return self._publish(order, now)

    def _publish(self, above: tuple[int, int], now: float) -> list[Effect]:
        """A descriptor for the keys of now, later than the last one and than `above`.

        Revisions count parts of the day (1.3 s each), so that a node whose disk was lost still comes out
        above what it published before.
        """
        order = day_of(now), int(now % DAY * _REVISIONS / DAY)
        last = max(above, self._published)
        if order <= last:
            order = last[0], last[1] + 1
        if order[1] >= _REVISIONS:
            return []  # only after endless restarts within one second; the next day has new ones
        self._published = order
        self._own = build(
            self._keys.seed,
            self.network,
            day=order[0],
            revision=order[1],
            epoch=self._epochs.epoch,
            mix_keys=self._epochs.public_mix(),
            proxy_keys=self._epochs.public_proxy(),
            endpoint=self._endpoint,
            link_cert_hash=self._link_cert_hash,
            proof=Proof(self._keys.nonce, self._keys.q, self._keys.storage_id),
            roles=self._roles,
            stamp_bits=self._replica.publish_claim(order[0]),
        )
        return [Emit(OwnDescriptor(self._own.raw)), *self._directory.publish(self._own, now)]

    # frames

    def _settle(self, effects: list[Effect], now: float) -> list[Effect]:
        """Take in at once what a role sends to this node itself: a home that is its own proxy."""
        for effect in effects:
            if isinstance(effect, Send) and effect.peer == self.node_id:
                break
        else:
            return effects
        settled: list[Effect] = []
        left = deque(effects)
        while left:
            effect = left.popleft()
            if isinstance(effect, Send) and effect.peer == self.node_id:
                left.extendleft(reversed(self._take(self.node_id, effect.frame, now)))
            else:
                settled.append(effect)
        return settled

    def _take(self, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        try:
            return self._dispatch(peer, frame, now)
        except RemoteProtocolError:
            self.stats.add(f"drop.frame_{frame.kind}")
            return []

    def _came_opened(self, opened: Opened | None, now: float, source: bytes) -> None:
        self._deliver(self._mix.handle_opened(opened, now, source), now, source)

    def _deliver(self, delivered: Delivered | None, now: float, source: bytes) -> None:
        if delivered is not None:
            self._courier.handle_delivered(delivered, now, source)

    def _dispatch(self, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        if self.drained_by is not None and frame.kind in (Kind.PACKET, Kind.PROXY_QUERY):
            self.stats.add("drop.draining")
            return []
        match frame.kind:
            case Kind.PACKET:
                source = self.view.part_of(peer)
                if self._unwrapping is not None:
                    return self._unwrapping.add(frame.payload, now, source)
                self._deliver(self._mix.handle_packet(frame.payload, now, source), now, source)
                return []
            case Kind.PROXY_QUERY:
                return self._proxy.handle_query(peer, frame, now)
            case Kind.PROXY_REPLY:
                self._courier.handle_reply(peer, frame, now)
                return []
            case Kind.HOME_QUERY:
                # What the own proxy asks was measured when the couriers asked it.
                if peer != self.node_id and not self._home_askers.take(self.view.part_of(peer), now):
                    return self._replica.put_off(peer, frame)
                return self._replica.handle_query(peer, frame, now)
            case Kind.HOME_REPLY:
                return self._proxy.asker.handle_reply(peer, frame, now)
            case Kind.OFFER:
                return self._repair.handle_offer(peer, frame.payload, now)
            case Kind.NEED:
                self._repair.handle_need(peer, frame.payload, now)
                return []
            case Kind.RECORD:
                return self._repair.handle_record(peer, frame.payload, now)
            case Kind.DIGEST:
                return self._directory.handle_digest(peer, frame.payload)
            case Kind.WANT:
                return self._directory.handle_want(peer, frame.payload)
            case Kind.PUSH:
                return self._directory.handle_push(peer, frame.payload, now)
        raise RemoteProtocolError(f"frames of kind {frame.kind} are not for a node's roles")
