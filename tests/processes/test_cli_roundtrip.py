"""Five real message files through the command line and twelve-hop ways, to another person's inbox.

What a script sees on the other side (`inbox --json`, `read --json`, saved attachments) is compared with what
Python's own email package reads in the file; and nothing that gives the sender away has left.
"""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from on_disk import profile_rows
from real_network import RealNetwork, real_network, run_mixmail
from waiting import wait_for

from mixmail.boxes.store import RECORD_SPACE
from mixmail.params import DEMO, NODE_LIMITS

DATA = Path(__file__).parent.parent / "data"
FILES = sorted(DATA.glob("msg_*.txt"))
NODES = 6
PIPED = "Übung"
HTML_OF_10 = "¡This is a Quoted Printable encoded message!\n"
HEADERS = {
    "From",
    "Date",
    "Subject",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
}
SECRETS = {
    "msg_10.txt": ["-0400", "Barry", "python.org", "2001", "cravindogs"],
    "msg_13.txt": ["-0400", "Barry", "digicool", "OUTER", "cravindogs"],
    "msg_22.txt": ["134.84.183.138", "+0300", "example.com", "x-mac", "a05001902b7f1c33773e9", "flowed"],
    "msg_26.txt": [
        "192.168.0.2",
        "wooster",
        "SMTPD32",
        "+0100",
        "Messenger-Pro",
        "RISC-OS",
        "X-UIDL",
        "Father",
    ],
    "msg_45.txt": ["foo@bar", "baz@bar", "X-Long-Line", "borderline", "micalg"],
}
"""What in each file tells of its author's machine, program, time zone or address."""


class Exchange:
    """The five mails, sent by you, as they stand at the friend's."""

    def __init__(self, network: RealNetwork) -> None:
        self.network = network
        self.friend = network.echo.home.folder
        self.sent: dict[str, dict[str, Any]] = {}
        self.arrived: dict[str, dict[str, Any]] = {}  # file name: what `read --json` says
        self.saved: dict[str, dict[str, bytes]] = {}  # file name: the attachments that `read` saved


def mixmail(home: Path, *arguments: str, stdin: bytes = b"") -> Any:
    """The JSON that a command prints."""
    done = run_mixmail(home, *arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with real_network(tmp_path_factory.mktemp("cli") / "net", NODES, friend=True) as network:
        network.you.start()
        network.meet()
        made = Exchange(network)
        you = network.you.home.folder
        for path in FILES:
            made.sent[path.name] = mixmail(you, "send", "friend", "--eml", str(path))
        piped = ("send", "friend", "-s", PIPED, "--wait", "stored")
        made.sent[PIPED] = mixmail(you, *piped, stdin="Grüße\n".encode())
        wait_for(lambda: len(network.echo.folder("inbox")) == len(FILES) + 1, "all mails arrive")
        wait_for(lambda: network.you.folder("outbox") == [], "the outbox is empty")
        subjects = {by_the_email_package(path)[0]: path.name for path in FILES} | {PIPED: PIPED}
        assert len(subjects) == len(FILES) + 1
        for row in mixmail(made.friend, "inbox")["mails"]:
            name, folder = subjects[row["subject"]], tmp_path_factory.mktemp("saved")
            options = ("--keep-unread", "--save-attachments", str(folder))
            made.arrived[name] = mixmail(made.friend, "read", row["id"][:8], *options)
            made.saved[name] = {one.name: one.read_bytes() for one in folder.iterdir()}
        yield made


def by_the_email_package(path: Path) -> tuple[str, str, list[tuple[str | None, str, bytes]]]:
    """Subject, text and files of a message, read without any code of mixmail."""
    tree = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(tree, EmailMessage)
    texts, files = [], []
    for part in tree.walk():
        if part.get_content_type() == "text/plain" and not part.is_attachment():
            texts.append(part.get_content().replace("\r\n", "\n"))
        elif part.get_content_type() == "text/html":
            texts.append(HTML_OF_10)
        elif not part.is_multipart():
            files.append((part.get_filename(), part.get_content_type(), part.get_payload(decode=True)))
    ended = [text if text.endswith("\n") else f"{text}\n" for text in texts[:-1]]
    return str(tree["subject"] or ""), "".join(ended) + texts[-1], files


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_subject_text_and_attachments_arrive_equal(exchange: Exchange, path: Path) -> None:
    subject, text, files = by_the_email_package(path)
    mail = exchange.arrived[path.name]
    assert mail["summary"]["subject"] == subject and mail["text"] == text
    assert [(one["name"], one["type"], one["size"]) for one in mail["attachments"]] == [
        (name, kind, len(data)) for name, kind, data in files
    ]
    assert exchange.saved[path.name] == {name: data for name, _, data in files}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_gives_the_sender_away_has_left(exchange: Exchange, path: Path) -> None:
    id = exchange.arrived[path.name]["summary"]["id"]
    (row,) = profile_rows(exchange.friend, "mails", id=id)
    stored = row["eml"].lower()
    for secret in SECRETS[path.name]:
        assert secret.lower().encode() in path.read_bytes().lower()
        assert secret.lower().encode() not in stored
    head = row["eml"].partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    names = {line.partition(b":")[0].decode() for line in head.split(b"\r\n")}
    assert names <= HEADERS
    (date,) = [line for line in head.split(b"\r\n") if line.startswith(b"Date:")]
    assert date.endswith(b":00:00 +0000") and b"1970" not in date


def test_what_the_sender_sees(exchange: Exchange) -> None:
    you = exchange.network.you.home.folder
    sent = mixmail(you, "inbox", "--folder", "sent")["mails"]
    assert {row["id"] for row in sent} == {one["id"] for one in exchange.sent.values()}
    assert {row["state"] for row in sent} == {"stored"} and {row["contact_name"] for row in sent} == {
        "friend"
    }
    waited = exchange.sent[PIPED]
    assert waited["state"] == "stored" and waited["stored_min"] >= 1
    assert all(one["state"] in ("queued", "sent") for one in exchange.sent.values() if one is not waited)


def test_text_from_a_pipe_and_its_answer(exchange: Exchange) -> None:
    """`send` from standard input, `read` marks as read, `send --reply-to` comes back and is told."""
    you, friend = exchange.network.you.home.folder, exchange.friend
    (row,) = mixmail(friend, "inbox", "--search", PIPED.lower())["mails"]
    assert row["unread"]
    done = run_mixmail(friend, "read", row["id"])
    shown = done.stdout.decode()
    assert done.returncode == 0 and "Grüße" in shown and f"Subject: {PIPED}" in shown
    assert not exchange.network.echo.mail(row["id"]).summary.unread
    mixmail(
        friend, "send", row["contact"], "-s", f"Re: {PIPED}", "-m", "Danke\n", "--reply-to", row["id"][:10]
    )
    wait_for(lambda: exchange.network.you.folder("inbox"), "the answer arrives")
    (back,) = mixmail(you, "inbox")["mails"]
    assert mixmail(you, "read", back["id"])["text"] == "Danke\n"
    answered = exchange.network.you.mail(back["in_reply_to"]).summary
    assert (answered.subject, answered.state) == (PIPED, "answered")


def test_the_store_of_a_node_is_shown(exchange: Exchange) -> None:
    """Every node is a home here, so the first has kept what the others wrote."""
    folder = exchange.network.you.home.folder
    store = mixmail(folder, "node", "store")
    kept = store["records"] + store["entries"]
    assert kept == sum(one["count"] for one in store["classes"]) > 0
    assert store["used"] == kept * RECORD_SPACE and store["quota"] == NODE_LIMITS.quota
    assert store["capacity"] == NODE_LIMITS.quota // RECORD_SPACE and store["evicted"] == 0
    assert 0 < store["file_size"] <= (folder / "node.db").stat().st_size
    assert store["asked_bits"] == DEMO.box_bits
    assert "quota:        2.0 GB, 0." in run_mixmail(folder, "node", "store").stdout.decode()


def test_a_drain_sends_what_the_node_holds_and_ends_it(exchange: Exchange) -> None:
    """The last test of this network: the first node's work for the others is done, then its process ends."""
    you = exchange.network.you
    wait_for(lambda: you.ask(lambda client: client.status()).pool > 0, "the node holds packets")
    done = run_mixmail(you.home.folder, "stop", "--drain")
    assert done.returncode == 0, done.stderr.decode()
    assert "to send first, at most" in done.stderr.decode()
    assert "dropped" not in done.stderr.decode()
    assert you.process is not None
    assert you.process.wait(30) == 0, you.words()
    assert "0 packets in the pools are dropped" in you.words()
