"""A shipping network in which one mix loses packets: the user's agent finds out which."""

from __future__ import annotations

from mixmail.effects import Frame
from mixmail.lab.network import LabNetwork
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.wire import Kind
from mixmail.testing import SeededRandomness


def test_a_mix_that_drops_a_fifth_is_named_by_own_queries_and_no_other_node_is() -> None:
    with stand_in_crypto(1):
        lab = LabNetwork(LAB, 12, seed=1, trace=False, senders=1)
        lab.start()
        rng = SeededRandomness("drops")
        bad = lab.hosts[5].node_id

        def drops(sender: bytes, receiver: bytes, frame: Frame) -> bool:
            return sender == bad and frame.kind == Kind.PACKET and rng.uniform() < 0.2

        lab.blocker = drops
        agent = lab.hosts[0].agent
        assert agent is not None
        lab.run(1_000 * LAB.slot)
        named = agent.losses.named()
        assert {one.node_id for one in named} == {bad}
        assert named[0].low < 0.25
