"""What a node sends, by kind: the figures of `scripts/lab traffic`, in its short form."""

from __future__ import annotations

import pytest

from mixmail.lab.traffic import PARAMS, measure
from mixmail.params import GEOMETRY


def test_a_node_sends_eight_packets_a_slot_a_loop_in_two_of_them_and_keeps_below_twenty_kb_per_s() -> None:
    traffic = measure(12, 1.0, seed=2)
    a_slot = GEOMETRY.frame / 1_000 / PARAMS.slot
    assert traffic.kb_per_s["mixing"] == pytest.approx(8 * a_slot, rel=0.02)
    assert traffic.kb_per_s["loops"] == pytest.approx(4 / PARAMS.loop_slots * a_slot, rel=0.02)
    assert 0 < traffic.kb_per_s["gossip"] < 0.3
    assert 0 < traffic.kb_per_s["repair"] < 0.5
    assert traffic.sum <= 20
    assert traffic.arrived > 0
