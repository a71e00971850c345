"""What a node tells its surroundings (inside `effects.Emit`)."""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.node.keys import NodeKeys


@dataclass(frozen=True, slots=True)
class SurbReply:
    """A body (25711 bytes, still under the SURB's keys) came back for the agent's SURB `ident`."""

    ident: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The directory's view got new or newer descriptors; `nodes` is how many it has now."""

    nodes: int


@dataclass(frozen=True, slots=True)
class OwnDescriptor:
    """The node has a new descriptor of its own (start, epoch turn): what HELLO and seeds carry."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class KeysRenewed:
    """The identity puzzle of the new period is solved: keep these keys in place of the old ones."""

    keys: NodeKeys


@dataclass(frozen=True, slots=True)
class OwnDescriptorRefused:
    """The node cannot publish itself: `reason` is `View.refusal`'s word, for instance "puzzle period" when
    the identity puzzle must be solved again.  It goes on with what it published before."""

    reason: str


@dataclass(frozen=True, slots=True)
class EpochKeysDeleted:
    """Keys of past epochs are deleted: whoever opens packets elsewhere must forget them as well."""


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The record store did not do its work (a full disk, a damaged file); the asker was put off."""

    reason: str


@dataclass(frozen=True, slots=True)
class BlockingSuspected:
    """No own loop came in for `alarm_give_up_slots` slots: somebody may hold back what goes to this mix.
    The `dropped` packets that it held are gone, and it goes on mixing."""

    dropped: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The node has stopped; `dropped` packets, queries and answers were still waiting in it."""

    dropped: int
