"""The anonymity lab's bad days do what their settings say: nodes restart."""

from mixmail.lab.anonymity.flow import HEARD, Flow, Setting

AT, SECONDS = 300.0, 600.0


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
