"""The role directory: keeps the view full by gossip (docs/protocol/directory.md, "Gossip").

Rules:
- a fresh link, and `params.gossip_peers` random peers every `params.gossip_interval`, get a DIGEST;
- a peer that names a descriptor unheard of is asked by WANT and answers by PUSH;
- what is new is pushed on to `params.gossip_peers` random peers, an own change to all links;
- the cheap checks come first; the identity puzzle is checked as `Offload`, once for each proof;
- an older life of this node may still be told about: a descriptor of the own id with a higher number
  than ours makes us publish one that is higher still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mixmail.directory import gossip, puzzle
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.jobs import Jobs
from mixmail.node.events import OwnDescriptorRefused, ViewChanged
from mixmail.node.stats import Stats
from mixmail.node.wire import Kind
from mixmail.params import NODE_LIMITS, Network
from mixmail.randomness import Randomness


class Directory:
    """One node's part in the gossip.  `outdo(order, now)` is asked to publish above `order`."""

    def __init__(
        self,
        network: Network,
        own_id: bytes,
        view: View,
        jobs: Jobs,
        rng: Randomness,
        stats: Stats,
        outdo: Callable[[tuple[int, int], float], list[Effect]],
    ) -> None:
        self._network = network
        self._params = network.parameters
        self._own_id = own_id
        self._view = view
        self._jobs = jobs
        self._rng = rng
        self._stats = stats
        self._outdo = outdo
        self._links: set[bytes] = set()
        self._proving: set[bytes] = set()  # hashes of descriptors whose puzzle is being checked
        self.next_gossip = math.inf

    @property
    def links(self) -> frozenset[bytes]:
        """The peers to which a link is open."""
        return frozenset(self._links)

    def start(self, now: float) -> None:
        """Begin to gossip."""
        self.next_gossip = now + self._params.gossip_interval

    def handle_timeout(self, now: float) -> list[Effect]:
        """Gossip, when it is time."""
        if now < self.next_gossip:
            return []
        self.next_gossip = now + self._params.gossip_interval
        self._view.expire(now)
        digest = self._digest()
        return [Send(peer, digest) for peer in self._random_peers(set())]

    def link_up(self, peer: bytes) -> list[Effect]:
        """Tell a fresh peer what is known here."""
        self._links.add(peer)
        return [Send(peer, self._digest())]

    def link_down(self, peer: bytes) -> None:
        """Remember that there is no link."""
        self._links.discard(peer)

    def publish(self, own: Descriptor, now: float) -> list[Effect]:
        """Put the own new descriptor into the view and push it to all links."""
        self._view.checks.accept_puzzle(own)  # solved here; the others check it
        if not self._view.add(own, now):
            return [Emit(OwnDescriptorRefused(self._view.refusal(own, now) or "two of one revision"))]
        push = gossip.pack_push([own])
        effects: list[Effect] = [Send(peer, Frame(Kind.PUSH, 0, push)) for peer in sorted(self._links)]
        return [*effects, self._changed()]

    # frames

    def handle_digest(self, peer: bytes, payload: bytes) -> list[Effect]:
        """Ask for what this node has never heard of; RemoteProtocolError for a malformed digest."""
        ask = self._view.wanted(gossip.parse_digest(payload))[: NODE_LIMITS.want_batch]
        return [Send(peer, Frame(Kind.WANT, 0, gossip.pack_want(ask)))] if ask else []

    def handle_want(self, peer: bytes, payload: bytes) -> list[Effect]:
        """Hand out descriptors; RemoteProtocolError for a malformed list."""
        found = self._view.descriptors(gossip.parse_want(payload)[: NODE_LIMITS.want_batch])
        size = NODE_LIMITS.push_batch
        batches = (found[at : at + size] for at in range(0, len(found), size))
        return [Send(peer, Frame(Kind.PUSH, 0, gossip.pack_push(batch))) for batch in batches]

    def handle_push(self, peer: bytes, payload: bytes, now: float) -> list[Effect]:
        """Take in descriptors; RemoteProtocolError for a malformed list."""
        return self._take_in(gossip.parse_push(payload), peer, now)

    def handle_descriptor(self, raw: bytes, now: float) -> list[Effect]:
        """Take in a descriptor from elsewhere; RemoteProtocolError when its layout is broken."""
        return self._take_in([Descriptor.parse(raw)], None, now)

    # taking in

    def _take_in(self, descriptors: Iterable[Descriptor], peer: bytes | None, now: float) -> list[Effect]:
        effects: list[Effect] = []
        fresh: list[Descriptor] = []
        for item in descriptors:
            if not self._view.wanted([(item.node_id, item.hash)]) or item.hash in self._proving:
                continue
            reason = self._view.cheap_refusal(item, now)
            if reason is not None:
                self._stats.add(f"drop.descriptor_{reason.replace(' ', '_')}")
            elif item.node_id == self._own_id:
                effects.extend(self._meet_own(item, now))
            elif self._view.puzzle_known(item):
                if self._view.add(item, now):
                    fresh.append(item)
            elif len(self._proving) >= NODE_LIMITS.proofs or self._jobs.full:
                self._stats.add("drop.descriptor_busy")
            else:
                self._proving.add(item.hash)
                job = partial(puzzle.check, self._network, item.node_id, item.proof)
                effects.extend(self._jobs.start("cpu", job, partial(self._proved, item, peer)))
        return [*effects, *self._spread(fresh, peer)]

    def _proved(self, item: Descriptor, peer: bytes | None, good: Any, now: float) -> list[Effect]:
        self._proving.discard(item.hash)
        if good is not True:
            self._stats.add("drop.descriptor_puzzle")
            return []
        self._view.checks.accept_puzzle(item)
        return self._spread([item] if self._view.add(item, now) else [], peer)

    def _meet_own(self, item: Descriptor, now: float) -> list[Effect]:
        own = self._view.get(self._own_id)
        if own is None or item.order < own.order:
            return []  # an earlier one of ours, still on its way
        return self._outdo(item.order, now)

    def _spread(self, fresh: list[Descriptor], source: bytes | None) -> list[Effect]:
        if not fresh:
            return []
        self._stats.add("directory.new", len(fresh))
        without = {item.node_id for item in fresh}
        if source is not None:
            without.add(source)
        push = Frame(Kind.PUSH, 0, gossip.pack_push(fresh))
        effects: list[Effect] = [Send(peer, push) for peer in self._random_peers(without)]
        return [*effects, self._changed()]

    def _changed(self) -> Emit:
        return Emit(ViewChanged(len(self._view.all())))

    def _random_peers(self, without: set[bytes]) -> list[bytes]:
        """Random peers with a link; known ones as long as there is no link at all."""
        peers = self._links or {item.node_id for item in self._view.all()}
        return self._rng.sample(sorted(peers - without - {self._own_id}), self._params.gossip_peers)

    def _digest(self) -> Frame:
        return Frame(Kind.DIGEST, 0, gossip.pack_digest(self._view.digest()))
