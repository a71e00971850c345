"""A private network of real processes, and the user's daemon at the hands of a test.

All other nodes run as `mixmail devnet` runs them (one process for the hosted nodes, one for echo).  The
user's own daemon is started, killed and asked by the test.  `close` ends only what was started here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from waiting import wait_for

from mixmail.cli import background
from mixmail.cli.home import Home
from mixmail.control import types
from mixmail.control.client import Client
from mixmail.daemon import devnet
from mixmail.daemon.home import NodeConfig, NodeHome

T = TypeVar("T")
FAULTY = Path(__file__).parent / "faulty_daemon.py"


class Person:
    """A home with its daemon, asked over the control socket."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.process: subprocess.Popen[bytes] | None = None

    # the process

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process with its output in the home's log."""
        with self.home.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> None:
        """Start the ordinary daemon; returns when it answers."""
        self.spawn("-m", "mixmail", "node", "--home", str(self.home.folder))
        self.answers()

    def start_faulty(self, point: str) -> None:
        """Start a daemon that dies by SIGKILL at this point; it need not live until it answers."""
        self.spawn(str(FAULTY), str(self.home.folder), point)

    def answers(self) -> None:
        """Wait until the daemon answers."""

        def look() -> bool:
            assert self.process is None or self.process.poll() is None, background.last_words(self.home)
            return asyncio.run(background.is_running(self.home))

        wait_for(look, "the daemon answers")

    def answers_or_died(self) -> bool:
        """Wait for either; True if the daemon answers."""
        process = self.process
        assert process is not None
        wait_for(
            lambda: process.poll() is not None or asyncio.run(background.is_running(self.home)),
            "the daemon answers or dies",
        )
        return process.poll() is None

    def killed(self, moment: str = "", limit: float = 60.0) -> None:
        """Wait until the daemon has died by SIGKILL."""
        process = self.process
        assert process is not None
        wait_for(lambda: process.poll() is not None, f"the daemon dies {moment}", limit)
        assert process.returncode == -signal.SIGKILL, self.words()

    def kill(self) -> None:
        """SIGKILL to the daemon."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the daemon in good order, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def close(self) -> None:
        """End the daemon, in whatever state it is."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def words(self) -> str:
        """The end of the log."""
        return "\n".join(self.home.log.read_text(errors="replace").splitlines()[-5:])

    # the daemon

    def ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """The answer to one question over the control socket."""

        async def run() -> T:
            async with await Client.connect(self.home.socket) as client:
                return await question(client)

        return asyncio.run(run())

    def folder(self, name: types.Folder) -> list[types.MailSummary]:
        """The mails of a folder, newest first."""
        return self.ask(lambda client: client.mail_list(name)).mails

    def mail(self, id: str) -> types.Mail:
        """One mail."""
        return self.ask(lambda client: client.mail_read(id))

    def state(self, id: str) -> str:
        """How far an own mail has come."""
        return self.mail(id).summary.state

    def send(self, to: str, subject: str, text: str, answers: str | None = None) -> str:
        """A mail into the outbox; its id."""
        return self.ask(lambda client: client.mail_send(to, subject, text, answers))


class RealNetwork:
    """A network of `nodes`, all up but the user's own.

    `echo` is its other person: who answers each mail, or (`friend`) somebody called "friend" who does what
    the test says.
    """

    def __init__(self, folder: Path, nodes: int, friend: bool = False) -> None:
        self.folder = folder
        devnet.create(folder, nodes)
        if friend:
            NodeHome(folder / "echo").write_config(NodeConfig())
        self.started = devnet.up(folder, False, lambda text: None, without=("you",))
        self.you = Person(folder / "you")
        self.echo = Person(folder / "echo")
        if friend:
            self.echo.answers()
            self._address = self.echo.ask(lambda client: client.identity_create("friend")).address
        else:
            self._address = wait_for(lambda: devnet.echo_address(folder), "echo has an address")
        self._name = "friend" if friend else "echo"

    def meet(self) -> None:
        """You get an identity and the other's address, a friend gets yours; your daemon has to run."""
        ada = self.you.ask(lambda client: client.identity_create("Ada"))
        self.you.ask(lambda client: client.contact_add(self._address, self._name))
        if self._name == "friend":
            self.echo.ask(lambda client: client.contact_add(ada.address, "Ada"))

    def close(self) -> None:
        """End everything that was started here."""
        self.you.stop()
        devnet.stop_started(self.started)


@contextlib.contextmanager
def real_network(folder: Path, nodes: int, friend: bool = False) -> Iterator[RealNetwork]:
    """A network for the time of a `with`."""
    network = RealNetwork(folder, nodes, friend)
    try:
        yield network
    finally:
        network.close()


def run_mixmail(home: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One `mixmail` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mixmail", *arguments, "--home", str(home)],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
