"""The full view: every node keeps the newest valid descriptor of every node.

Everybody draws paths and homes from the same full view, since a partial view is a fingerprint of the
one who has it (docs/protocol/directory.md).  Rules:

- A descriptor is checked in this order: size (parse), date, network and parameters, signature, keys,
  puzzle; the dear Argon2id comes last and once for each (id, nonce, q).
- Of one node the highest (day, revision) counts.  Two different descriptors of one id, day and revision
  prove that the node lies to somebody: its id is dropped until it publishes for a later day, and both
  go on to the others.
- `eligible` and `layers` depend on the kept descriptors, the day and the epoch, never on the order in
  which they came in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from mixmail.crypto import hashing
from mixmail.directory import puzzle
from mixmail.directory.descriptor import FULL, Descriptor, epoch_of
from mixmail.directory.networks import network_of
from mixmail.errors import RemoteProtocolError
from mixmail.params import NODE_LIMITS, PROTOCOL_VERSION, Network, day_of

Layers = tuple[tuple[Descriptor, ...], tuple[Descriptor, ...], tuple[Descriptor, ...]]

STRANGERS = b""
_LAYERS = 3
_U_BITS = 64


class Checks:
    """What was found to be valid, so that it is not checked again.

    One object may serve several views of one network in one process.  `puzzles` maps
    (node id, nonce, q) to the storage id that Argon2id gave; `valid` maps a node id to its last
    descriptor that passed every check.  Only who solved a puzzle takes memory here.
    """

    def __init__(self) -> None:
        self.puzzles: dict[tuple[bytes, bytes, int], bytes] = {}
        self.valid: dict[bytes, Descriptor] = {}

    def accept_puzzle(self, descriptor: Descriptor) -> None:
        """Hand over that `puzzle.check` was true for this descriptor's proof."""
        key = (descriptor.node_id, descriptor.nonce, descriptor.q)
        self.puzzles[key] = descriptor.storage_id

    def prune(self, oldest_day: int) -> None:
        """Forget what does not belong to a valid descriptor of `oldest_day` or later."""
        self.valid = {key: item for key, item in self.valid.items() if item.day >= oldest_day}
        live = {(item.node_id, item.nonce, item.q) for item in self.valid.values()}
        self.puzzles = {key: value for key, value in self.puzzles.items() if key in live}


class View:
    """All descriptors that one node knows.  `changed` counts the changes."""

    def __init__(self, network: Network, checks: Checks | None = None) -> None:
        self.network = network
        self.checks = Checks() if checks is None else checks
        self.changed = 0
        self._params = network.parameters
        self._network_hash = network.hash
        self._parameters_hash = network.parameters.hash()
        self._nodes: dict[bytes, Descriptor] = {}
        self._liars: dict[bytes, tuple[Descriptor, Descriptor]] = {}
        self._heard: dict[bytes, deque[bytes]] = {}  # hashes of the last valid descriptors of a node
        self._eligible_key: tuple[int, int, int] | None = None
        self._eligible: tuple[Descriptor, ...] = ()
        self._layers: Layers | None = None
        self._layer_of: dict[bytes, int] = {}
        self._storage_ids: tuple[tuple[bytes, bytes, bytes], ...] | None = None
        # of the one or two ids that ask for their others
        self._others: dict[bytes, tuple[Descriptor, ...]] = {}
        self._other_layers: dict[bytes, Layers] = {}

    # -- taking in ---------------------------------------------------------------------------------

    def add(self, descriptor: Descriptor, now: float) -> bool:
        """Check and keep `descriptor`; True when the view changed and the others should hear of it.

        False: known, older than what is kept, or refused (`refusal` says why).  Runs Argon2id when the
        puzzle was not checked before.
        """
        node_id = descriptor.node_id
        if descriptor.hash in self._heard.get(node_id, ()) or self.refusal(descriptor, now) is not None:
            return False
        descriptor = self.checks.valid[node_id]  # an equal one, perhaps with its keys already parsed
        self._heard.setdefault(node_id, deque(maxlen=NODE_LIMITS.heard_revisions)).append(descriptor.hash)
        liar = self._liars.get(node_id)
        if liar is not None:
            if descriptor.day <= liar[0].day:
                return False
            del self._liars[node_id]
        known = self._nodes.get(node_id)
        if known is not None and descriptor.order < known.order:
            return False
        if known is not None and descriptor.order == known.order:
            del self._nodes[node_id]
            self._liars[node_id] = (known, descriptor)
        else:
            self._nodes[node_id] = descriptor
        self.changed += 1
        return True

    def refusal(self, descriptor: Descriptor, now: float) -> str | None:
        """Why `descriptor` is not valid at `now`, in the order of the rules above; None when it is."""
        reason = self.cheap_refusal(descriptor, now)
        if reason is None and not self._puzzle_valid(descriptor):
            reason = "puzzle"
        if reason is None and not self._seen_valid(descriptor):
            self.checks.valid[descriptor.node_id] = descriptor
        return reason

    def cheap_refusal(self, descriptor: Descriptor, now: float) -> str | None:
        """As `refusal`, without Argon2id: what a core asks before it gives `puzzle.check` away as work."""
        today = day_of(now)
        if not today - self._params.descriptor_days <= descriptor.day <= today + 1:
            return "date"
        if descriptor.network_hash != self._network_hash:
            return "network"
        if descriptor.parameters_hash != self._parameters_hash:
            return "parameters"
        if not descriptor.version_min <= PROTOCOL_VERSION <= descriptor.version_max:
            return "version"
        if descriptor.q != puzzle.period(self._params, descriptor.node_id, descriptor.day):
            return "puzzle period"
        if self._seen_valid(descriptor):
            return None
        if not descriptor.check_signature():
            return "signature"
        try:
            _ = (*descriptor.mix_keys, *descriptor.proxy_keys)
        except RemoteProtocolError:
            return "keys"
        return None

    def puzzle_known(self, descriptor: Descriptor) -> bool:
        """True when `add` needs no Argon2id for this descriptor."""
        return (descriptor.node_id, descriptor.nonce, descriptor.q) in self.checks.puzzles

    def _seen_valid(self, descriptor: Descriptor) -> bool:
        seen = self.checks.valid.get(descriptor.node_id)
        return seen is not None and seen.hash == descriptor.hash

    def _puzzle_valid(self, descriptor: Descriptor) -> bool:
        if not self.puzzle_known(descriptor) and puzzle.check(
            self.network, descriptor.node_id, descriptor.proof
        ):
            self.checks.accept_puzzle(descriptor)
        key = (descriptor.node_id, descriptor.nonce, descriptor.q)
        return self.checks.puzzles.get(key) == descriptor.storage_id

    def expire(self, now: float) -> int:
        """Drop what is too old to be valid; returns how many nodes went."""
        oldest = day_of(now) - self._params.descriptor_days
        gone = [node_id for node_id, item in self._nodes.items() if item.day < oldest]
        for node_id in gone:
            del self._nodes[node_id]
        self._liars = {key: pair for key, pair in self._liars.items() if pair[0].day >= oldest}
        kept = self._nodes.keys() | self._liars.keys()
        self._heard = {key: hashes for key, hashes in self._heard.items() if key in kept}
        self.checks.prune(oldest)
        if gone:
            self.changed += 1
        return len(gone)

    # -- what is known -----------------------------------------------------------------------------

    def get(self, node_id: bytes) -> Descriptor | None:
        """The descriptor that counts for `node_id`, None when unknown or dropped."""
        return self._nodes.get(node_id)

    def part_of(self, peer: bytes) -> bytes:
        """Whose share `peer` takes of what is shared out by links: its own, or the one of all strangers.

        A stranger is who is not in the view: its id has cost nothing, so a thousand of them get one share.
        """
        return peer if peer in self._nodes else STRANGERS

    def all(self) -> tuple[Descriptor, ...]:
        """Every kept descriptor, by node id, eligible or not."""
        return tuple(self._nodes[node_id] for node_id in sorted(self._nodes))

    def dropped(self, node_id: bytes) -> bool:
        """True while the node stands convicted of publishing two descriptors for one day and revision."""
        return node_id in self._liars

    def says_it_left(self, node_id: bytes) -> bool:
        """True when the node's own newest descriptor says that it is no full node (any more)."""
        item = self._nodes.get(node_id)
        return item is not None and item.roles & FULL != FULL

    # -- gossip ------------------------------------------------------------------------------------

    def digest(self) -> list[tuple[bytes, bytes]]:
        """(node id, hash of descriptor), sorted; both of a node that was dropped."""
        entries = [(item.node_id, item.hash) for item in self._nodes.values()]
        entries += [(item.node_id, item.hash) for pair in self._liars.values() for item in pair]
        return sorted(entries)

    def wanted(self, digest: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """The node ids of a peer's digest of which this view never heard that descriptor."""
        return sorted({node_id for node_id, hash_ in digest if hash_ not in self._heard.get(node_id, ())})

    def descriptors(self, node_ids: Iterable[bytes]) -> list[Descriptor]:
        """What to answer to a peer that wants these ids; both descriptors of a dropped node."""
        found: list[Descriptor] = []
        for node_id in node_ids:
            found += self._liars.get(node_id, ())
            if node_id in self._nodes:
                found.append(self._nodes[node_id])
        return found

    # -- who takes part ----------------------------------------------------------------------------

    def eligible(self, now: float) -> tuple[Descriptor, ...]:
        """The full nodes with a key for the epoch at `now`, by node id; cached until something changes."""
        epoch, today = epoch_of(self._params, now), day_of(now)
        key = (self.changed, epoch, today)
        if key != self._eligible_key:
            oldest = today - self._params.descriptor_days
            self._eligible = tuple(
                item
                for item in self.all()
                if item.day >= oldest and epoch in item.epochs and item.roles & FULL == FULL
            )
            self._eligible_key = key
            self._layers = self._storage_ids = None
            self._others.clear()
            self._other_layers.clear()
        return self._eligible

    def others(self, own_id: bytes, now: float) -> tuple[Descriptor, ...]:
        """The eligible nodes without `own_id`."""
        nodes = self.eligible(now)
        others = self._others.get(own_id)
        if others is None:
            others = self._others[own_id] = tuple(item for item in nodes if item.node_id != own_id)
        return others

    def layers(self, now: float) -> Layers:
        """The eligible nodes by mix layer, each layer by node id; the own node is among them."""
        nodes = self.eligible(now)
        if self._layers is None:
            self._layer_of = self._assign(nodes)
            first, second, third = (
                tuple(item for item in nodes if self._layer_of[item.node_id] == layer)
                for layer in range(_LAYERS)
            )
            self._layers = (first, second, third)
        return self._layers

    def other_layers(self, own_id: bytes, now: float) -> Layers:
        """The layers without `own_id`."""
        layers = self.layers(now)
        found = self._other_layers.get(own_id)
        if found is None:
            first, second, third = (
                tuple(item for item in layer if item.node_id != own_id) for layer in layers
            )
            found = self._other_layers[own_id] = (first, second, third)
        return found

    def layer_of(self, node_id: bytes, now: float) -> int | None:
        """0, 1 or 2; None when the node is not eligible."""
        self.layers(now)
        return self._layer_of.get(node_id)

    def storage_ids(self, now: float) -> tuple[tuple[bytes, bytes, bytes], ...]:
        """(storage id, node id, network) of the eligible nodes: what the placement of boxes ranks."""
        nodes = self.eligible(now)
        if self._storage_ids is None:
            self._storage_ids = tuple(
                (item.storage_id, item.node_id, network_of(item.endpoint)) for item in nodes
            )
        return self._storage_ids

    def _assign(self, nodes: tuple[Descriptor, ...]) -> dict[bytes, int]:
        scored = sorted((self._u(item.storage_id), item.node_id) for item in nodes)
        if len(scored) < self._params.layers_by_hash_from:
            return {node_id: rank % _LAYERS for rank, (_, node_id) in enumerate(scored)}
        return {node_id: (_LAYERS * u) >> _U_BITS for u, node_id in scored}

    def _u(self, storage_id: bytes) -> int:
        digest = hashing.blake2b(b"mm1.layer" + self._network_hash + storage_id)
        return int.from_bytes(digest[: _U_BITS // 8], "big")
