"""The anonymity lab's bad days do what their settings say: nodes restart, the day turns."""

import dataclasses

import numpy as np

from mixmail.lab.anonymity.figures import Study
from mixmail.lab.anonymity.flow import BACK, BEHIND, HEARD, OUT, QUERY, Flow, Setting

AT, SECONDS = 300.0, 600.0
TURN = Setting(users=60, seconds=1_500.0, turn_at=900.0, turn_change=0.1)


def test_a_restarted_node_sends_on_nothing_of_before() -> None:
    trace = Flow(Setting(users=30, seconds=SECONDS, restart_at=AT, restart_share=0.5), 5).run()
    nodes = {node for _, node in trace.restarts}
    assert {when for when, _ in trace.restarts} == {AT}
    assert 5 <= len(nodes) <= 25
    created = {p: t for p, t, h in zip(trace.packet, trace.sent, trace.hop, strict=True) if h == 0}
    sent_on = [
        (created[p], node in nodes)
        for p, t, node, h in zip(trace.packet, trace.sent, trace.src.tolist(), trace.hop, strict=True)
        if h > 0 and t > AT
    ]
    old = [restarted for made, restarted in sent_on if made < AT + HEARD]
    assert old and not any(old)
    assert any(restarted for made, restarted in sent_on if made > AT + HEARD)


def test_after_a_turn_those_with_yesterdays_view_are_told_from_the_others() -> None:
    study = Study(TURN, 1)
    trace, when = study.trace, TURN.turn_at
    assert when is not None
    query = np.isin(trace.hop, (*OUT, *BACK)) & (trace.kind[trace.packet] == QUERY)
    view = trace.view[trace.packet]
    assert trace.known[view[query], trace.dst[query]].all()
    made = query & (trace.hop == 0)
    before, while_, after = (
        made & (trace.sent >= low) & (trace.sent < high)
        for low, high in ((0.0, when), (when, when + BEHIND), (when + BEHIND, TURN.seconds + 1))
    )
    assert not view[before].any()
    assert 0.05 < 1 - view[while_].mean() < 0.15
    assert view[after].all()

    turned = study.look(300).figures()
    usual = Study(dataclasses.replace(TURN, turn_at=None), 1).look(300).figures()
    assert turned["query_entropy_min_bits"] < usual["query_entropy_min_bits"] - 1.5
    assert turned["worst_guess"] > 2 * usual["worst_guess"]
    assert 0.85 < turned["calibration"] < 1.15
