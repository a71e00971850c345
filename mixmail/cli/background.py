"""A daemon in the background: started for the terminal UI if none runs, stopped on request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable

from mixmail.cli import plain
from mixmail.cli.home import Home
from mixmail.control.client import Client
from mixmail.errors import UserError

START_LIMIT = 60.0
"""Seconds until a daemon has to answer: it may have to check a large database first."""
STOP_LIMIT = 30.0
PAUSE = 0.05
PROGRESS = 1.0
"""Seconds between two words about a drain."""


async def is_running(home: Home) -> bool:
    """Whether a daemon answers on this home.  Any other trouble than its absence is raised."""
    try:
        await (await Client.connect(home.socket)).close()
    except UserError as error:
        if error.code == "no-daemon":
            return False
        raise
    return True


async def start(home: Home, say: Callable[[str], None]) -> None:
    """Start the daemon of this home unless it runs; returns when it answers.

    UserError "not-started" with the daemon's own last words.
    """
    if await is_running(home):
        return
    home.create()
    say("starting mixmail's background process")
    log_bytes = home.log.stat().st_size if home.log.exists() else 0
    process = _spawn(home)
    deadline = time.monotonic() + START_LIMIT
    while not await is_running(home):
        if process.poll() is not None:
            raise UserError(
                f"mixmail's background process ended: {last_words(home, log_bytes)}", "not-started"
            )
        if time.monotonic() > deadline:
            raise UserError(f"mixmail's background process does not answer: see {home.log}.", "not-started")
        await asyncio.sleep(PAUSE)


async def stop(home: Home, say: Callable[[str], None], drain: bool = False) -> None:
    """Ask the daemon to end and wait until it has; with `drain` it sends what it holds first.

    `say` gets how many packets are lost.  UserError "no-daemon", "no-answer".
    """
    async with await Client.connect(home.socket) as client:
        dropped = await (_drain(client, say) if drain else _shutdown(client))
        if dropped:
            hint = "" if drain else "; use --drain to send them first"
            say(f"{plain.count(dropped, 'packet')} of other people dropped{hint}")
        try:
            await asyncio.wait_for(client.closed.wait(), STOP_LIMIT)
        except TimeoutError as error:
            raise UserError(f"The daemon does not end: see {home.log}.", "no-answer") from error


async def _shutdown(client: Client) -> int:
    return (await client.shutdown()).dropped


async def _drain(client: Client, say: Callable[[str], None]) -> int:
    began = await client.drain()
    say(
        f"{plain.count(began.held, 'packet')} to send first, at most {began.limit_s:.0f} s; "
        "Ctrl-C leaves the node at it, 'mixmail stop' ends it at once"
    )
    end = asyncio.ensure_future(client.drained())
    shown = began.held
    while not (await asyncio.wait({end}, timeout=PROGRESS))[0]:
        # the daemon may end between two questions: then `end` has the answer, or says why there is none
        question = asyncio.ensure_future(client.status())
        await asyncio.wait({question, end}, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            question.cancel()
            break
        held = (await question).pool
        if held != shown:
            say(f"{plain.count(held, 'packet')} left")
        shown = held
    return (await end).dropped


def last_words(home: Home, since: int = 0) -> str:
    """The last line that the daemon printed, in its log from byte `since` on."""
    if not home.log.exists():
        return "it wrote no log."
    lines = home.log.read_bytes()[since:].decode("utf-8", "replace").splitlines()
    return plain.line(lines[-1]).removeprefix("mixmail: ") if lines else f"see {home.log}."


def _spawn(home: Home) -> subprocess.Popen[bytes]:
    """A process of its own session, so that closing the terminal does not end it."""
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "mixmail", "node", "--home", str(home.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
