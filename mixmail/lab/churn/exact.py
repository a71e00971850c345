"""The exact path: `Replica`, `Repair`, `View`, `Asker` and their walks as they ship, for a small network.

No mixes, no agents and no stamps: a box comes to its homes by the walk of a proxy of its own, and at the end
another asks for it as a reader does who has missed it (SPREAD).  All nodes share one view, which gossip would
give them within minutes.  Placement, body hashes and proofs of identity are computed once for equal inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from mixmail.boxes import placement
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record, RecordType, key_field, sign_record
from mixmail.boxes.store import START as FIRST_PLACE
from mixmail.crypto import hashing, kem
from mixmail.directory import puzzle
from mixmail.directory.descriptor import FULL, build
from mixmail.directory.view import View
from mixmail.effects import Effect, Frame, Offload, Send
from mixmail.jobs import Jobs
from mixmail.lab.churn.fast import SECOND
from mixmail.lab.churn.setting import Flags, Floats, Ints, Kind, Population, Setting
from mixmail.lab.churn.storers import Storer
from mixmail.lab.scheduler import Scheduler
from mixmail.node import repair as repair_module
from mixmail.node.asker import Asker
from mixmail.node.keys import NodeKeys
from mixmail.node.repair import Repair, StorageIds
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.walks import ReadWalk, Walk, WriteWalk
from mixmail.node.wire import HomeQuery
from mixmail.node.wire import Kind as Message
from mixmail.params import DAY, GEOMETRY, MAIL, NODE_LIMITS, Network, day_of
from mixmail.testing import MemoryStore, SeededRandomness

START = 20_000.0 * DAY
LATENCY = 0.05
AGAIN_S = 1_800.0  # from a write with too few acknowledgements to the next try: `fast.STEP_H` in the mean
LOOKS = 64  # reads that must all fail before a box is called lost
_KEPT = 400_000
Ranking = Callable[[bytes, StorageIds, int], list[bytes]]


@contextmanager
def computed_once() -> Iterator[Ranking]:
    """Inside, rankings and body hashes are remembered; their values are the real ones.  Gives `ranking`."""
    ranked = lru_cache(_KEPT)(lambda key, nodes, limit: tuple(placement.ranking(key, nodes, limit)))
    hashed = lru_cache(_KEPT)(hashing.blake2b)

    def ranking(key: bytes, nodes: StorageIds, limit: int) -> list[bytes]:
        return list(ranked(key, nodes, limit))

    with ExitStack() as stack:
        stack.enter_context(patch.object(repair_module, "ranking", ranking))
        stack.enter_context(patch.object(Record, "body_hash", property(lambda record: hashed(record.c))))
        yield ranking


class _Host:
    """One machine: a home as it ships, or a hostile one."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.rng = SeededRandomness(f"churn host {world.seed} {number}")
        self.node_id = world.keys[number].node_id
        self.kind = Kind(int(world.people.kind[number]))
        self.storer = Storer(self.kind, self.rng)
        self.store = MemoryStore()
        self.jobs = Jobs(NODE_LIMITS.jobs)
        self.wakes_at = float("inf")
        stats, limits = Stats(), world.setting.limits(NODE_LIMITS)
        self.stats = stats
        self.replica = Replica(world.network, self.store, self.jobs, stats, limits)
        self.repair = Repair(
            world.network,
            self.node_id,
            world.view,
            self.store,
            self.replica.take_in,
            self.jobs,
            self.rng,
            stats,
            limits,
        )

    @property
    def plays_along(self) -> bool:
        """Whether it runs the shipping code."""
        return self.kind in (Kind.HONEST, Kind.FORGET)

    def start(self) -> None:
        """Begin to sweep."""
        if self.plays_along and self.world.setting.repairs:
            if self.world.setting.forwards:
                self.replica.on_new = self.repair.note_new
            self.repair.start(self.world.now)
            self._plan()

    def leave(self) -> None:
        """Hand over, then be gone."""
        if not self.plays_along or not self.world.setting.repairs:
            self.world.remove(self)
            return
        self.repair.leave(self.world.now + MAIL.delay_max, self.world.now)
        self._plan()

    def receive(self, peer: bytes, frame: Frame) -> None:
        """Take in one message."""
        now = self.world.now
        if not self.plays_along:
            self._carry_out(self.storer.handle_frame(peer, frame))
            return
        match frame.kind:
            case Message.HOME_QUERY:
                self._carry_out(self.replica.handle_query(peer, frame, now))
            case Message.OFFER:
                self._carry_out(self.repair.handle_offer(peer, frame.payload, now))
            case Message.NEED:
                self.repair.handle_need(peer, frame.payload, now)
            case Message.RECORD:
                self._carry_out(self.repair.handle_record(peer, frame.payload, now))
        self._plan()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.world.send(self.node_id, effect)
            elif isinstance(effect, Offload):
                self._carry_out(self.jobs.done(effect.token, effect.job(), self.world.now))

    def _plan(self) -> None:
        when = self.repair.wake
        if when < self.wakes_at:
            self.wakes_at = when
            self.world.at(when, partial(self._wake, when))

    def _wake(self, when: float) -> None:
        if self.wakes_at != when or self.world.hosts.get(self.node_id) is not self or self.world.frozen:
            return
        self.wakes_at = float("inf")
        self._carry_out(self.repair.handle_timeout(self.world.now))
        if self.repair._leaving_by is not None and (
            not self.repair.leaving or self.world.now >= self.repair._leaving_by
        ):
            self.world.remove(self)
            return
        self._plan()

    def forget(self) -> None:
        """Lose everything."""
        for record in self.store.scan(FIRST_PLACE, _KEPT):
            self.store.drop(record)


class _Proxy:
    """A proxy with one walk; `ended` gets the walk when it is over."""

    def __init__(self, world: World, walk: Walk, ended: Callable[[Walk], None]) -> None:
        self.world = world
        self.node_id = world.rng.bytes(32)
        self.asker = Asker(world.network.parameters, world.rng, Stats())
        world.proxies[self.node_id] = self

        def finished(now: float) -> list[Effect]:
            del world.proxies[self.node_id]
            ended(walk)
            return []

        self._carry_out(self.asker.start(walk, finished, world.now))

    def receive(self, peer: bytes, frame: Frame) -> None:
        """A home's reply."""
        self._carry_out(self.asker.handle_reply(peer, frame, self.world.now))

    def _look(self) -> None:
        if self.node_id in self.world.proxies:
            self._carry_out(self.asker.handle_timeout(self.world.now))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.world.send(self.node_id, effect)
        due = self.asker.next_timeout()
        if due is not None:
            self.world.at(due, self._look)


class World:
    """A small network through all days of `setting`; `run` returns which boxes nobody can read at the end."""

    def __init__(self, setting: Setting, people: Population, written_at: Floats, seed: int) -> None:
        self.setting, self.people, self.seed = setting, people, seed
        params = setting.parameters(MAIL)
        # identities are not renewed: one proof holds for ever
        params = dataclasses.replace(
            params, puzzle_memory=8_192, puzzle_bits=1, box_bits=0, puzzle_days=2**40
        )
        self.network = Network(SeededRandomness(f"churn network {seed}").bytes(32), day_of(START) - 9, params)
        self.rng = SeededRandomness(f"churn {seed}")
        self.view = View(self.network)
        self.clock = Scheduler(START)
        self.hosts: dict[bytes, _Host] = {}
        self.proxies: dict[bytes, _Proxy] = {}
        self.frozen = False
        self.ranking: Ranking = placement.ranking
        self.written_at = written_at
        self.keys = [self._make_keys(number) for number in range(len(people))]
        self.boxes = [self._make_box(number) for number in range(len(written_at))]
        self.written = np.zeros(len(written_at), bool)
        self._kem = kem.PrivateKey.from_seed(self.rng.bytes(32)).public
        self._revision = 0

    # what the fast path needs to be told

    def scores(self, begin: int, end: int) -> NDArray[np.uint64]:
        """The scores of all nodes for the boxes `begin` to `end`: their first eight bytes."""
        ids = [keys.storage_id for keys in self.keys]
        rows = [
            [int.from_bytes(placement.score(one, box.key)[:8], "big") for one in ids]
            for box in self.boxes[begin:end]
        ]
        return np.array(rows, np.uint64)

    # running

    @property
    def now(self) -> float:
        """Virtual unix time."""
        return self.clock.now

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Do something later."""
        self.clock.at(when, call)

    def send(self, sender: bytes, message: Send) -> None:
        """Frames to who is gone are lost."""

        def arrive() -> None:
            target = self.hosts.get(message.peer) or self.proxies.get(message.peer)
            if target is not None:
                target.receive(sender, message.frame)

        self.at(self.now + LATENCY, arrive)

    def remove(self, host: _Host) -> None:
        """This machine is off, for ever."""
        self.hosts.pop(host.node_id, None)

    def run(self, say: Callable[[str], None] = lambda text: None) -> Flags:
        """Which boxes were stored and cannot be read at the end."""
        with computed_once() as self.ranking:
            self._plan_lives()
            for number, when in enumerate(self.written_at):
                self.at(START + when * DAY, partial(self._write, number))
            for day in range(1, self.setting.days + 1):
                self.clock.run_until(START + day * DAY)
                say(f"day {day} of {self.setting.days}")
            self.frozen = True
            found = np.zeros(len(self.boxes), bool)
            for _ in range(LOOKS):
                for missing in np.flatnonzero(self.written & ~found):
                    self._read(int(missing), found)
                self.clock.run_until(self.now + NODE_LIMITS.proxy_rounds * MAIL.home_timeout + 1)
            return self.written & ~found

    def copies(self) -> Ints:
        """At how many nodes that run each box is."""
        held = [host.store for host in self.hosts.values() if host.plays_along]
        return np.array([sum(store.get(box.key) is not None for store in held) for box in self.boxes])

    # lives

    def _plan_lives(self) -> None:
        people, end = self.people, self.setting.days
        for number in range(len(people)):
            birth, death = float(people.birth[number]), float(people.death[number])
            if death <= 0:
                if people.gone[number] > 0:  # dead before it begins, but not yet forgotten
                    self._publish(number, day_of(START + death * DAY - MAIL.clock_skew))
                continue
            self.at(START + max(birth, 0.0) * DAY, partial(self._begin, number))
            if death < end:
                self.at(START + death * DAY, partial(self._end, number))
            for day in range(int(max(birth, -1.0)) + 1, end):
                self.at(START + day * DAY + MAIL.clock_skew, partial(self._renew, number))
        for day in range(1, end + 1):
            self.at(START + day * DAY - 1e-3, self._midnight)

    def _begin(self, number: int) -> None:
        if not self.frozen:
            host = _Host(self, number)
            self.hosts[host.node_id] = host
            self._publish(number, day_of(self.now))
            host.start()

    def _end(self, number: int) -> None:
        host = self.hosts.get(self.keys[number].node_id)
        if host is None or self.frozen:
            return
        if not self.people.graceful[number]:
            self.remove(host)
            return
        host.leave()
        if self.setting.announced:
            self._publish(number, day_of(self.now), roles=0)

    def _renew(self, number: int) -> None:
        host = self.hosts.get(self.keys[number].node_id)
        if host is not None and host.repair._leaving_by is None and not self.frozen:
            self._publish(number, day_of(self.now))

    def _midnight(self) -> None:
        self.view.expire(self.now)
        for host in self.hosts.values():
            if host.kind is Kind.FORGET and not self.frozen:
                host.forget()

    def _publish(self, number: int, day: int, roles: int = FULL) -> None:
        keys = self.keys[number]
        self._revision += 1
        descriptor = build(
            keys.seed,
            self.network,
            day=day,
            revision=self._revision % 2**16,
            epoch=day,
            mix_keys=[self._kem] * GEOMETRY.published_epochs,
            proxy_keys=[self._kem] * GEOMETRY.published_epochs,
            endpoint=f"tcp:host=node{number}:port=1",
            link_cert_hash=bytes(32),
            proof=puzzle.Proof(keys.nonce, keys.q, keys.storage_id),
            roles=roles,
        )
        if not self.view.add(descriptor, self.now):
            raise ValueError(f"the view refused a descriptor: {self.view.refusal(descriptor, self.now)}")

    def _make_keys(self, number: int) -> NodeKeys:
        seed = SeededRandomness(f"churn node {self.seed} {number}").bytes(32)
        node_id, start = NodeKeys(seed, b"", 0, b"").node_id, 0
        while (proof := puzzle.solve(self.network, node_id, day_of(START), start, 64)) is None:
            start += 64
        return NodeKeys(seed, proof.nonce, proof.q, proof.storage_id)

    # boxes

    def _make_box(self, number: int) -> Record:
        owner = OwnerKey.from_seed(self.rng.bytes(32), "churn")
        text = number.to_bytes(8, "big") + bytes(GEOMETRY.box_ct - 8)
        return sign_record(owner, RecordType.BOX, MAIL.mail_class, day_of(START), 0, text, self.rng)

    def _homes(self, key: bytes, limit: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.ranking(key, self.view.storage_ids(self.now), limit)))

    def _write(self, number: int, second: bool = False) -> None:
        if self.frozen:
            return
        box, params = self.boxes[number], self.network.parameters
        ask = HomeQuery(QueryOp.WRITE, box.pack())

        def ended(walk: Walk) -> None:
            if second:
                return
            if walk.acks.bit_count() < params.quorum_of(len(self.view.eligible(self.now))):
                self.at(self.now + AGAIN_S, partial(self._write, number))
                return
            self.written[number] = True
            wait = self.rng.exponential(SECOND * DAY)
            if self.setting.spread and wait < self.rng.exponential(1) / self.setting.leave * DAY:
                self.at(self.now + wait, partial(self._write, number, second=True))

        homes = self._homes(box.key, params.replicas if second else params.write_tries)
        if second:
            self.rng.shuffle(homes)
        _Proxy(self, WriteWalk(ask, homes, params.write_acks, record=box, today=day_of(self.now)), ended)

    def _read(self, number: int, found: Flags) -> None:
        box, params = self.boxes[number], self.network.parameters
        homes = self._homes(box.key, params.replicas)
        self.rng.shuffle(homes)

        def ended(walk: Walk) -> None:
            assert isinstance(walk, ReadWalk)
            found[number] |= any(record.identical(box) for record in walk.found.values())

        ask = HomeQuery(QueryOp.READ, key_field(box.key))
        today = day_of(self.now)
        _Proxy(self, ReadWalk(ask, homes, params.read_homes, key=box.key, today=today), ended)


def lost(setting: Setting, people: Population, written_at: Sequence[float], seed: int) -> tuple[Flags, World]:
    """The boxes that are lost, and the world in which they are."""
    world = World(setting, people, np.asarray(written_at), seed)
    return world.run(), world
