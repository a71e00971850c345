"""The bounds of the links on virtual time: buckets, the log, memory, and whose turn it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mixmail.link.limits import BoundedLog, Buckets, address_key
from mixmail.link.memory import Memory
from mixmail.link.turns import Turns
from mixmail.params import NODE_LIMITS


def test_a_bucket_gives_its_burst_and_then_one_each_refill() -> None:
    buckets = Buckets(burst=3, refill=10.0, remembered=9)
    assert [buckets.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 9.9)
    assert buckets.take("a", 10.0)
    assert not buckets.take("a", 19.9)
    assert [buckets.take("a", 1_000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    buckets = Buckets(burst=1, refill=10.0, remembered=9)
    assert buckets.take("a", 100.0)
    assert not buckets.take("a", 0.0)
    assert not buckets.take("a", 5.0)


def test_buckets_remember_those_who_came_last() -> None:
    buckets = Buckets(burst=1, refill=10.0, remembered=3)
    for key in "abcd":
        assert buckets.take(key, 0.0)
    assert len(buckets) == 3
    assert not buckets.take("d", 0.0)
    assert buckets.take("a", 0.0)  # forgotten


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("127.0.0.2", "127.0.0.2"),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", None),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", None),
    ],
)
def test_what_stands_for_a_caller(host: str, key: str | None) -> None:
    assert address_key(host) == key


def test_the_log_is_bounded_and_says_how_much_it_leaves_out() -> None:
    lines: list[str] = []
    limits = dataclasses.replace(NODE_LIMITS, link_log_burst=2, link_log_refill=60.0)
    log = BoundedLog(limits, lines.append)
    for _ in range(10):
        log.say("late", "too late", 0.0)
    log.say("half", "half", 0.0)
    assert lines == ["too late", "too late", "half"]
    log.say("late", "too late", 60.0)
    log.say("late", "too late", 120.0)
    assert lines[3:] == ["too late (and 8 more of this kind since the last line)", "too late"]


class Heap:
    """Gives up half of what it holds."""

    def __init__(self, memory: Memory, stranger: bool = False) -> None:
        self.held = 0
        self.stranger = stranger
        self._memory = memory

    def relieve(self) -> int:
        self._memory.set(self, self.held // 2)
        return 1


def test_memory_is_bounded_and_the_greediest_gives_up_strangers_first() -> None:
    lost: list[int] = []
    memory = Memory(100, lost.append)
    small, big, stranger = Heap(memory), Heap(memory), Heap(memory, stranger=True)
    memory.set(small, 10)
    memory.set(big, 60)
    memory.set(stranger, 30)
    assert (memory.total, lost) == (100, [])
    memory.set(small, 11)
    assert (small.held, big.held, stranger.held, lost) == (11, 60, 15, [1])
    memory.set(stranger, 0)
    memory.set(small, 41)
    assert (small.held, big.held, memory.total) == (41, 30, 71)
    for one in (small, big):
        memory.set(one, 0)
    assert memory.total == 0


class Caller:
    """A link that has `frames` whole frames, or one that waits for its handshake."""

    def __init__(self, name: str, log: list[str], frames: int = 0, known: bool = True) -> None:
        self.name, self.frames, self.known, self.closed = name, frames, known, False
        self._log = log

    def take_frame(self) -> bool:
        self.frames -= 1
        self._log.append(self.name)
        return self.frames > 0

    def read(self) -> None:
        self._log.append(self.name)


class Reactor:
    """One turn at a time."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        assert delay == 0
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def turns_of(reactor: Reactor, ready: Callable[[], bool] = lambda: True, **limits: Any) -> Turns:
    return Turns(reactor, dataclasses.replace(NODE_LIMITS, **limits), lambda link: link.known, ready)


def test_links_take_turns_and_a_turn_is_bounded() -> None:
    reactor, log = Reactor(), []
    turns = turns_of(reactor, link_turn=4)
    for name, frames in (("flood", 100), ("a", 1), ("b", 2)):
        turns.wants_input(Caller(name, log, frames))
    assert log == []  # not inside of the call that brought the bytes
    reactor.turn()
    assert log == ["flood", "a", "b", "flood"]
    late: list[int] = []
    reactor.callLater(0, lambda: late.append(len(log)))
    reactor.turn()
    assert log[4:] == ["b", "flood", "flood", "flood"]
    assert late == [8]  # a timer is served between two turns
    while reactor.calls:
        reactor.turn()
    assert log.count("flood") == 100


def test_nothing_is_taken_while_the_node_has_enough_and_the_reactor_rests_meanwhile() -> None:
    reactor, log, room = Reactor(), [], 3
    turns = turns_of(reactor, lambda: log.count("a") < room, link_turn=4)
    turns.resume()  # nobody waits
    assert not reactor.calls
    turns.wants_input(Caller("a", log, 6))
    reactor.turn()
    assert (log, reactor.calls) == (["a"] * 3, [])
    turns.wants_handshake(Caller("c", log), "192.0.2.1")
    reactor.turn()
    assert (log, reactor.calls) == (["a"] * 3 + ["c"], [])  # who comes is let in all the same
    room = 5
    turns.resume()
    reactor.turn()
    assert (log, reactor.calls) == (["a"] * 3 + ["c"] + ["a"] * 2, [])
    room = 100
    turns.resume()
    reactor.turn()
    assert log.count("a") == 6


def test_strangers_have_their_share_and_no_more() -> None:
    reactor, log = Reactor(), []
    turns = turns_of(reactor, link_turn=8, link_stranger=4)
    for _ in range(50):
        turns.wants_input(Caller("stranger", log, 100, known=False))
    turns.wants_input(Caller("node", log, 100))
    reactor.turn()
    assert log == (["node"] * 3 + ["stranger"]) * 2


def test_handshakes_begin_by_address_in_turn_the_latest_first() -> None:
    reactor, log = Reactor(), []
    turns = turns_of(reactor, link_handshakes=2)
    for number in range(20):
        turns.wants_handshake(Caller(f"many{number}", log), "192.0.2.1")
    turns.wants_handshake(Caller("one", log), "192.0.2.2")
    reactor.turn()
    assert log == ["many19", "one"]
    reactor.turn()
    assert log[2:] == ["many18", "many17"]


def test_who_is_gone_before_its_handshake_takes_no_turn() -> None:
    reactor, log = Reactor(), []
    turns = turns_of(reactor, link_handshakes=1)
    gone, here = Caller("gone", log), Caller("here", log)
    gone.closed = True
    turns.wants_handshake(here, None)
    turns.wants_handshake(gone, None)
    reactor.turn()
    assert log == ["here"]
