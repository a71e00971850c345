"""Two contacts of one reader: what one does, the other cannot tell from how often she is polled."""

from __future__ import annotations

import copy
import dataclasses

from agent_world import PARAMS, Desk, Homes
from test_agent_schedule import chi_square

from mixmail.agent.commands import AddContact, SendMail
from mixmail.agent.events import QuerySent
from mixmail.agent.schedule import SlotKind

WEIGHTS = dataclasses.replace(PARAMS, hot_weight=1 / 8, hot_max=6, inbox_weight=1 / 2)
SLOTS = 3_000
P_001 = 10.8  # chi-square, 1 degree of freedom, p = 0.001


def write(sender: Desk, to: str, text: str) -> None:
    _, eml = sender.mail(text)
    sender.command(SendMail(to, sender.address, eml))


def acquainted(homes: Homes) -> tuple[Desk, Desk, Desk]:
    """Alice, and Ann and Bob who have written to her once each."""
    alice, ann, bob = (Desk(homes, name, params=WEIGHTS) for name in ("alice", "ann", "bob"))
    assert alice.run(400, alice.published)
    for desk in (ann, bob):
        desk.now = max(desk.now, alice.now)
        desk.command(AddContact(alice.address, ""))
        write(desk, alice.address, "hello\n")
        assert desk.run(400, lambda desk=desk: desk.agent.packets_waiting == 0)  # type: ignore[misc]
    assert alice.run(2_000, lambda: got(alice) == 2)
    return alice, ann, bob


def got(desk: Desk) -> int:
    """How many mails are in the inbox."""
    return sum(row["folder"] in ("inbox", "requests") for row in desk.tables.get("mails", {}).values())


def polled(alice: Desk, ann: Desk, bob: Desk, floods: bool) -> tuple[list[tuple[bool, bool]], int]:
    """For each POLL slot whether it asked Ann's stream and whether the last answer was a hit of Bob's.

    Also how many mails of Bob came in.
    """
    (session,) = (one for one in alice.agent.state.sessions.values() if one.contact == ann.address)
    cap, boxes = session.read_cap, set()
    assert cap is not None
    for _ in range(20):
        boxes.add(cap.box_id())
        cap = cap.advance()
    slots: list[tuple[bool, bool]] = []
    hit, had = False, got(alice)
    for number in range(SLOTS):
        if floods:
            if bob.agent.packets_waiting < 4:
                write(bob, alice.address, f"flood {number}\n")
            bob.run(1)
        before = got(alice)
        alice.events.clear()
        bob.events.clear()
        task = alice.slot()
        (sent,) = [event for event in alice.events if isinstance(event, QuerySent)]
        if sent.kind == SlotKind.POLL.value:
            slots.append((task.real and task.field(bytes(32))[:32] in boxes, hit))
        alice.end(task, alice.homes.answer(task, alice.now))
        hit = got(alice) > before
    return slots, got(alice) - had


def test_ann_is_polled_by_the_same_law_whether_bob_is_silent_or_floods() -> None:
    alice, ann, bob = acquainted(Homes())
    law = [WEIGHTS.hot_weight, 1 - WEIGHTS.hot_weight]
    shares = {}
    for floods in (False, True):
        slots, mails = polled(*copy.deepcopy((alice, ann, bob)), floods)
        assert (mails > 50) == floods and (mails == 0) != floods
        asked = sum(ann_asked for ann_asked, _ in slots)
        shares[floods] = asked / len(slots)
        assert chi_square([asked, len(slots) - asked], law) < P_001, (floods, asked, len(slots))
        if floods:  # nor right after a mail of Bob
            after = [ann_asked for ann_asked, bobs_mail in slots if bobs_mail]
            assert len(after) > 20
            assert chi_square([sum(after), len(after) - sum(after)], law) < P_001, (sum(after), len(after))
    assert abs(shares[True] - shares[False]) < 0.04
