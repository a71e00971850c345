"""Whose bytes are worked on: a bounded piece of work in each turn of the reactor, fairly shared.

Rules:

- Bytes wait in their link (`Link.dataReceived` only keeps them); a link whose inbox is full is not read,
  so that TCP holds its peer back.
- In one turn `NodeLimits.link_turn` wire frames are taken, one of each link in the ring in turn: who sends
  much waits behind himself.  Between two turns the reactor serves timers, new connections and handshakes.
- No frame is taken while the node has enough to do (`ready`); `resume` says that it has not any more.
- Links to nodes of the directory come before others, who get one frame in `link_stranger` at least: ids
  cost nothing until their puzzle is checked.
- Callers begin TLS in turn by address, `link_handshakes` in one turn, of one address the latest first: those
  who came before and wait still are many, and he may be somebody else.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mixmail.params import NodeLimits

if TYPE_CHECKING:
    from mixmail.link.protocol import Link


class Turns:
    """`known` says whether a link's peer stands in the directory, `ready` whether a frame may be taken."""

    def __init__(
        self,
        reactor: Any,
        limits: NodeLimits,
        known: Callable[[Link], bool],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reactor = reactor
        self._limits = limits
        self._known = known
        self._ready = ready
        self._ring: deque[Link] = deque()
        self._strangers: deque[Link] = deque()
        self._shy: OrderedDict[str | None, deque[Link]] = OrderedDict()  # callers by address, before TLS
        self._awake = False  # a turn is ordered

    def wants_input(self, link: Link) -> None:
        """A link has a whole frame.  To be called once, until `take_frame` has returned False."""
        (self._ring if self._known(link) else self._strangers).append(link)
        self._wake()

    def resume(self) -> None:
        """The node is ready again, in case that somebody waits for it."""
        if self._ring or self._strangers:
            self._wake()

    def wants_handshake(self, link: Link, address: str | None) -> None:
        """A caller waits for the first byte of its TLS to be read."""
        self._shy.setdefault(address, deque()).append(link)
        self._wake()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._awake = False
        try:
            self._begin_handshakes()
            self._take_frames()
        finally:
            if self._shy or ((self._ring or self._strangers) and self._ready()):
                self._wake()

    def _begin_handshakes(self) -> None:
        begun = 0
        while self._shy and begun < self._limits.link_handshakes:
            address, waiting = self._shy.popitem(last=False)
            link = waiting.pop()
            if waiting:
                self._shy[address] = waiting
            if not link.closed:
                link.read()
                begun += 1

    def _take_frames(self) -> None:
        ring, strangers = self._ring, self._strangers
        for number in range(1, self._limits.link_turn + 1):
            if not self._ready():
                return
            if strangers and (not ring or number % self._limits.link_stranger == 0):
                link = strangers.popleft()
            elif ring:
                link = ring.popleft()
            else:
                return
            if link.take_frame():
                (ring if self._known(link) else strangers).append(link)
