"""The real app on the real control server, joined in memory; behind it a daemon of the tests.

`screen(...)`: a daemon that keeps everything in memory and does what the test says (`memory_backend`).
`people(...)`: persons on a network of the real cores on a virtual clock (`lab_daemon`), each with a screen.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lab_daemon import LabDaemon
from memory_backend import MemoryBackend
from stage import People, Stage
from twisted.internet import task

from mixmail.control.server import ControlServer
from mixmail.lab import scenario
from mixmail.lab.network import LabNetwork
from mixmail.lab.standins import stand_in_crypto
from tui.app import MailApp


def start_backend(**options: Any) -> MemoryBackend:
    """The daemon behind the control server."""
    return MemoryBackend(**options)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`async with screen(prepare, ...) as stage`: the app, when the daemon has been asked for all."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    @asynccontextmanager
    async def start(
        prepare: Callable[[MemoryBackend], object] = lambda backend: None,
        size: tuple[int, int] = (80, 24),
        running: bool = True,
        **options: Any,
    ) -> AsyncIterator[Stage]:
        backend = start_backend(**options)
        prepare(backend)
        server = ControlServer(backend, task.Clock())
        backend.publish = server.publish
        stage = Stage(backend, server, running)
        stage.app = MailApp(stage.connect, retry=0.01)
        async with stage.app.run_test(size=size, notifications=True) as stage.pilot:
            if running and not backend.locked and backend.identities:
                await stage.until(lambda: stage.app.session.status is not None, "the first status")
                await stage.until(lambda: "mail_list" in backend.calls and _is_filled(stage), "the list")
            yield stage

    return start


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., People]]:
    """`people(2, seed)`: so many persons on a network of twelve nodes, its clock standing."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    daemons: list[LabDaemon] = []

    def start(persons: int = 2, seed: int = 1) -> People:
        lab = LabNetwork(scenario.LAB, nodes=12, seed=seed, trace=False, senders=persons)
        lab.start()
        daemons.extend(LabDaemon(lab, number, tmp_path / str(number)) for number in range(persons))
        return People(lab, daemons)

    with stand_in_crypto(1):
        yield start
    for daemon in daemons:
        daemon.close()


def _is_filled(stage: Stage) -> bool:
    mails = stage.app.main.mails
    return bool(mails.rows) or bool(mails._hint)
