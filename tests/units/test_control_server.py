"""The control server under a real client: in memory, and once over a real socket of the system."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import defer, task
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from mixmail.control import codec, memory, server, types
from mixmail.control.client import Client, ConnectionLost, ControlError
from mixmail.errors import LocalProtocolError, UserError

HELLO = types.Hello(
    api=1,
    version="0",
    network="here",
    preset="demo",
    anonymous=False,
    node_id="ab" * 32,
    has_identity=True,
    locked=False,
)
HELLO_LINE = codec.encode_request(1, "hello", types.HelloParams(api=1))


class Answers:
    """A backend whose methods return (or raise) what the test has put there."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"hello": HELLO, **answers}
        self.calls: list[tuple[str, types.Shape]] = []

    def __getattr__(self, name: str) -> Callable[[types.Shape], Any]:
        def method(params: types.Shape) -> Any:
            self.calls.append((name, params))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method


def make(**answers: Any) -> server.ControlServer:
    return server.ControlServer(Answers(**answers), task.Clock())  # type: ignore[arg-type]


class Wire:
    """A raw connection to a server: what it wrote, line by line, and whether it is open."""

    def __init__(self, control: server.ControlServer) -> None:
        self.protocol = control.buildProtocol(None)
        self.written = b""
        self.open = True
        self.reading = True
        self.producer: Any = None
        self.protocol.makeConnection(self)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        self.written += data

    def loseConnection(self) -> None:
        if self.open:
            self.open = False
            self.protocol.connectionLost()

    abortConnection = loseConnection

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def say(self, data: bytes) -> list[Any]:
        """Send `data`; what came back."""
        self.written = b""
        self.protocol.dataReceived(data)
        return [json.loads(line) for line in self.written.splitlines()]


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_a_call_reaches_the_backend_in_its_shape_and_its_answer_the_caller() -> None:
    contact = types.Contact(id="1", name="echo", address="mix1x")
    control = make(contact_add=contact, mail_list=types.MailPage(total=0, unread=0, mails=[]))

    async def go() -> None:
        async with await memory.connect(control) as client:
            assert client.hello == HELLO
            assert await client.contact_add("mix1x", "echo") == contact
            assert (await client.mail_list("inbox", search="x")).total == 0

    run(go())
    assert control.backend.calls[1:] == [  # type: ignore[attr-defined]
        ("contact_add", types.ContactAddParams(address="mix1x", name="echo")),
        ("mail_list", types.MailListParams(folder="inbox", search="x")),
    ]


def test_calls_overlap_and_a_deferred_answers_when_it_fires() -> None:
    later: Deferred[types.Id] = Deferred()
    control = make(mail_send=later, contact_list=[])

    async def go() -> None:
        async with await memory.connect(control) as client:
            sending = asyncio.ensure_future(client.mail_send("echo", "a", "b"))
            assert await client.contact_list() == []
            assert not sending.done()
            later.callback(types.Id(id="m1"))
            assert await sending == "m1"

    run(go())


def test_a_user_error_comes_with_its_code_and_sentence() -> None:
    control = make(
        mail_send=UserError("There is no contact bob: add him first.", "unknown-contact"),
        unlock=defer.fail(UserError("This is not the passphrase.", "wrong-passphrase")),
    )

    async def go() -> None:
        async with await memory.connect(control) as client:
            with pytest.raises(ControlError) as caught:
                await client.mail_send("bob", "a", "b")
            assert caught.value.code == "unknown-contact"
            assert str(caught.value) == "There is no contact bob: add him first."
            with pytest.raises(ControlError) as caught:
                await client.unlock("x")
            assert caught.value.code == "wrong-passphrase"

    run(go())


def test_an_unknown_error_is_logged_and_stays_inside() -> None:
    logged: list[Any] = []
    control = make(status=RuntimeError("secret of the inside"))
    wire = Wire(control)
    wire.say(HELLO_LINE)
    globalLogPublisher.addObserver(logged.append)
    try:
        [answer] = wire.say(codec.encode_request(2, "status", types.Empty()))
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert answer["error"]["data"]["code"] == "internal" and answer["error"]["code"] == codec.INTERNAL
    assert b"secret" not in wire.written and b"Traceback" not in wire.written
    assert [str(entry["log_failure"].value) for entry in logged] == ["secret of the inside"]


def test_hello_comes_first_and_its_version_counts() -> None:
    control = make(contact_list=[])
    wire = Wire(control)
    [answer] = wire.say(codec.encode_request(1, "contact.list", types.Empty()))
    assert answer["error"]["data"]["code"] == "hello-first"
    [answer] = wire.say(codec.encode_request(2, "hello", types.HelloParams(api=99)))
    assert answer["error"]["data"]["code"] == "api-version"
    [answer] = wire.say(codec.encode_request(3, "contact.list", types.Empty()))
    assert answer["error"]["data"]["code"] == "hello-first"
    assert control.backend.calls == []  # type: ignore[attr-defined]
    wire.say(HELLO_LINE)
    [answer] = wire.say(codec.encode_request(4, "contact.list", types.Empty()))
    assert answer == {"jsonrpc": "2.0", "id": 4, "result": []}


def test_a_client_that_says_nothing_is_cut_off_and_one_that_greets_is_not() -> None:
    control = make()
    silent, polite = Wire(control), Wire(control)
    polite.say(HELLO_LINE)
    control.reactor.advance(server.HELLO_TIMEOUT)  # type: ignore[attr-defined]
    assert (silent.open, polite.open) == (False, True)


def test_garbage_is_answered_and_the_connection_lives() -> None:
    wire = Wire(make())
    answers = wire.say(b"garbage\n" + HELLO_LINE)
    assert answers[0]["error"]["code"] == codec.PARSE_ERROR and answers[0]["id"] is None
    assert answers[1]["result"]["network"] == "here"


def test_a_line_without_end_is_refused_and_cut_off() -> None:
    wire = Wire(make())
    [answer] = wire.say(b"x" * (codec.MAX_LENGTH + 1))
    assert answer["error"]["data"]["code"] == "too-large"
    assert not wire.open


def test_events_are_numbered_by_the_server_and_reach_everybody_who_has_said_hello() -> None:
    control = make()
    stranger = Wire(control)
    new = types.MailNewEvent(id="m", contact_name="echo", subject="hi")

    async def go() -> None:
        async with await memory.connect(control) as one, await memory.connect(control) as two:
            seen: list[types.Event] = []
            two.listen(seen.append)
            events = one.events()
            first = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            control.publish("mail.new", new)
            control.publish("contacts.changed", types.Empty())
            assert await first == types.Event(1, "mail.new", new)
            assert await anext(events) == types.Event(2, "contacts.changed", types.Empty())
            assert [event.n for event in seen] == [1, 2]

    run(go())
    assert stranger.written == b""


def test_an_event_has_to_have_the_shape_of_its_kind() -> None:
    control = make()
    for kind in ("status", "nothing"):
        with pytest.raises(LocalProtocolError):
            control.publish(kind, types.Empty())


def test_a_client_that_does_not_read_stops_being_read_and_in_the_end_is_cut_off() -> None:
    control = make()
    wire = Wire(control)
    wire.say(HELLO_LINE)
    wire.producer.pauseProducing()
    assert not wire.reading
    wire.producer.resumeProducing()
    assert wire.reading
    wire.producer.pauseProducing()
    event = types.MailNewEvent(id="m", contact_name="x", subject="y" * 2**20)
    for _ in range(server.BACKLOG_LIMIT // 2**20 - 1):
        control.publish("mail.new", event)
    assert wire.open
    control.publish("mail.new", event)
    assert not wire.open and not control.clients


def test_a_lost_connection_fails_open_calls_and_later_ones_and_ends_the_events() -> None:
    control = make(status=Deferred())

    async def go() -> None:
        reader, writer, transport = memory.open_streams(control)
        client = await Client.start(reader, writer)

        async def collect() -> list[types.Event]:
            return [event async for event in client.events()]

        collected = asyncio.ensure_future(collect())
        call = asyncio.ensure_future(client.status())
        await asyncio.sleep(0)
        transport.loseConnection()
        with pytest.raises(ConnectionLost):
            await call
        with pytest.raises(ConnectionLost):
            await client.contact_list()
        assert await collected == []
        assert client.closed.is_set()
        await client.close()

    run(go())


def test_a_daemon_that_does_not_speak_the_protocol_is_a_lost_connection() -> None:
    async def go() -> None:
        reader, writer, _transport = memory.open_streams(make())
        reader.feed_data(b"220 mail.example ESMTP\n")
        with pytest.raises(ConnectionLost):
            await Client.start(reader, writer)

    run(go())


def test_nobody_listening_is_one_sentence(tmp_path: Path) -> None:
    for prepare in (lambda path: None, _dead_socket):
        path = tmp_path / "control.sock"
        prepare(path)
        with pytest.raises(UserError) as caught:
            run(Client.connect(path))
        assert caught.value.code == "no-daemon"
    with pytest.raises(UserError) as caught:
        run(Client.connect(tmp_path / ("x" * 120)))
    assert caught.value.code == "socket-path"


def _dead_socket(path: Path) -> None:
    """What a daemon that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))


class _FakePort:
    def stopListening(self) -> None:
        pass


class _RealSockets:
    """Stands in for reactor.listenUNIX: binds as it does, with the asyncio loop doing the reading."""

    def __init__(self) -> None:
        self.servers: list[socket.socket] = []

    def listenUNIX(self, address: str, factory: Any, mode: int, wantPID: bool) -> _FakePort:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address)
        os.chmod(address, mode)
        listening.listen()
        self.servers.append(listening)
        return _FakePort()


def test_the_socket_is_private_and_a_second_daemon_is_refused(tmp_path: Path) -> None:
    reactor: Any = _RealSockets()
    path = tmp_path / "run" / "control.sock"
    port = server.listen(path, make(), reactor)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(UserError) as caught:
        server.listen(path, make(), reactor)
    assert caught.value.code == "second-daemon"
    assert len(reactor.servers) == 1
    port.stop()
    reactor.servers[0].close()  # as after kill -9: the socket is still there, nobody listens
    assert path.exists()
    server.listen(path, make(), reactor).stop()
    reactor.servers[1].close()


def test_a_live_socket_is_refused_even_without_its_lock(tmp_path: Path) -> None:
    reactor: Any = _RealSockets()
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    path = folder / "control.sock"
    reactor.listenUNIX(os.fspath(path), None, 0o600, False)
    with pytest.raises(UserError) as caught:
        server.listen(path, make(), reactor)
    assert caught.value.code == "second-daemon"
    assert path.exists()
    reactor.servers[0].close()


def test_two_daemons_that_start_at_once_do_not_share_a_home(tmp_path: Path) -> None:
    """The first has the lock and no socket yet."""
    path = tmp_path / "run" / "control.sock"
    path.parent.mkdir(mode=0o700)
    lock = server._take_lock(os.fspath(path))
    with pytest.raises(UserError) as caught:
        server._take_lock(os.fspath(path))
    assert caught.value.code == "second-daemon"
    os.close(lock)
    os.close(server._take_lock(os.fspath(path)))


def test_an_open_folder_a_file_in_the_way_and_a_long_path_are_refused(tmp_path: Path) -> None:
    reactor: Any = _RealSockets()
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(UserError) as caught:
        server.listen(folder / "s", make(), reactor)
    assert caught.value.code == "unsafe-folder"
    folder.chmod(0o700)
    (folder / "s").write_text("mine")
    with pytest.raises(UserError) as caught:
        server.listen(folder / "s", make(), reactor)
    assert caught.value.code == "socket-path"
    assert (folder / "s").read_text() == "mine"
    with pytest.raises(UserError) as caught:
        server.listen(folder / ("x" * 120), make(), reactor)
    assert caught.value.code == "socket-path"


@pytest.mark.parametrize("ours", [True, False])
def test_only_processes_of_the_same_user_are_served(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not ours:
        uid = os.getuid()
        monkeypatch.setattr(server.os, "getuid", lambda: uid + 1)
    near, far = socket.socketpair()
    with near, far:
        monkeypatch.setattr(Wire, "getHandle", lambda self: near, raising=False)
        wire = Wire(make())
        assert wire.open is ours
        assert (wire.protocol in wire.protocol.factory.clients) is ours
