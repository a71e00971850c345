"""Send slots: one query in each, drawn before it is known what there is to do."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from agent_world import PARAMS, Desk, Homes
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.agent.commands import AddContact, SendMail
from mixmail.agent.model import Inbox, Session
from mixmail.agent.schedule import SendSchedule, SlotKind
from mixmail.boxes.capability import WriteCap
from mixmail.boxes.query import QueryOp
from mixmail.mail.inbox import inbox_owner
from mixmail.params import CHAT, DEMO, MAIL, NODE_LIMITS, NetworkParameters, day_of
from mixmail.testing import SeededRandomness


def chi_square(found: list[int], shares: list[float]) -> float:
    total = sum(found)
    return sum((n - total * p) ** 2 / (total * p) for n, p in zip(found, shares, strict=True))


@pytest.mark.parametrize("params", [MAIL, CHAT, DEMO], ids=lambda params: params.name)
def test_one_moment_in_each_slot_uniform_and_kinds_in_proportion(params: NetworkParameters) -> None:
    start = 1_728_000_000.0
    schedule = SendSchedule(params, SeededRandomness(1), start)
    moments, kinds = [], Counter[SlotKind]()
    for _ in range(4_000):
        now = schedule.moment
        assert schedule.take(now - 1e-6) is None
        kind = schedule.take(now)
        assert kind is not None
        moments.append(now / params.slot)
        kinds[kind] += 1
    first = int(moments[0])
    assert [int(moment) for moment in moments] == list(range(first, first + 4_000))
    bins = Counter(int(moment % 1 * 20) for moment in moments)
    assert chi_square([bins[i] for i in range(20)], [1 / 20] * 20) < 43.8  # p = 0.001
    counts = [kinds[kind] for kind in (SlotKind.WRITE, SlotKind.FOLLOW, SlotKind.POLL)]
    assert chi_square(counts, [1 / 4, 1 / 4, 1 / 2]) < 13.8


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60), st.integers(0, 2**32))
def test_missed_slots_are_dropped_and_never_made_up_for(naps: list[float], seed: int) -> None:
    params = DEMO
    now = 1_728_000_000.1
    schedule = SendSchedule(params, SeededRandomness(seed), now)
    taken: list[int] = []
    for nap in naps:
        now += nap
        # However often it is asked at one moment, it gives one query at most.
        for _ in range(3):
            if schedule.take(now) is not None:
                taken.append(int(now // params.slot))
        assert schedule.moment > now
        assert schedule.moment < (now // params.slot + 2) * params.slot + 1e-6
    assert len(taken) == len(set(taken))


def test_a_late_query_does_not_leave_in_the_next_slot() -> None:
    schedule = SendSchedule(DEMO, SeededRandomness(2), 1_728_000_000.0)
    slot = int(schedule.moment // DEMO.slot)
    assert schedule.take((slot + 1) * DEMO.slot) is None
    assert int(schedule.moment // DEMO.slot) == slot + 2


def test_a_sender_has_the_slots_of_an_idle_agent() -> None:
    """The same seed and more to do: the moments and kinds stay where they were, only the contents change."""
    homes = Homes()
    sender, idle, bob = Desk(homes, "alice"), Desk(homes, "alice"), Desk(homes, "bob")
    bob.run(200, bob.published)
    sender.command(AddContact(bob.address, ""))
    for number in range(5):
        _, eml = sender.mail(f"mail {number}\n")
        sender.command(SendMail(bob.address, sender.address, eml))
    kinds: dict[str, Counter[str]] = {}
    for name, desk in (("sender", sender), ("idle", idle)):
        first = desk.agent.next_slot // PARAMS.slot
        desk.run(400)
        assert desk.agent.next_slot // PARAMS.slot == first + 400
        kinds[name] = Counter(event.kind for event in desk.events if hasattr(event, "real"))
        assert chi_square([kinds[name][kind.value] for kind in SlotKind], [1 / 4, 1 / 4, 1 / 2]) < 13.8
        assert sum(kinds[name].values()) == 400
    real = {desk: sum(e.real for e in desk.events if hasattr(e, "real")) for desk in (sender, idle)}
    assert real[sender] > real[idle]


# which stream a POLL asks

POLLS = 6_000
LAW = dataclasses.replace(
    PARAMS, hot_weight=1 / 8, hot_max=2, warm_weight=1 / 16, warm_max=3, inbox_weight=1 / 8
)


def a_session(desk: Desk, number: int, last_traffic: float) -> Session:
    rng = SeededRandomness(f"session {number}")
    read_cap = WriteCap.create(rng.bytes(64)).read_cap()
    return Session(
        str(number),
        desk.address,
        "x",
        "first",
        "open",
        rng.bytes(32),
        None,
        read_cap,
        b"",
        None,
        0.0,
        last_traffic,
    )


def polls(desk: Desk, sessions: list[Session], seed: int) -> Counter[str]:
    """How often each session, the inbox and cover are drawn in so many polls."""
    desk.agent.state.sessions = {session.id: session for session in sessions}
    names = {}
    for session in sessions:
        assert session.read_cap is not None
        cap = session.read_cap
        for _ in range(NODE_LIMITS.look_ahead + 1):
            names[cap.box_id()] = session.id
            cap = cap.advance()
    drawn: Counter[str] = Counter()
    desk.agent._context.rng._random.seed(seed)  # type: ignore[attr-defined]
    for _ in range(POLLS):
        task = desk.agent._fetcher.poll(desk.now)
        if task is None:
            drawn["cover"] += 1
        elif task.op is QueryOp.QUEUE_READ:
            drawn["inbox"] += 1
        else:
            drawn[names[task.field(bytes(32))[:32]]] += 1
    return drawn


def test_the_queue_before_the_newest_is_read_as_often_for_two_hours_and_the_older_ones_share_a_weight() -> (
    None
):
    law = dataclasses.replace(PARAMS, inbox_weight=1 / 4, old_inbox_weight=1 / 8, handover_weight=1 / 8)
    law = dataclasses.replace(law, older_inbox_weight=1 / 8)
    desk = Desk(Homes(), "alice", params=law)
    (person,) = desk.agent.state.people.values()
    today = day_of(desk.now)
    opened = desk.now - law.inbox_handover
    person.inboxes = [Inbox(person.id, bytes([n]) * 16, today - 4 + n, opened=opened + n) for n in range(5)]
    places = {inbox_owner(person.identity, inbox.salt).public: n for n, inbox in enumerate(person.inboxes)}
    desk.agent._context.rng._random.seed(1)  # type: ignore[attr-defined]

    def shares(now: float) -> list[int]:
        drawn: Counter[int] = Counter()
        for _ in range(POLLS):
            task = desk.agent._fetcher.poll(now)
            if task is not None:
                assert task.op is QueryOp.QUEUE_READ
                drawn[places[task.field(bytes(32))[:32]]] += 1
        return [*(drawn[n] for n in range(5)), POLLS - drawn.total()]

    within = [1 / 24, 1 / 24, 1 / 24, 1 / 4, 1 / 4, 3 / 8]
    assert chi_square(shares(opened + 3.0 + law.inbox_handover), within) < 20.5
    after = [1 / 24, 1 / 24, 1 / 24, 1 / 8, 1 / 4, 1 / 2]
    assert chi_square(shares(opened + 4.0 + law.inbox_handover), after) < 20.5


def test_polls_are_drawn_by_fixed_weights_and_no_contact_feels_another() -> None:
    desk = Desk(Homes(), "alice", params=LAW)
    now = desk.now
    alone = polls(desk, [a_session(desk, 0, now)], 1)
    for others in (
        [a_session(desk, 1, now - 3 * 86_400.0)],  # silent for days
        [a_session(desk, 1, now - 0.5)],  # floods us, but is no more than as hot
        [a_session(desk, number, now - number) for number in range(1, 5)],  # many of them
    ):
        found = polls(desk, [a_session(desk, 0, now), *others], 2 + len(others))
        law = [LAW.hot_weight, 1 - LAW.hot_weight]
        for counts in (alone, found):
            assert chi_square([counts["0"], POLLS - counts["0"]], law) < 10.8  # p = 0.001
        assert chi_square([found["inbox"], POLLS - found["inbox"]], [1 / 8, 7 / 8]) < 10.8
        assert found["cover"] > 0


def test_the_weights_of_hot_warm_and_cold() -> None:
    desk = Desk(Homes(), "alice", params=LAW)
    sessions = [a_session(desk, number, desk.now - number) for number in range(7)]
    found = polls(desk, sessions, 9)
    weights = [1 / 8] * 2 + [1 / 16] * 3 + [1 / 512] * 2
    rest = 1 - sum(weights) - 1 / 8
    counts = [*(found[str(number)] for number in range(7)), found["inbox"], found["cover"]]
    assert chi_square(counts, [*weights, 1 / 8, rest]) < 26.1  # 8 degrees of freedom, p = 0.001


def test_what_was_read_asks_for_more_in_a_follow_slot_only() -> None:
    """After a hit the polls go on by the same law; only FOLLOW slots hurry."""
    homes = Homes()
    alice, bob = Desk(homes, "alice"), Desk(homes, "bob")
    bob.run(200, bob.published)
    alice.command(AddContact(bob.address, ""))
    _, eml = alice.mail("hello\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.run(400, lambda: not alice.agent.state.outbox)
    bob.now = alice.now
    assert bob.agent._fetcher.backlog(bob.now) is None
    assert bob.run(400, lambda: bool(bob.inbox()))
    follows = bob.agent._fetcher._follows
    assert follows and all(follow.due >= bob.now for follow in follows)
    assert bob.agent._fetcher.backlog(bob.now - 1) is None
    later = max(follow.due for follow in follows)
    assert bob.agent._fetcher.backlog(later) is not None
