"""Nodes that this user no longer takes as courier or proxy; mixes are drawn from all nodes as before.

Two kinds of evidence (docs/protocol/store.md, "Read-backs"):

- A proxy's word against that of others: it said that a write is stored, and no other way finds it; or it
  found nothing where the next way found the record.
- Losses by role: a query whose courier or proxy gives no answer, or bytes that are none, counts as lost, and
  `losses.NodeLosses` finds out in which role a node loses more than the others.  By role, since who meets a
  query once as its courier, but may twice as a mix, hides the one behind the other.

Whoever makes us avoid honest nodes has more of our queries himself, so at most a quarter of the network is
avoided: hostile nodes that are a fifth of all are then at most 27 % of what is drawn from.
"""

from __future__ import annotations

from collections import Counter, deque

from mixmail.params import NODE_LIMITS

from .losses import NodeLosses

ROLES = "mmmcpmmm"  # what the nodes of a query are to it, in the order of its way
LIES = 1 / 4  # of a proxy's checked words: an honest one comes to this only by several liars' word


class Suspects:
    """What one agent holds against nodes; in memory only, as on disk it would say when the user was there."""

    def __init__(self) -> None:
        self._checked: deque[tuple[bytes, bool]] = deque(maxlen=NODE_LIMITS.checked_words)
        self._losses = NodeLosses()
        self._ended = 0
        self._lossy: tuple[bytes, ...] = ()

    def checked(self, proxy: bytes, lied: bool) -> None:
        """The word of `proxy` was checked by other ways."""
        self._checked.append((proxy, lied))

    def ended(self, answered: bool, nodes: tuple[bytes, ...]) -> None:
        """A query has ended that passed these nodes: three mixes, courier, proxy, three mixes."""
        passed = zip(ROLES, nodes, strict=True)
        self._losses.add(answered, tuple(role.encode() + node for role, node in passed))
        self._ended += 1
        if self._ended % NODE_LIMITS.loss_look == 0:
            named = [one.node_id for one in self._losses.named()]
            self._lossy = tuple(node[1:] for node in named if node[:1] != b"m")

    def avoided(self, others: int) -> frozenset[bytes]:
        """Whom not to take as courier or proxy in a network of so many other nodes: its worst quarter."""
        words = Counter(proxy for proxy, _ in self._checked)
        lies = Counter(proxy for proxy, lied in self._checked if lied)
        liars = sorted(
            (proxy for proxy in lies if lies[proxy] >= LIES * words[proxy]),
            key=lambda proxy: (-lies[proxy], proxy),
        )
        worst = dict.fromkeys((*liars, *self._lossy))
        return frozenset(list(worst)[: others // 4])
