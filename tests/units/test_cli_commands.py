"""The commands against a daemon made of fixed answers, over a real socket and the real JSON-RPC codec."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mixmail.cli import wiring
from mixmail.cli.home import Home
from mixmail.cli.main import cli
from mixmail.cli.node import parse_size
from mixmail.control import codec, types
from mixmail.daemon.home import NodeConfig, NodeHome
from mixmail.errors import UserError

EVIL = "\x1b]0;evil\x07 [bold]\u202e"


def summary(id: str, **fields: Any) -> types.MailSummary:
    known = dict(folder="inbox", contact="c1", contact_name="Ben", subject="Minutes", date=1.7e9, size=10)
    return types.MailSummary(**{**known, "id": id, "unread": False, "state": "received", **fields})


STORE = types.Store(
    quota=2 * 10**9,
    used=75_000 * 18_432,
    fill=75_000 / 108_506,
    file_size=1_500_000_000,
    records=74_000,
    entries=1_000,
    capacity=108_506,
    remembered=31,
    evicted=1,
    asked_bits=7,
    classes=[types.StoreClass(days=7, count=20), types.StoreClass(days=30, count=74_980)],
)


class FakeDaemon:
    """Answers each method from what the test has put into it, and keeps the calls."""

    def __init__(self) -> None:
        self.locked = False
        self.dropped = 0
        self.lossy: list[types.LossyNode] = []
        self.mails: dict[str, types.Mail] = {}
        self.files: list[types.Attachment] = []
        self.contacts = [types.Contact(id="c1aa", name="Ben", address="mix1ben")]
        self.identities = [types.Identity(id="i1aa", name="Ada", address="mix1ada")]
        self.calls: list[tuple[str, Any]] = []
        self.after_send: list[types.MailStateEvent] = []
        self.hang_up_after_send = False

    def add(self, row: types.MailSummary, text: str = "Text\n", names: tuple[str, ...] = ()) -> None:
        self.files = [types.Attachment(name=n, type="text/plain", data=n.encode("utf-8")) for n in names]
        infos = [
            types.AttachmentInfo(index=i, name=file.name, type=file.type, size=len(file.data))
            for i, file in enumerate(self.files)
        ]
        self.mails[row.id] = types.Mail(
            summary=row, text=text, attachments=infos, from_name=row.contact_name, to_name="Ada"
        )

    def answer(self, method: str, params: Any) -> object:
        self.calls.append((method, params))
        match method:
            case "hello":
                return types.Hello(
                    api=types.API_VERSION,
                    version="0",
                    network="net",
                    preset="demo",
                    anonymous=False,
                    node_id="aa",
                    has_identity=True,
                    locked=self.locked,
                )
            case "status":
                figures = dict.fromkeys(types.Status.__struct_fields__, 1)
                texts = {"preset": "demo", "anonymous": False, "warnings": [EVIL], "lossy_nodes": self.lossy}
                return types.Status(**{**figures, **texts})
            case "store":
                return STORE
            case "identity.list":
                return self.identities
            case "identity.create":
                return types.Identity(id="i2", name=params.name, address="mix1new")
            case "contact.list":
                return self.contacts
            case "contact.add":
                return types.Contact(id="c2", name=params.name, address=params.address)
            case "mail.list":
                rows = [mail.summary for mail in self.mails.values() if mail.summary.folder == params.folder]
                return types.MailPage(
                    total=len(rows), unread=1, mails=rows[params.offset : params.offset + params.limit]
                )
            case "mail.read":
                if params.id not in self.mails:
                    raise UserError("There is no such mail.", "unknown-mail")
                return self.mails[params.id]
            case "mail.attachment":
                return self.files[params.index]
            case "mail.send" | "mail.send_eml":
                if params.to == "nobody":
                    raise UserError("There is no such contact; add the address first.", "unknown-contact")
                self.add(summary("new1", folder="outbox", state="queued", parts=2))
                return types.Id(id="new1")
            case "drain":
                return types.Draining(held=3, limit_s=600.0)
            case "drained":
                return types.Stopping(dropped=self.dropped)
            case "shutdown":
                return types.Stopping(dropped=self.dropped)
        return types.Empty()


async def serve(daemon: FakeDaemon, path: Path, up: threading.Event, end: asyncio.Event) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            id, method, params = codec.decode_request(line)
            try:
                writer.write(codec.encode_result(id, daemon.answer(method, params)))
            except UserError as error:
                writer.write(codec.encode_error(id, *codec.error_of(error)))
            if method == "mail.read":
                for n, event in enumerate(daemon.after_send):
                    writer.write(codec.encode_event(n, "mail.state", event))
                if daemon.hang_up_after_send:
                    break
            if method in ("shutdown", "drained"):
                break
        writer.close()

    async with await asyncio.start_unix_server(talk, path):
        up.set()
        await end.wait()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


@pytest.fixture
def daemon(home: Path) -> Iterator[FakeDaemon]:
    fake, up = FakeDaemon(), threading.Event()
    loop, end = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(fake, home / "control.sock", up, end))
    )
    thread.start()
    up.wait()
    yield fake
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def run(home: Path, *words: str, input: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, [*words, "--home", str(home)], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sent(daemon: FakeDaemon, method: str) -> Any:
    return next(params for called, params in daemon.calls if called == method)


def event(state: types.MailState, id: str = "new1", note: str = "") -> types.MailStateEvent:
    return types.MailStateEvent(
        id=id, state=state, sent_parts=2, parts=2, stored_min=5, replicas=12, note=note
    )


# send


def test_send_takes_the_text_from_standard_input(daemon: FakeDaemon, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\x00\xff")
    result = run(home, "send", "Ben", "-s", "Hi", "--attach", str(path), input="Grüße\n")
    assert result.output == "new1 queued (0/2 packets)\n"
    params = sent(daemon, "mail.send")
    assert (params.to, params.subject, params.text) == ("Ben", "Hi", "Grüße\n")
    assert params.attachments == [types.Attachment(name="a.txt", type="text/plain", data=b"\x00\xff")]


def test_send_json_is_the_summary(daemon: FakeDaemon, home: Path) -> None:
    shown = json.loads(run(home, "send", "Ben", "-m", "x", "--json").output)
    assert (shown["id"], shown["state"], shown["parts"]) == ("new1", "queued", 2)


def test_send_eml_hands_over_the_very_bytes(daemon: FakeDaemon, home: Path, tmp_path: Path) -> None:
    data = b"Subject: x\r\n\r\n\xff\x00body"
    (tmp_path / "m.eml").write_bytes(data)
    assert run(home, "send", "Ben", "--eml", str(tmp_path / "m.eml")).exit_code == 0
    assert sent(daemon, "mail.send_eml").data == data
    daemon.calls.clear()
    assert run(home, "send", "Ben", "--eml", "-", input=data).exit_code == 0
    assert sent(daemon, "mail.send_eml").data == data


def test_send_eml_excludes_a_text(daemon: FakeDaemon, home: Path) -> None:
    assert run(home, "send", "Ben", "--eml", "x", "-m", "y").exit_code == 2


def test_send_with_a_missing_file_sends_nothing(daemon: FakeDaemon, home: Path) -> None:
    for option in ("--attach", "--eml"):
        result = run(home, "send", "Ben", option, "/does/not/exist", input="")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "/does/not/exist cannot be read" in result.stderr
    assert not [method for method, _ in daemon.calls if method.startswith("mail.send")]


def test_send_to_nobody_exits_with_4(daemon: FakeDaemon, home: Path) -> None:
    result = run(home, "send", "nobody", "-m", "x")
    assert result.exit_code == 4
    assert result.stderr == "mixmail: There is no such contact; add the address first.\n"


def test_send_names_identity_and_answered_mail_by_beginnings(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a"))
    run(home, "send", "Ben", "-m", "x", "--from", "ada", "--reply-to", "4f")
    params = sent(daemon, "mail.send")
    assert (params.identity, params.in_reply_to) == ("i1aa", "4f2a")


@pytest.mark.parametrize(
    ("goal", "events"),
    [
        ("stored", [event("sent"), event("stored", "other"), event("stored")]),
        ("stored", [event("answered")]),
        ("answered", [event("stored"), event("answered")]),
    ],
)
def test_wait_comes_back_when_the_mail_got_so_far(
    daemon: FakeDaemon, home: Path, goal: str, events: list[types.MailStateEvent]
) -> None:
    daemon.after_send = events
    assert run(home, "send", "Ben", "-m", "x", "--wait", goal).exit_code == 0


def test_wait_ends_with_5_after_the_timeout(daemon: FakeDaemon, home: Path) -> None:
    daemon.after_send = [event("stored", "other"), event("sent")]
    result = run(home, "send", "Ben", "-m", "x", "--wait", "stored", "--timeout", "0.05")
    assert result.exit_code == 5
    assert "stays in the outbox" in result.stderr


def test_wait_ends_with_1_if_the_mail_fails(daemon: FakeDaemon, home: Path) -> None:
    daemon.after_send = [event("failed", note="It has expired.")]
    result = run(home, "send", "Ben", "-m", "x", "--wait", "stored")
    assert (result.exit_code, result.stderr.endswith("not delivered: It has expired.\n")) == (1, True)


def test_wait_ends_with_3_if_the_daemon_goes_away(daemon: FakeDaemon, home: Path) -> None:
    daemon.hang_up_after_send = True
    assert run(home, "send", "Ben", "-m", "x", "--wait", "stored").exit_code == 3


# inbox and read


def test_inbox_is_one_line_a_mail_and_harmless(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a11", subject=EVIL + "\nsecond line", contact_name=EVIL, unread=True))
    daemon.add(summary("4f2b22", attachments=1))
    result = run(home, "inbox")
    first, second, last = result.output.splitlines()
    assert first.startswith("* 4f2a  20")
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert "[bold]" in first
    assert second.endswith("Minutes +")
    assert last == "inbox: 2 mails, 1 unread"


def test_inbox_shows_how_far_own_mails_are(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("aaaa", folder="outbox", state="sent", sent_parts=1, parts=3, note="waits"))
    daemon.add(summary("bbbb", folder="outbox", state="stored", stored_min=5, replicas=12))
    result = run(home, "inbox", "--folder", "outbox")
    assert "[sent (1/3 packets): waits]" in result.output
    assert "[stored (5 of 12)]" in result.output


def test_inbox_json_is_ascii_and_passes_the_options_on(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a", folder="sent", subject=EVIL))
    result = run(home, "inbox", "--json", "--folder", "sent", "--limit", "3", "--search", "ö")
    assert result.output.isascii()
    assert json.loads(result.output)["mails"][0]["subject"] == EVIL
    params = sent(daemon, "mail.list")
    assert (params.folder, params.limit, params.search) == ("sent", 3, "ö")


def test_read_prints_a_harmless_mail_and_marks_it(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a", subject=EVIL, unread=True), text=f"Hello\n{EVIL}\x9b2J\n", names=("b.txt",))
    result = run(home, "read", "4f")
    assert "Subject: " in result.output
    assert "File 1: b.txt (text/plain, 5 bytes)" in result.output
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(result.output)
    assert sent(daemon, "mail.mark") == types.MailMarkParams(id="4f2a", unread=False)


def test_read_may_leave_a_mail_unread(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a", unread=True))
    run(home, "read", "4f2a", "--keep-unread", "--json")
    assert "mail.mark" not in [method for method, _ in daemon.calls]


def test_read_wants_a_unique_beginning(daemon: FakeDaemon, home: Path) -> None:
    daemon.add(summary("4f2a"))
    daemon.add(summary("4f2b", folder="sent"))
    assert run(home, "read", "zz").exit_code == 4
    result = run(home, "read", "4f2")
    assert result.exit_code == 1
    assert "4f2a (Minutes), 4f2b (Minutes)" in result.stderr
    assert run(home, "read", "4f2b").exit_code == 0


def test_attachments_are_saved_once(daemon: FakeDaemon, home: Path, tmp_path: Path) -> None:
    daemon.add(summary("4f2a"), names=("a.txt", "a.txt", "b"))
    folder = tmp_path / "new" / "folder"
    assert run(home, "read", "4f2a", "--save-attachments", str(folder)).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a-2.txt", "a.txt", "b"]
    assert (folder / "b").read_bytes() == b"b"
    again = run(home, "read", "4f2a", "--save-attachments", str(folder))
    assert (again.exit_code, again.stdout) == (1, "")
    assert "is there already" in again.stderr


def test_a_hostile_name_saves_nothing_but_can_be_renamed(
    daemon: FakeDaemon, home: Path, tmp_path: Path
) -> None:
    daemon.add(summary("4f2a"), names=("good.txt", "../evil.txt"))
    folder = tmp_path / "folder"
    folder.mkdir()
    result = run(home, "read", "4f2a", "--save-attachments", str(folder))
    assert result.exit_code == 1
    assert [path.name for path in tmp_path.rglob("*.txt")] == []
    target = folder / "renamed.txt"
    assert run(home, "read", "4f2a", "--attachment", "2", "--as", str(target)).exit_code == 0
    assert target.read_bytes() == b"../evil.txt"
    assert run(home, "read", "4f2a", "--attachment", "3", "--as", str(folder / "x")).exit_code == 4
    assert run(home, "read", "4f2a", "--attachment", "1").exit_code == 2


# people, status, the daemon itself


def test_people_are_listed_and_named(daemon: FakeDaemon, home: Path) -> None:
    daemon.contacts.append(types.Contact(id="c1bb", name=EVIL, address="mix1evil"))
    shown = run(home, "contact", "list").output
    assert shown.splitlines()[0].split() == ["Ben", "mix1ben", "c1aa"]
    assert "\x1b" not in shown
    assert [one["id"] for one in json.loads(run(home, "contact", "list", "--json").output)] == [
        "c1aa",
        "c1bb",
    ]
    assert run(home, "contact", "rename", "ben", "Benjamin").exit_code == 0
    assert sent(daemon, "contact.rename") == types.ContactRenameParams(id="c1aa", name="Benjamin")
    assert run(home, "contact", "remove", "c1", "--yes").exit_code == 1
    assert run(home, "contact", "remove", "c1b", "--yes").exit_code == 0
    assert sent(daemon, "contact.remove").id == "c1bb"
    assert run(home, "contact", "remove", "Zoe", "--yes").exit_code == 4


def test_removing_asks_first(daemon: FakeDaemon, home: Path) -> None:
    assert run(home, "contact", "remove", "Ben", input="n\n").exit_code == 1
    assert "contact.remove" not in [method for method, _ in daemon.calls]
    assert run(home, "contact", "remove", "Ben", input="y\n").exit_code == 0


def test_contact_add(daemon: FakeDaemon, home: Path) -> None:
    assert run(home, "contact", "add", "mix1zoe", "Zoe").output.split() == ["Zoe", "mix1zoe", "c2"]
    assert sent(daemon, "contact.add") == types.ContactAddParams(address="mix1zoe", name="Zoe")


def test_identities(daemon: FakeDaemon, home: Path) -> None:
    assert run(home, "id", "show").output == "mix1ada\n"
    assert json.loads(run(home, "id", "show", "Ada", "--json").output)["id"] == "i1aa"
    assert run(home, "id", "list").output.split() == ["Ada", "mix1ada", "i1aa"]
    assert run(home, "id", "show", "Zoe").exit_code == 4
    result = run(home, "id", "new", "Zoe", "--passphrase", input="secret\nsecret\n")
    assert result.stdout.endswith("mix1new\n")
    assert sent(daemon, "identity.create") == types.IdentityCreateParams(name="Zoe", passphrase="secret")
    assert "secret" not in result.output
    daemon.identities = []
    assert "mixmail id new" in run(home, "id", "show").stderr


def test_status_is_readable_and_harmless(daemon: FakeDaemon, home: Path) -> None:
    shown = run(home, "status").output
    assert "anonymity:    none" in shown
    assert "\x1b]" not in shown
    assert "\u202e" not in shown
    assert json.loads(run(home, "status", "--json").output)["node_id"] == "aa"


def test_status_names_the_node_that_loses_packets(daemon: FakeDaemon, home: Path) -> None:
    daemon.lossy = [types.LossyNode(node_id="ab" * 32, loss=0.2, low=0.14, high=0.271, queries=437)]
    shown = run(home, "status").output
    assert "node abababababababab loses about 20% of what passes it (14% to 27%, seen in 437" in shown
    named = json.loads(run(home, "status", "--json").output)["lossy_nodes"]
    assert [(one["node_id"], one["loss"]) for one in named] == [("ab" * 32, 0.2)]


def test_the_store_is_shown_with_quota_classes_and_evictions(daemon: FakeDaemon, home: Path) -> None:
    shown = run(home, "node", "store").output
    assert shown == (
        "quota:        2.0 GB, 69.1% full\n"
        "size:         1.4 GB in records, 1.5 GB on disk\n"
        "records:      75000 of 108506: 74000 single, 1000 in queues\n"
        "by class:     20 for 7 days, 74980 for 30 days\n"
        "deleted:      31 queue entries remembered as deleted\n"
        "evicted:      1 record since the start, for want of room\n"
        "asks for:     7 bits of work\n"
    )
    told = json.loads(run(home, "node", "store", "--json").output)
    assert told["classes"] == [{"days": 7, "count": 20}, {"days": 30, "count": 74_980}]
    assert (told["capacity"], told["evicted"], told["asked_bits"]) == (108_506, 1, 7)


def test_options_of_the_daemon_are_not_ignored_before_a_command(home: Path) -> None:
    result = run(home, "node", "--quota", "3G", "store")
    assert result.exit_code == 2 and "give them to 'mixmail node' alone" in result.stderr


@pytest.mark.parametrize("wrong", ["", "many", "-2G", "1M", "2 PB", "1e9", "10000T", "0"])
def test_a_quota_that_is_no_size_is_refused_with_an_example(home: Path, wrong: str) -> None:
    result = run(home, "node", f"--quota={wrong}")
    assert result.exit_code == 2
    assert "write for instance 500M or 2G" in result.stderr


@pytest.mark.parametrize(("text", "size"), [("2M", 2_000_000), ("1.5g", 1_500_000_000), ("3 GB", 3 * 10**9)])
def test_a_quota_is_kept_in_the_home(tmp_path: Path, text: str, size: int) -> None:
    home, folder = Home(tmp_path), NodeHome(tmp_path)
    folder.write_config(NodeConfig(listen="tcp:1234", echo=True))
    quota = parse_size(None, None, text)
    assert quota == size
    wiring.set_quota(home, quota)
    assert folder.config() == NodeConfig(listen="tcp:1234", echo=True, quota=size)
    folder.lock()
    with pytest.raises(UserError, match="already runs"):  # it would not be heard
        wiring.set_quota(home, 9 * 10**9)
    folder.unlock()
    assert folder.config().quota == size


def test_a_quota_below_the_least_in_node_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("quota = 1000\n")
    with pytest.raises(UserError, match="quota"):
        NodeHome(tmp_path).config()


def test_a_locked_profile_is_refused_and_unlocked_from_a_pipe(daemon: FakeDaemon, home: Path) -> None:
    daemon.locked = True
    result = run(home, "inbox")
    assert result.exit_code == 1
    assert "mixmail unlock" in result.stderr
    assert run(home, "unlock", input="open sesame\n").exit_code == 0
    assert sent(daemon, "unlock").passphrase == "open sesame"


def test_stop_waits_for_the_end_of_the_daemon(daemon: FakeDaemon, home: Path) -> None:
    stopped = run(home, "stop")
    assert (stopped.exit_code, stopped.stderr) == (0, "")
    assert daemon.calls[-1][0] == "shutdown"


def test_stop_says_how_many_packets_of_others_are_lost(daemon: FakeDaemon, home: Path) -> None:
    daemon.dropped = 3
    said = run(home, "stop").stderr
    assert "3 packets of other people dropped; use --drain" in said


def test_a_drain_says_how_long_it_takes_and_what_was_left(daemon: FakeDaemon, home: Path) -> None:
    daemon.dropped = 1
    stopped = run(home, "stop", "--drain")
    assert stopped.exit_code == 0
    assert "3 packets to send first, at most 600 s" in stopped.stderr
    assert "1 packet of other people dropped\n" in stopped.stderr
    assert [name for name, _ in daemon.calls if name != "hello"] == ["drain", "drained"]


def test_no_colour_where_it_is_not_wanted(
    daemon: FakeDaemon, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.add(summary("4f2a", unread=True))
    words = ["inbox", "--home", str(home)]
    assert "\x1b[1m" in CliRunner().invoke(cli, words, color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(cli, words, color=True).output
