"""A courier, a proxy or a home that lies: all mails arrive, and their user goes around the liar."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from people import User

from mixmail.agent import read_back
from mixmail.agent.events import QueryEnded
from mixmail.boxes.query import Answer, CourierReply, Query, QueryOp
from mixmail.boxes.record import EMPTY_FIELD
from mixmail.boxes.status import Status
from mixmail.effects import Effect, Frame, Send
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.proxy import _Asked
from mixmail.node.replica import _reply
from mixmail.node.wire import HomeQuery
from mixmail.params import GEOMETRY, NODE_LIMITS
from mixmail.sphinx.surb import use_surb

EAGER = dataclasses.replace(LAB, name="eager", hot_weight=1 / 2, inbox_weight=1 / 4, follow_wait_slots=2.0)
NODES, LIAR, MAILS = 12, 7, 12
COURIER, PROXY = 3, 4  # places in `QueryEnded.nodes`
LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))


class Lies:
    """Makes one host lie; `told` counts what it did."""

    def __init__(self, lab: LabNetwork, host: LabHost) -> None:
        self.told: Counter[str] = Counter()
        self._host = host
        self._lab = lab

    def as_courier(self) -> None:
        """Bytes that are no answer instead of the proxy's."""
        courier: Any = self._host.node._courier  # type: ignore[union-attr]

        def answer(reply: Any) -> list[Effect]:
            self.told["garbage"] += 1
            payload = CourierReply(Status.OK, self._host.rng.bytes(GEOMETRY.reply_ct)).pack()
            first, packet = use_surb(reply.surb, payload)
            return [Send(first, Frame(1, 0, packet))]

        courier._answer = answer

    def as_proxy(self) -> None:
        """ "Six homes have it" without asking one, and "nobody has it"."""
        proxy: Any = self._host.node._proxy  # type: ignore[union-attr]

        def handle_query(courier: bytes, frame: Frame, now: float) -> list[Effect]:
            query: Query | None = proxy._open(frame.payload, courier, now)
            if query is None:
                return []
            self.told[query.op.name] += 1
            writes = query.op in (QueryOp.WRITE, QueryOp.QUEUE_ADD, QueryOp.QUEUE_DELETE)
            lie = Answer(Status.STORED, 6, 0b111111, EMPTY_FIELD)
            if not writes:
                lie = Answer(Status.NOT_FOUND, 0, 0, EMPTY_FIELD)
            proxy._answer(_Asked(courier, courier, frame.stream, query.reply_key), lie, now)
            return []

        proxy.handle_query = handle_query

    def as_home(self) -> None:
        """ "Stored" without storing, and "not here"."""
        replica: Any = self._host.node._replica  # type: ignore[union-attr]

        def handle_query(peer: bytes, frame: Frame, now: float) -> list[Effect]:
            query = HomeQuery.parse(frame.payload)
            self.told[query.op.name] += 1
            writes = query.op in (QueryOp.WRITE, QueryOp.QUEUE_ADD, QueryOp.QUEUE_DELETE)
            return _reply(peer, frame.stream, Status.STORED if writes else Status.NOT_FOUND)

        replica.handle_query = handle_query


@pytest.mark.parametrize("role", ["courier", "proxy", "home"])
def test_all_mails_survive_a_liar_and_a_lying_courier_or_proxy_is_avoided(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Read back more of the writes and look sooner, so that a short test sees what takes days otherwise.
    eager = dataclasses.replace(NODE_LIMITS, read_back_share=1.0)
    monkeypatch.setattr(read_back, "NODE_LIMITS", eager)
    with stand_in_crypto(41):
        lab = LabNetwork(EAGER, NODES, seed=41, senders=2)
        lab.start()
        liar = lab.hosts[LIAR]
        lies = Lies(lab, liar)
        {"courier": lies.as_courier, "proxy": lies.as_proxy, "home": lies.as_home}[role]()
        alice, bob = User(lab, 0, "Alice", []), User(lab, 1, "Bob", [])
        alice.create()
        bob.create()
        texts = [f"mail {number}\n{LONG}" for number in range(MAILS)]
        for text in texts:
            alice.write(bob.address, text)
        bob.wait(1_500.0, lambda: len(bob.texts()) == MAILS, "the mails")
        assert sorted(bob.texts()) == sorted(texts), "each once"
        assert lies.told
        agent = alice.host.agent
        assert agent is not None
        if role == "home":
            return
        found = lambda: liar.node_id in agent.suspects.avoided(NODES - 1)  # noqa: E731
        assert lab.run(300.0, until=found)
        before = len(ended(alice))
        lab.run(150.0)
        places = [Counter(nodes[place] for nodes in ended(alice)[before + 60 :]) for place in range(8)]
        assert sum(places[0].values()) > 200
        assert places[COURIER][liar.node_id] == places[PROXY][liar.node_id] == 0
        assert sum(places[place][liar.node_id] for place in (0, 1, 2, 5, 6, 7)) > 50, "it stays a mix"


def ended(user: User) -> list[tuple[bytes, ...]]:
    return [event.nodes for event in user.host.events if isinstance(event, QueryEnded)]
