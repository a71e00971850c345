"""What the surroundings ask of a node (`Node.handle_command`); `effects.Done` is one more."""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.effects import Done


@dataclass(frozen=True, slots=True)
class Start:
    """The first command: publish the own descriptor and begin to gossip."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link to node `peer` is open and authenticated."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link to `peer` is gone, or could not be opened."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerDescriptor:
    """A packed descriptor came in beside the gossip: from a link's HELLO, a seed or a file."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more packets and queries of others, and send what waits when its time has come.

    Done when `Node.waiting` is 0, at the latest at `Node.drained_by`; then comes `Stop`.
    """


@dataclass(frozen=True, slots=True)
class Stop:
    """The last command: forget what waits; nothing may be asked of the node afterwards."""


Command = Start | LinkUp | LinkDown | PeerDescriptor | Drain | Stop | Done
