"""A crash before and after every named transaction, at the sender and at the recipient.

After the restart every mail arrives, once; the outbox never claims more than what happened (`Truth`).
The points are listed here and compared with the source and with a run, so that none is forgotten.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from people import User
from truth import Truth

import mixmail.agent
from mixmail.agent import read_back
from mixmail.boxes.record import queue_entry
from mixmail.lab.network import LabNetwork
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.mail.identity import Identity
from mixmail.mail.inbox import inbox_owner
from mixmail.params import GEOMETRY, NODE_LIMITS, day_of

# An eager reader: these runs look at crashes, not at the laws of polling.
EAGER = dataclasses.replace(LAB, name="eager", hot_weight=1 / 2, inbox_weight=1 / 4, follow_wait_slots=2.0)

BOTH = (
    "identity",
    "contact",
    "mail.queued",
    "mail.sealed",
    "part.stamped",
    "part.sent",
    "part.stored",
    "mail.stored",
    "inbox.part",
    "inbox.mail",
)
SENDER = ("contact.profile", "mail.noted", "mail.cancelled", "mail.checked")
RECIPIENT = ("inbox.junk",)
ELSEWHERE = {
    "part.more_work"
}  # no home asks for more here: tests/units/test_agent_more_work.py crashes at it
REPEATED = ("part.sent", "inbox.part")  # struck at their second time as well

CASES = [
    (number, f"{when} {point}", skips)
    for number, points in ((0, BOTH + SENDER), (1, BOTH + RECIPIENT))
    for point in points
    for when in ("before", "after")
    for skips in ((0, 1) if point in REPEATED else (0,))
]

LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))  # three parts
MIDDLE = "".join(f"a longer answer, line {number}\n" for number in range(1_500))  # three parts


@pytest.fixture(autouse=True)
def read_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the moment at which a write is found to be true comes by in every run."""
    monkeypatch.setattr(read_back, "NODE_LIMITS", dataclasses.replace(NODE_LIMITS, read_back_share=1.0))


def converse(seed: int, number: int = -1, crash_at: str = "", skips: int = 0) -> tuple[LabNetwork, Truth]:
    """A first mail of three parts, its answer of three, one more mail; junk and a cancelled mail beside."""
    lab = LabNetwork(EAGER, nodes=12, seed=seed, senders=2)
    lab.start()
    truth = Truth(lab)
    everybody: list[User] = []
    alice, bob = User(lab, 0, "Alice", everybody), User(lab, 1, "Bob", everybody)
    if crash_at:
        lab.hosts[number].crash_at, lab.hosts[number].crash_skips = crash_at, skips
    alice.create()
    bob.create()
    plant_junk(bob)

    nobody = Identity(lab.hosts[2].rng.bytes(32)).address.text
    alice.cancel(alice.write(nobody, "nobody will read this\n"))
    first = alice.write(bob.address, LONG)
    bob.wait(120.0, lambda: LONG in bob.texts(), "the first mail")
    alice.wait(60.0, lambda: not alice.outbox(), "the first mail's acks")
    bob.write(alice.address, MIDDLE, reply_to=bob.message_id(LONG))
    alice.wait(120.0, lambda: MIDDLE in alice.texts(), "the answer")
    alice.write(bob.address, "thanks\n", reply_to=alice.message_id(MIDDLE))
    bob.wait(60.0, lambda: "thanks\n" in bob.texts(), "the last mail")
    bob.wait(60.0, lambda: not alice.outbox() and not bob.outbox(), "the last acks")
    bob.wait(60.0, lambda: truth.points["inbox.junk"] > 0, "the junk")
    lab.run(4.0)
    assert bob.texts() == [LONG, "thanks\n"]
    assert alice.texts() == [MIDDLE]
    assert alice.host.tables["mails"][(first,)]["state"] == "answered"
    return lab, truth


def plant_junk(bob: User) -> None:
    """An entry in Bob's queue that nobody can open, at every home."""
    (inbox,) = bob.host.tables["inboxes"].values()
    (identity,) = bob.host.tables["identities"].values()
    key = inbox_owner(Identity(identity["seed"]), inbox["salt"]).public
    today = day_of(bob.lab.now)
    junk = queue_entry(key, bob.lab.params.mail_class, today, bob.host.rng.bytes(GEOMETRY.box_ct))
    for host in bob.lab.hosts:
        host.store.queue_add(junk, today, bob.lab.params.queue_limit)


@pytest.mark.parametrize(("number", "crash_at", "skips"), CASES)
def test_a_crash_loses_and_doubles_nothing(number: int, crash_at: str, skips: int) -> None:
    with stand_in_crypto(7):
        lab, truth = converse(7, number, crash_at, skips)
    assert lab.hosts[number].crash_at == "", f"the point {crash_at!r} was never reached"
    assert [event.node for event in lab.trace if event.what == "crash"] == [number]
    assert truth.claims["sent"] >= 6 and truth.claims["stored"] >= 3


def points_in_the_source() -> set[str]:
    """The second argument of every `Persist(...)` in the agent."""
    found: set[str] = set()
    for path in Path(mixmail.agent.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Persist":
                assert len(node.args) == 2, f"{path.name}:{node.lineno}: a Persist without a point"
                found |= _strings(node.args[1], tree)
    return found


def _strings(node: ast.expr, tree: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        values = [a.value for a in ast.walk(tree) if isinstance(a, ast.Assign) and _names(a) == [node.id]]
        return {text for value in values for text in _strings(value, tree)}
    if isinstance(node, ast.IfExp):
        return _strings(node.body, tree) | _strings(node.orelse, tree)
    assert isinstance(node, ast.Constant) and node.value, "points are named by literals"
    return {node.value}


def _names(assign: ast.Assign) -> list[str]:
    return [target.id for target in assign.targets if isinstance(target, ast.Name)]


def test_no_point_is_forgotten() -> None:
    listed = {*BOTH, *SENDER, *RECIPIENT}
    assert points_in_the_source() == listed | ELSEWHERE
    with stand_in_crypto(7):
        _, truth = converse(7)
    assert set(truth.points) == listed
