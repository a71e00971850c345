"""Asking homes: several at a time, each with its time limit, until a walk has what it wants.

Rules:
- in flight and counted replies together are never more than the walk wants;
- a home that does not answer within `params.home_timeout`, or to which no link can be had, is passed
  over, and asked last for `params.link_timeout` seconds by all walks;
- after `NODE_LIMITS.proxy_rounds` such time limits no further home is asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from mixmail.effects import Effect, Frame, Send
from mixmail.errors import RemoteProtocolError
from mixmail.node.stats import Stats
from mixmail.node.walks import Ranked, Walk
from mixmail.node.wire import HomeReply, Kind, new_stream
from mixmail.params import NODE_LIMITS, NetworkParameters
from mixmail.randomness import Randomness

Finished = Callable[[float], list[Effect]]


@dataclass
class _Run:
    walk: Walk
    finished: Finished
    payload: bytes
    last_ask: float
    left: list[Ranked]  # the next home is the last item
    counted: int = 0
    in_flight: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Ask:
    run: _Run
    rank: int
    home: bytes


class Asker:
    """All walks of one proxy."""

    def __init__(self, params: NetworkParameters, rng: Randomness, stats: Stats) -> None:
        self._params = params
        self._rng = rng
        self._stats = stats
        self._asks: dict[int, _Ask] = {}
        self._timeouts: list[tuple[float, int]] = []  # heap; an answered ask's entry is skipped
        self._silent: dict[bytes, float] = {}  # home: until when it is asked last
        self.running = 0

    def next_timeout(self) -> float | None:
        """When the next home's time is over, at the earliest."""
        while self._timeouts and self._timeouts[0][1] not in self._asks:
            heapq.heappop(self._timeouts)
        return self._timeouts[0][0] if self._timeouts else None

    def start(self, walk: Walk, finished: Finished, now: float) -> list[Effect]:
        """Begin `walk`; `finished(now)` is called once, when its answer can be given."""
        prompt, late = list(walk.homes), []
        if self._silent:
            prompt = [home for home in walk.homes if self._silent.get(home[1], now) <= now]
            late = [home for home in walk.homes if self._silent.get(home[1], now) > now]
        last_ask = now + (NODE_LIMITS.proxy_rounds - 1) * self._params.home_timeout
        run = _Run(walk, finished, walk.query.pack(), last_ask, [*prompt, *late][::-1])
        self.running += 1
        return self._go_on(run, now)

    def handle_reply(self, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        """Take in a HOME_REPLY; RemoteProtocolError unless this home still owes this answer."""
        self._silent.pop(peer, None)
        ask = self._asks.get(frame.stream)
        if ask is None or ask.home != peer:
            raise RemoteProtocolError("nobody waits for this home's answer")
        self._drop(frame.stream)
        try:
            reply = HomeReply.parse(frame.payload)
        except RemoteProtocolError:
            # A home that sends garbage is passed over like one that sends nothing.
            self._stats.add("drop.home_reply")
        else:
            ask.run.counted += ask.run.walk.judge(ask.rank, reply)
        return self._go_on(ask.run, now)

    def handle_timeout(self, now: float) -> list[Effect]:
        """Pass over the homes whose time is over."""
        effects: list[Effect] = []
        while self._timeouts and self._timeouts[0][0] <= now:
            _, stream = heapq.heappop(self._timeouts)
            if stream in self._asks:
                effects.extend(self._pass_over(stream, now))
        return effects

    def link_down(self, peer: bytes, now: float) -> list[Effect]:
        """Pass over a home to which there is no link (any more)."""
        effects: list[Effect] = []
        for stream in [stream for stream, ask in self._asks.items() if ask.home == peer]:
            if stream in self._asks:
                effects.extend(self._pass_over(stream, now))
        return effects

    def _pass_over(self, stream: int, now: float) -> list[Effect]:
        ask = self._asks[stream]
        self._drop(stream)
        self._stats.add("proxy.silent_homes")
        self._silent[ask.home] = now + self._params.link_timeout
        return self._go_on(ask.run, now)

    def _drop(self, stream: int) -> None:
        ask = self._asks.pop(stream)
        ask.run.in_flight.discard(stream)

    def _go_on(self, run: _Run, now: float) -> list[Effect]:
        wanted = run.walk.wanted
        over = run.counted >= wanted or run.walk.refused >= wanted or now > run.last_ask
        effects: list[Effect] = []
        while not over and run.left and run.counted + len(run.in_flight) < wanted:
            rank, home = run.left.pop()
            stream = new_stream(self._asks, self._rng)
            self._asks[stream] = _Ask(run, rank, home)
            run.in_flight.add(stream)
            heapq.heappush(self._timeouts, (now + self._params.home_timeout, stream))
            effects.append(Send(home, Frame(Kind.HOME_QUERY, stream, run.payload)))
        if run.in_flight and run.counted < wanted and run.walk.refused < wanted:
            return effects
        for stream in tuple(run.in_flight):  # answers that nobody needs any more
            self._drop(stream)
        self.running -= 1
        effects.extend(run.finished(now))
        return effects
