"""Hostile mails on every screen, and then on the bytes that reach a pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from hostile import CONTROLS, TEXTS
from hostile_mail import deliver
from memory_backend import MemoryBackend
from textual.widgets import TextArea

from mixmail.control import types
from tui.screens.address_book import AddressBook
from tui.screens.dialogs import Dialog
from tui.screens.main import MainScreen
from tui.widgets.mail_list import MailList
from tui.widgets.reader import Reader


def fill(backend: MemoryBackend) -> None:
    """One mail, sent mail, contact and draft for each text; each can be told by its number."""
    for number, text in enumerate(TEXTS):
        file = types.Attachment(name=text, type=text, data=b"x")
        backend.add_mail(text, f"h{number:02} {text}", f"b{number:02} {text}", files=[file])
        backend.add_mail(text, text, text, "outbox", state="failed", note=text)
        backend.add_contact(text)
        backend.drafts[f"d{number}"] = types.Draft(
            id=f"d{number}", to=text, subject=text, text=text, date=number
        )


@pytest.mark.asyncio
async def test_every_view_shows_hostile_text_without_a_control_an_action_or_a_crash(screen: Any) -> None:
    assert len(TEXTS) >= 50
    async with screen(fill, size=(100, 40)) as stage:
        mails = stage.one(MailList)
        for number in range(len(TEXTS) - 1, -1, -1):
            await stage.until(lambda: stage.one(Reader).mail_id == mails.row.id, f"mail {number}")
            shown = check(stage)
            assert f"h{number:02}" in shown and f"b{number:02}" in shown
            mails.action_move(1)
        await stage.press("r")
        await stage.until(lambda: stage.app.screen.query(TextArea), "compose")
        check(stage)
        assert not CONTROLS.search(stage.one(TextArea).text)
        await stage.press("escape")
        for folder in ("2", "3", "4"):
            await stage.until(lambda: isinstance(stage.app.screen, MainScreen), "the main screen")
            await stage.press(folder)
            await stage.until(lambda: mails.rows or mails._hint, "the folder")
            for number in range(0, mails.total, 6):
                mails.action_move(6)
                await stage.until(lambda row=mails.row: stage.one(Reader).mail_id == row.id, f"mail {number}")
                check(stage)
        await stage.press("1", "a")
        await stage.until(lambda: isinstance(stage.app.screen, AddressBook), "the address book")
        check(stage)
        for key in ("y", "e", "d"):
            await stage.press("j", key)
            await stage.until(lambda: isinstance(stage.app.screen, Dialog), f"the dialog of {key}")
            check(stage)
            await stage.press("escape")
        await stage.press("escape")
        await stage.until(lambda: isinstance(stage.app.screen, MainScreen), "the main screen")
        for text in TEXTS[:12]:
            stage.backend.arrive(text, text, text)
        await stage.sees("New mail from")
        check(stage)
        assert stage.app.is_running and stage.app.clipboard.startswith("mix1")


def check(stage: Any) -> str:
    """What stands on the screen, which must be free of controls."""
    text: str = stage.text()
    found = CONTROLS.search(text)
    assert not found, f"{found!r} on the screen:\n{text!r}"
    return text


@pytest.mark.asyncio
async def test_a_click_on_markup_in_a_mail_does_nothing(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("x", "[@click=app.quit]subject[/]", "[@click=app.quit]body[/]\n" * 30)

    async with screen(prepare) as stage:
        await stage.sees("[@click=app.quit]body[/]")
        await stage.pilot.click(MailList, offset=(25, 0))
        await stage.pilot.click(Reader, offset=(8, 5))
        await stage.pilot.click("#reader-head", offset=(8, 0))
        await stage.pilot.pause()
        assert stage.app.is_running and "[@click=app.quit]body[/]" in stage.text()


# what the program itself may write to a terminal: colours, cursor, modes, its own title
OWN = re.compile(
    rb"\x1b\[[0-9;:]*m|\x1b\[[0-9]+;[0-9]+H|\x1b\[\?[0-9;$]*[hlp]|\x1b\[[<>=?][0-9;]*[uqm]"
    rb"|\x1b\]22;[a-z-]+\x07|\x1b\]0;mixmail(?: \(\d+\))?\x07|\x1b\[1[46]t|\x1b_G[^\x1b]*\x1b\\"
)


def test_no_forbidden_byte_of_a_hostile_mail_reaches_the_terminal(tmp_path: Path) -> None:
    """Mails that came by the agent, `mixmail` as it ships on a pseudo terminal, and its daemon."""
    home = tmp_path / "home"
    numbers = deliver(home, TEXTS)
    mixmail = [sys.executable, "-m", "mixmail"]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("NO_COLOR", None)
    environment["MIXMAIL_HOME"] = str(home)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(
        mixmail, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
    ) as process:
        os.close(child)
        try:
            terminal = Terminal(parent)
            for number in numbers:
                terminal.wait_for(f"b{number:02}".encode())
                terminal.write(b"j")
            terminal.write(b"r")
            terminal.wait_for(b"wrote on")
            terminal.write(b"What is this?")
            terminal.wait_for(b"kept in Drafts")
            terminal.write(b"\x1b")
            terminal.wait_for(b"Compose")
            terminal.write(b"4")
            terminal.wait_for(b"Enter goes on writing it")
            terminal.write(b"a")
            terminal.wait_for(b"Address book")
            terminal.write(b"\x1b")
            terminal.wait_for(b"Compose")
            terminal.write(b"q")
            written = terminal.rest()
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
            os.close(parent)
            subprocess.run([*mixmail, "stop"], env=environment, check=True, capture_output=True)
    written = written[written.index(b"\x1b[?1049h") :]  # what stands before it was written before the screen
    text = OWN.sub(b"", written).decode()
    found = CONTROLS.search(text.replace("\r\n", "\n").replace("\r", "\n"))
    assert not found, f"{found!r} in {text[max(0, found.start() - 80) : found.end() + 80]!r}"
    assert written.count(b"\x1b[?1049l") == 1  # a mode that the program sets as well, when it leaves
    assert b"\x1b]52" not in written and b"PWNED\x07" not in written


LIMIT = 60.0


class Terminal:
    """The far end of a pseudo terminal: collects all bytes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._all = b""
        self._seen = 0

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def wait_for(self, wanted: bytes) -> None:
        """Read until `wanted` has come, after what was waited for before."""
        deadline = time.monotonic() + LIMIT
        while (found := self._all.find(wanted, self._seen)) < 0:
            # the status line goes on being written, so silence alone would not end the wait
            if time.monotonic() > deadline or not self._read(LIMIT):
                raise AssertionError(f"{wanted!r} never came; the last bytes were {self._all[-2000:]!r}")
        self._seen = found

    def rest(self) -> bytes:
        """Everything up to the end of the program."""
        while self._read(LIMIT):
            pass
        return self._all

    def _read(self, timeout: float) -> bool:
        if not select.select([self._fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # Linux says so when the other side has closed
            return False
        self._all += data
        return bool(data)
