"""The n-1 attack on shipping nodes: a blocked mix holds, its user is told, and the network recovers."""

from __future__ import annotations

import dataclasses

import pytest

from mixmail.effects import Frame
from mixmail.lab.blocking import PARAMS, cut_off, hold_share, holds, warm_network, was_told
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.wire import Kind

NODES = 12
T = PARAMS.slot


def host_in_layer(lab: LabNetwork, layer: int) -> LabHost:
    node = lab.hosts[0].node
    assert node is not None
    node_id = node.view.layers(lab.now)[layer][0].node_id
    return next(host for host in lab.hosts if host.node_id == node_id)


def left(host: LabHost) -> int:
    """Real packets and answers that have left this mix."""
    assert host.node is not None
    return host.node.stats["mix.out"] + host.node.stats["mix.replies"]


def test_a_blocked_mix_holds_within_five_slots_tells_its_user_after_fifteen_minutes_and_resumes() -> None:
    params = dataclasses.replace(PARAMS, pool_min=1)  # so that only the alarm can hold
    with stand_in_crypto(1):
        lab = warm_network(params, NODES, seed=1)
        assert hold_share(lab, 5) == 0.0
        target = host_in_layer(lab, 1)
        assert target.node is not None
        begin = lab.now
        cut_off(lab, target)
        assert lab.run(5 * T + PARAMS.tick, lambda: holds(lab, target))
        waiting, before = target.node.waiting, left(target)
        assert waiting > 0
        lab.run(10 * T)
        assert left(target) == before, "nothing real leaves while it holds"
        assert target.node.stats["mix.loops_out"] > 0 and not was_told(target)
        lab.blocker = None
        assert lab.run(8 * T, lambda: not holds(lab, target)), "the next own loop ends the hold"
        lab.run(T)
        assert left(target) > before

        cut_off(lab, target)
        begin = lab.now
        assert lab.run(31 * T, lambda: was_told(target))
        assert lab.now - begin <= 900 + 2 * PARAMS.tick
        assert target.node.blocking_suspected and len(target.node._mix.pool) == 0
        lab.blocker = None
        assert lab.run(20 * T, lambda: not target.node.blocking_suspected if target.node else False)


@pytest.mark.parametrize("layer", [1, 2])
def test_letting_in_what_comes_from_where_own_answers_come_from_is_noticed_as_well(layer: int) -> None:
    """Answers to the agent of a node come from mixes of layer 3; the packets that a mix of layer 2 or 3
    forwards do not.  An alarm that trusted answers would not notice this attack."""
    with stand_in_crypto(2):
        lab = warm_network(PARAMS, NODES, seed=2)
        target = host_in_layer(lab, layer)
        assert target.node is not None
        answers_from = {item.node_id for item in target.node.view.layers(lab.now)[2]}

        def blocks(sender: bytes, receiver: bytes, frame: Frame) -> bool:
            return receiver == target.node_id and frame.kind == Kind.PACKET and sender not in answers_from

        lab.blocker = blocks
        answered = target.node.stats["mix.replies"]
        assert lab.run(6 * T, lambda: holds(lab, target))
        assert target.node.stats["mix.replies"] > answered, "own answers came through all the time"


def test_a_network_all_of_whose_mixes_hold_recovers() -> None:
    with stand_in_crypto(3):
        lab = warm_network(PARAMS, NODES, seed=3)
        lab.blocker = lambda sender, receiver, frame: True
        lab.run(8 * T)
        assert all(holds(lab, host) for host in lab.hosts)
        lab.blocker = None
        before = [left(host) for host in lab.hosts]
        lab.run(60 * T)
        assert not any(holds(lab, host) for host in lab.hosts)
        assert not any(host.node.blocking_suspected for host in lab.hosts if host.node)
        assert all(left(host) > earlier + 50 for host, earlier in zip(lab.hosts, before, strict=True))


def test_links_that_lose_one_frame_in_fifty_make_mixes_hold_less_than_one_moment_in_a_hundred() -> None:
    with stand_in_crypto(4):
        lab = warm_network(PARAMS, NODES, seed=4, loss=0.02)
        assert hold_share(lab, 60) < 0.01
