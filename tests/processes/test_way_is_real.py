"""One mail and its answer over twelve real nodes: what crosses the sockets, and what opens it.

The nodes, their TLS links, databases and random sources are those that ship (`whole_network`).  A mail of
more than one box goes to echo and its answer comes back; the tests then look at what was recorded meanwhile.
"""

from __future__ import annotations

import base64
import os
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from on_disk import homes_of, keepers
from OpenSSL import crypto
from waiting import until
from whole_network import Sent, WholeNetwork

from mixmail.agent.events import MailArrived, MailState
from mixmail.boxes import query as boxquery
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record
from mixmail.errors import RemoteProtocolError
from mixmail.link.certificate import certificate_hash
from mixmail.link.protocol import Link
from mixmail.mail import message
from mixmail.mixing.ticks import first_tick_from, tick_number, tick_time
from mixmail.node.wire import Kind
from mixmail.params import DEMO
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.command import CommandKind

SUBJECT = "The way is real"
FIRST_LINE = "Nobody between us reads this line."
LINES = [FIRST_LINE, *(base64.b64encode(os.urandom(48)).decode() for _ in range(320))]  # 21 kB: two boxes
TEXT = "".join(f"{line}\n" for line in LINES)
FILE = message.Attachment("proof.bin", "application/octet-stream", os.urandom(600))
NODES = 12


class Story:
    """The network and what became of the mail."""

    def __init__(self, network: WholeNetwork) -> None:
        self.network = network
        self.mail = ""
        self.states: list[MailState] = []
        self.kept: dict[int, int] = {}  # part: homes that held it in SQLite when you heard that it is stored
        self.answer: message.Mail
        self.links: list[tuple[bytes, Link]] = []
        self.asked: list[Sent] = []  # real queries that were answered before the recording ended
        self.writes: list[Sent] = []  # those of them that carried a part of the mail


@pytest_twisted.async_yield_fixture(scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    """Twelve nodes up, the mail sent, the answer read."""
    network = WholeNetwork(tmp_path_factory.mktemp("way"))
    network.create()
    told = Story(network)
    recorder = network.recorder
    with pytest.MonkeyPatch.context() as patch:
        recorder.listen_in(patch)
        try:
            names = [home.name for home in homes_of(network.folder)]
            assert len(names) == NODES
            await network.start(*names)
            await network.know_each_other()
            await network.meet_echo()
            recorder.secret += [SUBJECT.encode(), b"Lovelace", FILE.data[100:140]]
            recorder.secret += [line.encode() for line in (FIRST_LINE, LINES[1], LINES[200], LINES[-1])]
            mail = message.Mail(os.urandom(16), SUBJECT, TEXT, int(time.time()), "Ada", attachments=(FILE,))
            told.mail = await network.write(mail)
            state = network.daemons["you"].agent.state
            await until(lambda: any(p.mail == told.mail for p in state.parts.values()), "the mail is sealed")
            records = {part.part: Record.parse(part.record) for part in state.parts.values()}
            recorder.sealed += [record.c[1_000:1_040] for record in records.values()]

            def look(event: object) -> None:
                if isinstance(event, MailState) and event.state == "stored":
                    told.kept = {
                        part: len(keepers(network.folder, record)) for part, record in records.items()
                    }

            network.daemons["you"].listeners.append(look)
            await until(lambda: _arrived(network), "the answer arrives")
            told.answer = (await network.inbox())[0]
            told.states = [
                event for name, event in network.events if isinstance(event, MailState) and name == "you"
            ]
            told.links = [
                (daemon.node.node_id, link)
                for daemon in network.daemons.values()
                for link in daemon.links._links
            ]
            _look_through(told)
            yield told
        finally:
            await network.stop(*(name for name, daemon in network.daemons.items() if not daemon._stopping))


def _arrived(network: WholeNetwork) -> int:
    """How many mails have come to you."""
    return sum(name == "you" and isinstance(event, MailArrived) for name, event in network.events)


def _states(network: WholeNetwork, mail: str) -> list[MailState]:
    """What was said about a mail."""
    return [event for _, event in network.events if isinstance(event, MailState) and event.mail == mail]


def _look_through(told: Story) -> None:
    """Find the queries of both people whose answer came back."""
    network = told.network
    people = {network.daemons[name].node.node_id for name in ("you", "echo")}
    mine = network.daemons["you"].node.node_id
    for sent in [sent for sent in network.recorder.sent if sent.own_id in people]:
        if network.way_back(sent):
            told.asked.append(sent)
            if sent.own_id == mine and sent.op in (QueryOp.WRITE, QueryOp.QUEUE_ADD):
                told.writes.append(sent)


def test_mail_and_answer_cross_whole(story: Story) -> None:
    assert [line.removeprefix("> ") for line in story.answer.text.splitlines() if line[:2] == "> "] == LINES
    assert story.answer.subject == f"Re: {SUBJECT}"
    assert story.answer.in_reply_to == bytes.fromhex(story.mail)
    assert [one.data for one in story.answer.attachments] == [FILE.data]
    (final,) = {state.parts for state in story.states if state.state in ("sent", "stored")}
    assert final == 2  # more than one box, and it came back whole


def test_every_frame_has_one_size_and_says_nothing(story: Story) -> None:
    recorder = story.network.recorder
    assert recorder.wrong == []
    kinds = Counter(seen.kind for seen in recorder.frames)
    assert set(kinds) <= {int(kind) for kind in Kind}
    assert kinds[Kind.PACKET] > 1_000 and len(recorder.secret) == 13 and len(recorder.sealed) == 2


def test_all_links_are_tls_1_3_with_the_hybrid_group_and_pinned_keys(story: Story) -> None:
    network = story.network
    # both ends of every pair between which a frame went
    pairs = {(seen.node, seen.peer) for seen in network.recorder.frames if seen.peer}
    assert pairs == {(node, link.peer) for node, link in story.links if link.peer}
    assert len(pairs) > NODES and {(b, a) for a, b in pairs} == pairs
    for node, link in story.links:
        if link.peer is None:
            continue  # refused or not yet introduced: no frame went over it
        handle = link.transport.getHandle()  # type: ignore[union-attr]
        assert handle.get_protocol_version_name() == "TLSv1.3"
        assert handle.get_group_name() == "X25519MLKEM768"
        shown = certificate_hash(crypto.dump_certificate(crypto.FILETYPE_ASN1, handle.get_peer_certificate()))
        known = network.by_id(node).view.get(link.peer)
        assert known is not None and shown == known.link_cert_hash


def test_routes_are_drawn_by_the_system_and_never_meet_a_node_twice(story: Story) -> None:
    network = story.network
    complete = [drawn for drawn in network.recorder.routes if drawn.known == NODES]
    assert len(complete) > 100
    for drawn in complete:
        assert type(drawn.rng) is SystemRandomness
        route, view = drawn.route, network.by_id(drawn.own_id).view
        for mixes in (route.out, route.back):
            assert [view.layer_of(node.node_id, drawn.at) for node in mixes] == [0, 1, 2]
            path = [node.node_id for node in (*mixes, route.courier)]
            assert len(set(path)) == 4 and drawn.own_id not in path
        assert route.proxy.node_id != route.courier.node_id  # oneself now and then
    # each place is taken by everybody who may take it
    everybody = {daemon.node.node_id for daemon in network.daemons.values()}
    taken = [[drawn.route.out[n].node_id for drawn in complete] for n in range(3)]
    assert [len(set(nodes)) for nodes in taken] == [4, 4, 4] and set().union(*taken) == everybody
    assert {drawn.route.courier.node_id for drawn in complete} == everybody
    assert {drawn.route.proxy.node_id for drawn in complete} == everybody


def test_the_random_source_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "urandom", lambda count: asked.append(count) or bytes(count))
    assert SystemRandomness().bytes(5) == bytes(5) and asked == [5]


def test_the_packet_goes_through_three_mixes_to_the_courier(story: Story) -> None:
    """Followed with the keys of the nodes, each layer found again at the sockets."""
    network = story.network
    assert len(story.writes) >= 2
    for sent in story.asked:
        steps = network.way_out(sent)
        assert [step.node for step in steps] == [
            node.node_id for node in (*sent.route.out, sent.route.courier)
        ]
        kinds = [step.command.kind for step in steps]
        assert kinds == [CommandKind.FORWARD] * 3 + [CommandKind.DELIVER]
        assert network.recorder.find(sent.own_id, True, sent.packet)
        for step in steps:
            assert network.recorder.find(step.node, False, step.packet)


def test_the_answer_comes_by_the_reply_block(story: Story) -> None:
    network = story.network
    home = 0
    for sent in story.asked:
        steps = network.way_back(sent)
        assert steps is not None
        assert [step.node for step in steps] == [*(node.node_id for node in sent.route.back), sent.own_id]
        assert steps[-1].command.kind is CommandKind.SURB_REPLY
        assert steps[-1].command.ident == sent.surb_id
        if network.recorder.find(sent.route.courier.node_id, True, steps[0].packet) is None:
            continue  # its courier still holds the answer
        home += network.recorder.find(sent.own_id, False, steps[-1].packet) is not None
    assert home >= len(story.asked) // 2  # the newest are still on their way
    answers = [network.answer(sent) for sent in story.writes]
    assert {answer.status.acknowledges for answer in answers if answer} == {True}


def test_a_mix_delays_batches_and_changes_every_byte(story: Story) -> None:
    network, recorder = story.network, story.network.recorder
    held: list[tuple[bytes, float, float]] = []
    for sent in story.asked:
        for steps in (network.way_out(sent), network.way_back(sent) or []):
            for step in steps[:-1]:
                came = recorder.find(step.node, False, step.packet)
                left = recorder.find(step.node, True, step.content)
                if came is None or left is None:
                    continue  # was still inside at the end of the recording
                wanted = step.command.delay_ms / 1000
                due = tick_time(DEMO, first_tick_from(DEMO, came.at + wanted))
                assert left.at >= due - 1e-3, "left before the tick after its delay"
                held.append((step.node, came.at, left.at))
                pieces = {step.packet[at : at + 16] for at in range(0, len(step.packet), 16)}
                after = {step.content[at : at + 16] for at in range(0, len(step.content), 16)}
                assert not pieces & after
    assert len(held) > 100
    delays = sorted(left - came for _, came, left in held)
    assert delays[len(delays) // 2] > DEMO.mean_delay / 4
    # batches: packets that left a mix at one tick; order: some overtook others
    ticks = Counter(
        (seen.node, tick_number(DEMO, seen.at))
        for seen in recorder.frames
        if seen.kind == Kind.PACKET and seen.out
    )
    assert max(ticks.values()) > 1
    overtakes = sum(
        a == c and came < later and left > gone for a, came, left in held for c, later, gone in held
    )
    assert overtakes > 0


def test_each_roles_keys_open_nothing_but_its_part(story: Story) -> None:
    network = story.network
    sent = story.writes[0]
    steps = network.way_out(sent)
    blob, proxy = network.request(sent).blob, sent.route.proxy.node_id
    opened: list[tuple[str, bytes, int]] = []
    for daemon in network.daemons.values():
        node_id = daemon.node.node_id
        mix, proxies = network.mix_keys(node_id), network.proxy_keys(node_id)
        for number, step in enumerate(steps):
            if network.opens(mix, step.packet):
                opened.append(("mix", node_id, number))
            if network.opens([key for _, key in proxies], step.packet):
                opened.append(("proxy", node_id, number))
        # as another epoch, as if it were a mix key, as if it had been sealed for this node
        epochs = [epoch for epoch, _ in proxies]
        for name in {proxy, node_id}:
            for keys in (proxies, [(epoch, key) for epoch in epochs for key in mix]):
                try:
                    boxquery.open_query(keys, daemon.network.hash, name, blob)
                except RemoteProtocolError:
                    continue
                opened.append(("blob" if keys is proxies else "blob by mix key", node_id, -1))
    wanted = [("mix", step.node, number) for number, step in enumerate(steps)]
    assert sorted(opened) == sorted([*wanted, ("blob", proxy, -1)])
    # and what the proxy finds is a sealed record: it opens for nobody but the reader
    assert TEXT.encode()[:40] not in network.query(sent).field


def test_the_blob_goes_to_the_proxy_alone(story: Story) -> None:
    network = story.network
    for sent in story.asked:
        question = network.question(sent)
        assert question is not None and question.peer == sent.route.proxy.node_id
        network.query(sent)
    blob = network.request(story.writes[0]).blob
    digest = hash(blob + bytes(32_768 - len(blob)))
    ends = {(seen.node, seen.out) for seen in network.recorder.frames if seen.digest == digest}
    route = story.writes[0].route
    assert ends == {(route.courier.node_id, True), (route.proxy.node_id, False)}


def test_at_least_the_quorum_of_homes_keeps_each_box_in_sqlite(story: Story) -> None:
    quorum = DEMO.quorum_of(NODES)
    assert quorum == 5
    assert set(story.kept) == {0, 1}
    assert min(story.kept.values()) >= quorum
    stored, *_ = [state for state in story.states if state.state == "stored"]  # a second: it was read back
    assert stored.stored_min >= quorum and stored.replicas == NODES


@pytest_twisted.ensureDeferred
async def test_without_the_second_layer_no_answer_comes_and_with_it_again(story: Story) -> None:
    network = story.network
    layer = network.second_layer()
    assert len(layer) == 4 and not {"you", "echo"} & set(layer)
    await network.stop(*layer)
    mail = message.Mail(os.urandom(16), "Anybody?", "Is there a way?\n", int(time.time()), "Ada")
    id = await network.write(mail)
    answered = len(await network.inbox())
    deadline = time.monotonic() + 1.05 * DEMO.rto
    you = network.daemons["you"]
    sent_before = you.agent.queries_sent
    await until(lambda: time.monotonic() > deadline, "the time is over")
    assert you.agent.queries_sent > sent_before + 20  # it does go on asking
    assert len(await network.inbox()) == answered
    assert you.agent.state.outbox[id].state == "sent"
    states = [
        event.state for name, event in network.events if isinstance(event, MailState) and event.mail == id
    ]
    assert "stored" not in states
    await network.start(*layer)
    await until(
        lambda: len([e for n, e in network.events if n == "you" and isinstance(e, MailArrived)]) == 2,
        "answer",
    )
    newest = (await network.inbox())[0]
    assert newest.in_reply_to == mail.message_id and "> Is there a way?" in newest.text
