"""A daemon of the tests with the real cores in it: agent, node and network of the lab, a real profile.db.

`LabDaemon` is what `DaemonBackend` asks of `mixmail.daemon.service.Daemon`, over one host of a
`LabNetwork`.  Only links, threads and the clock are missing: `LabDaemon.run` lets virtual time pass.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from mixmail.agent.commands import CreateIdentity
from mixmail.agent.core import Agent, Command
from mixmail.agent.events import MailArrived, MailState
from mixmail.agent.tables import PRIMARY_KEYS, Rows
from mixmail.control.daemon_backend import DaemonBackend
from mixmail.control.server import ControlServer
from mixmail.directory.view import View
from mixmail.effects import Frame, Persist
from mixmail.errors import UserError
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.link.service import Counters
from mixmail.node.core import Node
from mixmail.storage import profile_key
from mixmail.storage.profile_db import ProfileDatabase


class LabLinks:
    """Who is up, and what has been handed to the links."""

    def __init__(self, lab: LabNetwork, host: LabHost) -> None:
        self.counters = Counters()
        self._lab = lab
        self._host = host
        lab.observers.append(self._saw)

    def peers(self) -> list[bytes]:
        """All others that are up."""
        return [other.node_id for other in self._lab.hosts if other is not self._host and other.up]

    def _saw(self, number: int, peer: bytes, frame: Frame) -> None:
        if number == self._host.number:
            self.counters.frames_out[frame.kind] += 1
        elif peer == self._host.node_id:
            self.counters.frames_in[frame.kind] += 1


class LabDaemon:
    """The daemon of one person on a lab network; its profile stands in `folder`."""

    def __init__(self, lab: LabNetwork, number: int, folder: Path) -> None:
        self.lab = lab
        self.host = lab.hosts[number]
        self.folder = folder
        self.network = lab.network
        self.rng = self.host.rng
        self.listeners: list[Callable[[Any], None]] = []
        self.told = 0  # events about mails so far
        self.arrived = 0  # those that say that one has come
        self.links = LabLinks(lab, self.host)
        self.started_at = lab.now
        self.trouble = ""
        self.locked = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        profile_key.create(self._key_file)
        self.profile = self._open()
        lab.on_persist.append(self._persisted)
        lab.on_event.append(self._heard)
        self.server = ControlServer(DaemonBackend(self, lambda: None), Clock())  # type: ignore[arg-type]
        self.backend: DaemonBackend = self.server.backend  # type: ignore[assignment]
        self.backend.publish_to(self.server.publish)

    @property
    def _key_file(self) -> Path:
        return self.folder / "profile.key"

    # what DaemonBackend asks

    @property
    def node(self) -> Node:
        assert self.host.node is not None, "the machine is off"
        return self.host.node

    @property
    def agent(self) -> Agent:
        assert self.host.agent is not None, "the machine is off"
        return self.host.agent

    @property
    def view(self) -> View:
        return self.node.view

    def now(self) -> float:
        return self.lab.now

    def command(self, command: Command) -> Deferred[None]:
        if self.locked:
            raise UserError("The profile is locked: unlock it with its passphrase first.", "locked")
        self.lab.command(self.host, command)
        return succeed(None)

    def in_profile(self, job: Callable[[ProfileDatabase], Any]) -> Deferred[Any]:
        if self.locked:
            return fail(UserError("The profile is locked: unlock it with its passphrase first.", "locked"))
        return maybeDeferred(job, self.profile)

    def warnings(self) -> list[str]:
        return [self.trouble] if self.trouble else []

    def stored_records(self) -> Deferred[int]:
        counts = self.host.store.count()
        return succeed(counts["records"] + counts["entries"])

    def set_passphrase(self, old: str | None, new: str | None) -> Deferred[None]:
        return maybeDeferred(profile_key.change_passphrase, self._key_file, old, new)

    def check_passphrase(self, passphrase: str | None) -> Deferred[bytes]:
        return maybeDeferred(profile_key.load, self._key_file, passphrase)

    def unlock(self, passphrase: str) -> Deferred[None]:
        def opened() -> None:
            self.profile = self._open(passphrase)
            self.locked = False
            self._boot()

        return maybeDeferred(opened)

    # what tests do with it

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass on the whole network."""
        self.lab.run(seconds)

    def restart(self) -> None:
        """The machine goes off and on: only what is on disk is still there."""
        self.lab.crash(self.host)
        self.profile.close()
        self.locked = profile_key.is_sealed(self._key_file)
        if not self.locked:
            self.profile = self._open()
        self._boot()

    def create(self, name: str) -> str:
        """An identity, without a screen; returns its address."""
        self.lab.command(self.host, CreateIdentity(name))
        return list(self.agent.state.people)[-1]

    def close(self) -> None:
        """Close the database."""
        if not self.locked:
            self.profile.close()

    def mails(self, folder: str = "inbox") -> list[dict[str, Any]]:
        """The rows of a folder as they are on disk, newest first."""
        _, _, rows = self.profile.list_mails(folder, 0, 1_000)
        return rows

    def _boot(self) -> None:
        self.host.tables = {} if self.locked else _tables(self._rows())
        self.lab.restart(self.host)

    def _rows(self) -> Rows:
        """What a starting agent is given, as in `Daemon`."""
        tables = [name for name in PRIMARY_KEYS if name not in ("mails", "drafts", "settings")]
        outbox = self.profile.rows("mails", {"folder": "outbox"})
        return {**{name: self.profile.rows(name) for name in tables}, "mails": outbox}

    def _open(self, passphrase: str | None = None) -> ProfileDatabase:
        return ProfileDatabase(self.folder / "profile.db", profile_key.load(self._key_file, passphrase))

    def _persisted(self, host: LabHost, effect: Persist) -> None:
        if host is self.host and not self.locked:
            self.profile.apply(effect.changes)

    def _heard(self, host: LabHost, event: Any) -> None:
        if host is self.host:
            self.told += isinstance(event, (MailArrived, MailState))
            self.arrived += isinstance(event, MailArrived)
            for listener in self.listeners:
                listener(event)


def _tables(rows: Rows) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    return {
        name: {tuple(row[column] for column in PRIMARY_KEYS[name]): row for row in table}
        for name, table in rows.items()
    }
