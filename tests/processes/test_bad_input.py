"""Whatever goes wrong: one sentence on standard error, a telling exit code, no traceback, nothing lost.

The story of one home: it gets an identity and a contact, then its network is taken away and a mail is
written.  All kinds of trouble happen to that home and its daemon.  At the end the network comes back and the
mails that were written in between arrive, each once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from on_disk import homes_of, profile_rows
from OpenSSL import SSL
from real_network import Person, RealNetwork, run_mixmail
from waiting import wait_for

from mixmail.daemon import devnet, processes
from mixmail.daemon.home import NodeConfig, NodeHome
from mixmail.effects import Frame
from mixmail.link import certificate, tls
from mixmail.link.frames import cut
from mixmail.mail.identity import Identity
from mixmail.params import DEMO, GEOMETRY

NODES = 5
REFUSED, NO_DAEMON, NOT_FOUND, NETWORK = 1, 3, 4, 5
BEFORE, MEANWHILE = "written without a network", "written on a full disk"


class Story:
    """The network's folder lies where `mixmail devnet` expects it below `top`.

    Two strangers stop half-way as soon as the daemon runs: before TLS, and in the middle of a first frame.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.network = RealNetwork(top / "devnet", NODES, friend=True)
        self.you = self.network.you
        self.home = self.you.home.folder
        self.late: list[object] = []  # peers that came and said too little


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = Story(tmp_path_factory.mktemp("bad"))
    try:
        _listen_at(told.home, _free_port())
        told.you.start()
        told.network.meet()
        devnet.stop_started(told.network.started)
        told.you.send("friend", BEFORE, "Does this get through?\n")
        half = Stranger(_port(told.home), tmp_path_factory.mktemp("half"))
        half.hello()
        half.tls.send(cut(Frame(9, 0, b"x" * 100))[0][:20_000])
        told.late = [half, socket.create_connection(("127.0.0.1", _port(told.home)))]
        yield told
    finally:
        told.you.stop()
        devnet.stop_homes([NodeHome(path) for path in homes_of(told.network.folder)])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listen_at(home: Path, port: int) -> None:
    NodeHome(home).write_config(NodeConfig(listen=f"tcp:{port}:interface=127.0.0.1"))


def _port(home: Path) -> int:
    found = re.search(r"tcp:(\d+)", NodeHome(home).config().listen)
    assert found is not None
    return int(found[1])


def sentence(done: subprocess.CompletedProcess[bytes], code: int, *words: str) -> str:
    """The one sentence that a command gave."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert done.stdout == b"" and "Traceback" not in text
    *log, said = text.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in log), text  # a daemon's log stands there too
    assert said.startswith("mixmail: ") and said.endswith(".")
    assert "defect" not in said
    for word in words:
        assert word in said
    return said


# what people type


def test_wrong_addresses(story: Story) -> None:
    good = Identity(os.urandom(32)).address.text
    mistyped = good[:20] + ("q" if good[20] != "q" else "p") + good[21:]
    for address, words in (
        (mistyped, ("checksum", "copy it again")),
        (good[:-4], ("characters", "copy it again")),
        (good[:30] + good[30:].upper(), ("mixes capital", "write it all")),
        ("ben@example.com", ("begin with", "copy it again")),
    ):
        sentence(run_mixmail(story.home, "contact", "add", address, "Ben"), REFUSED, *words)
    sentence(run_mixmail(story.home, "send", mistyped, "-m", "text"), REFUSED, "checksum")
    assert [contact.name for contact in story.you.ask(lambda client: client.contact_list())] == ["friend"]


def test_unknown_people_and_mails(story: Story) -> None:
    sentence(run_mixmail(story.home, "send", "nobody", "-m", "text"), NOT_FOUND, "nobody", "add the contact")
    sentence(run_mixmail(story.home, "read", "ffffffff"), NOT_FOUND, "ffffffff")
    sentence(run_mixmail(story.home, "send", "friend", "--eml", "/nowhere.eml"), REFUSED, "/nowhere.eml")
    assert [row.subject for row in story.you.folder("outbox")] == [BEFORE]


def test_no_daemon_and_no_network(story: Story, tmp_path: Path) -> None:
    sentence(run_mixmail(tmp_path, "inbox"), NO_DAEMON, "mixmail node")
    sentence(run_mixmail(tmp_path, "node"), NETWORK, "mixmail devnet run")
    wrong = tmp_path / "network.toml"
    wrong.write_bytes(b"\xff\xfe no network")
    sentence(run_mixmail(tmp_path, "node"), REFUSED, "network file", "fresh copy")
    sentence(run_mixmail(tmp_path, "node", "--network", "/nowhere.toml"), REFUSED, "/nowhere.toml")


def test_without_peers_a_mail_waits(story: Story) -> None:
    """Nothing is up but this daemon: the outbox says so and waits."""
    sent = run_mixmail(story.home, "send", "friend", "-m", "x", "--wait", "stored", "--timeout", "0.5")
    said = sentence(sent, NETWORK, "stays in the outbox")
    id = said.split()[3]
    assert story.you.state(id) == "queued"
    story.you.ask(lambda client: client.mail_cancel(id))
    (row,) = story.you.folder("outbox")
    assert (row.subject, row.state, row.sent_parts) == (BEFORE, "queued", 0)


def test_a_second_daemon_on_the_same_home(story: Story) -> None:
    sentence(run_mixmail(story.home, "node"), REFUSED, str(story.home), "already runs")
    assert story.you.folder("outbox")


# peers


class Stranger:
    """A client that comes as far as TLS with a certificate of its own."""

    def __init__(self, port: int, folder: Path) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.settimeout(None)  # OpenSSL wants it blocking
        context = tls.make_context(certificate.load_or_make(folder))
        context.set_verify(SSL.VERIFY_NONE)
        self.tls = SSL.Connection(context, self.socket)
        self.tls.set_connect_state()
        self.tls.do_handshake()

    def hello(self) -> bytes:
        """The daemon's first frame."""
        data = b""
        while len(data) < GEOMETRY.frame:
            data += self.tls.recv(GEOMETRY.frame)
        return data

    def is_dropped(self) -> bool:
        """Read to the end of the connection."""
        try:
            while self.tls.recv(65_536):
                pass
        except (SSL.Error, OSError):
            pass
        return True


def test_peers_that_send_garbage_or_stop_half_way(story: Story, tmp_path: Path) -> None:
    port, log = _port(story.home), story.you.home.log
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(os.urandom(5_000))
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(4_096):
                pass
    packet, hello = cut(Frame(1, 0, bytes(GEOMETRY.packet)))[0], cut(Frame(9, 0, b"no descriptor"))[0]
    for garbage in (os.urandom(GEOMETRY.frame), packet, hello):
        stranger = Stranger(port, tmp_path)
        stranger.tls.sendall(garbage)
        assert stranger.is_dropped()

    def said() -> list[str]:
        lines = log.read_text().splitlines()
        return [line.partition("dropped a link: ")[2] for line in lines if "dropped a link" in line]

    assert len(story.late) == 2
    late = "the peer did not say who it is in time"
    wait_for(lambda: said().count(late) == 2, "those who stopped are dropped", 3 * DEMO.link_timeout)
    assert any("no TLS with the peer" in line for line in said())
    assert "first frame is not HELLO" in said()
    assert "Traceback" not in log.read_text()
    assert [row.subject for row in story.you.folder("outbox")] == [BEFORE]


# files


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no file of mixmail " * 400)


def _flip(path: Path) -> None:
    """Damage in the middle, as a failing disk makes it."""
    data = bytearray(path.read_bytes())
    for at in range(4_096, len(data), 4_096):
        data[at + 100] ^= 0xFF
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("profile.db", _garbage, "backup"),
    ("profile.db", _flip, "backup"),
    ("profile.db", _empty, "backup"),
    ("profile.key", _cut, "backup"),
    ("profile.key", _remove, "backup"),
    ("node.db", _garbage, "backup"),
    ("node.db", _empty, "backup"),
    ("node.key", _cut, "new key"),
    ("link-cert.pem", _garbage, "delete both"),
    ("link-key.pem", _garbage, "delete both"),
    ("node.toml", _garbage, "Correct or delete"),
]


@pytest.fixture(scope="module")
def stopped(story: Story) -> Iterator[Story]:
    """The daemon down, to be started again after all the damage is repaired."""
    story.you.stop()
    yield story


@pytest.mark.parametrize(
    ("name", "damage", "words"), DAMAGE, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_damaged_files(stopped: Story, name: str, damage: Callable[[Path], None], words: str) -> None:
    path = stopped.home / name
    good = path.read_bytes()
    damage(path)
    try:
        sentence(run_mixmail(stopped.home, "node"), REFUSED, str(stopped.home), words)
        left = path.read_bytes() if path.exists() else None
    finally:
        path.write_bytes(good)
    assert left != good  # nobody has replaced it on his own
    assert [row["subject"] for row in profile_rows(stopped.home, "mails")] == [BEFORE]


def test_a_port_in_use(stopped: Story) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port, mine = int(other.getsockname()[1]), _port(stopped.home)
        _listen_at(stopped.home, port)
        try:
            sentence(run_mixmail(stopped.home, "node"), REFUSED, str(port), "another port")
        finally:
            _listen_at(stopped.home, mine)


# the disk


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass
        while file.write(b"\0"):
            pass


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own under `folder`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _can_mount(folder: Path) -> bool:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False)
    return done.returncode == 0 and subprocess.run(["umount", str(folder)], check=False).returncode == 0


def test_a_full_disk(stopped: Story, tmp_path: Path) -> None:
    """On a real small disk: refused with a sentence, kept in memory, written when there is room again."""
    if not _can_mount(tmp_path / "try"):
        pytest.skip("nobody but root can mount a small disk")
    place = tmp_path / "disk"
    with small_disk(place, "8m"), contextlib.closing(Person(place / "you")) as person:
        home = place / "you"
        shutil.copytree(stopped.home, home, ignore=shutil.ignore_patterns("*.sock*", "*.lock", "*.pid"))
        ballast = place / "ballast"
        # full at the start
        _fill(ballast)
        sentence(run_mixmail(home, "node"), REFUSED, str(home), "disk")
        ballast.unlink()
        # full while it runs
        _listen_at(home, 0)
        log = tmp_path / "log"
        with log.open("wb") as output:
            person.process = subprocess.Popen(
                [sys.executable, "-m", "mixmail", "node", "--home", str(home)], stdout=output, stderr=output
            )
        person.answers()
        _fill(ballast)
        big = "".join(f"line {number} of a mail that needs room\n" for number in range(2_000))
        done = run_mixmail(home, "send", "friend", "-s", MEANWHILE, stdin=big.encode())
        sentence(done, REFUSED, "full", "free some space")
        status = run_mixmail(home, "status").stdout.decode()
        assert "warning: The disk with" in status
        sentence(run_mixmail(home, "send", "friend", "-m", "more"), REFUSED, "full")
        assert [row.subject for row in person.folder("outbox")] == [BEFORE]  # can still be read
        ballast.unlink()
        wait_for(lambda: len(person.folder("outbox")) == 2, "the mail is written when there is room")
        assert {row.subject for row in person.folder("outbox")} == {BEFORE, MEANWHILE}
        assert "warning" not in run_mixmail(home, "status").stdout.decode()
        person.kill()
        assert "Traceback" not in log.read_text()
        assert {row["subject"] for row in profile_rows(home, "mails")} == {BEFORE, MEANWHILE}
        for name in ("profile.db", "profile.db-wal", "profile.db-shm"):
            (stopped.home / name).unlink(missing_ok=True)
            if (home / name).exists():
                shutil.copy(home / name, stopped.home / name)


# the private network


def _processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that have this folder in them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                if os.fsencode(folder) in line and processes.birth(int(entry.name)):
                    found.append(line.decode())
    return found


def _devnet(top: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return run_mixmail(top, "devnet", *arguments)


def test_down_ends_what_has_only_begun_to_start(stopped: Story) -> None:
    top = stopped.top
    command = [sys.executable, "-m", "mixmail", "devnet", "up", "--home", str(top)]
    starter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    home = NodeHome(stopped.network.folder / "you")
    wait_for(home.starting, "the last process is started")
    assert home.holder() is None
    starter.kill()
    starter.wait()
    assert len(_processes_of(top)) >= 3
    done = _devnet(top, "down")
    assert done.returncode == 0 and b"stopping" in done.stderr
    assert _processes_of(top) == []


def test_the_network_says_which_port_is_taken(stopped: Story) -> None:
    """A seed's port belongs to another program while one of the nodes runs already: no new ports then."""
    stopped.you.start()
    begun = time.monotonic()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", _port(stopped.network.folder / "node-01")))
        other.listen()
        done = _devnet(stopped.top, "up")
    said = done.stderr.decode().splitlines()
    assert done.returncode == REFUSED and "Traceback" not in done.stderr.decode()
    assert said[-1].startswith("mixmail: node-01 does not start: Cannot listen on") and said[-1].endswith(
        "another port."
    )
    assert time.monotonic() - begun < 30  # it does not wait for the time limit
    assert NodeHome(stopped.home).holder() is not None
    assert len(_processes_of(stopped.network.folder)) == 1  # what it had started for this is gone


def test_nothing_was_lost(stopped: Story) -> None:
    """The network comes back: all that was written in bad times arrives, once."""
    friend = stopped.network.echo
    stopped.network.started = devnet.up(stopped.network.folder, False, lambda text: None)
    friend.answers()
    wait_for(lambda: stopped.you.folder("outbox") == [], "the outbox is empty")
    subjects = sorted(row.subject for row in stopped.you.folder("sent"))
    wait_for(lambda: len(friend.folder("inbox")) == len(subjects), "the mails arrive")
    assert sorted(row.subject for row in friend.folder("inbox")) == subjects
    assert {BEFORE, MEANWHILE} >= set(subjects) and BEFORE in subjects


def test_a_pid_that_means_another_process_by_now_is_not_touched() -> None:
    mine = processes.name(os.getpid())
    assert processes.living(mine) == os.getpid()
    assert processes.living(f"{os.getpid()} another-boot:1") is None
    for text in ("", "12", "x y", f"{os.getpid()}", f"-1 {mine.partition(' ')[2]}"):
        assert processes.living(text) is None
    child = subprocess.Popen(["true"])
    wait_for(lambda: processes.birth(child.pid) is None, "the child has ended, even unlooked at")
    child.wait()
