"""The connection to the daemon: kept up for as long as the app runs, and what everybody asks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from textual.message import Message
from textual.widget import Widget

from mixmail.control import types
from mixmail.control.client import Client, ConnectionLost
from mixmail.errors import RemoteProtocolError, UserError
from tui import safe_text

Connect = Callable[[], Awaitable[Client]]

RETRY = 1.0
"""Seconds between two attempts to reach a daemon that has gone away."""


class Connected(Message):
    """The daemon is there (again)."""


class Gone(Message):
    """The daemon is not there; `reason` is a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Told(Message):
    """The daemon has told an event."""

    def __init__(self, event: types.Event) -> None:
        super().__init__()
        self.event = event


class Session:
    """What is known of the daemon now.  `post` takes Connected, Gone and Told."""

    def __init__(self, connect: Connect, post: Callable[[Message], object], retry: float = RETRY) -> None:
        self._connect = connect
        self._post = post
        self._retry = retry
        self._client: Client | None = None
        self.status: types.Status | None = None
        self.identity: types.Identity | None = None  # the first in use
        self.identities: list[types.Identity] = []  # in use
        self.contacts: list[types.Contact] = []

    @property
    def connected(self) -> bool:
        return self._client is not None and not self._client.closed.is_set()

    @property
    def client(self) -> Client:
        """Raises ConnectionLost while the daemon is away."""
        if self._client is None or self._client.closed.is_set():
            raise ConnectionLost
        return self._client

    async def run(self) -> None:
        """Connect, wait for the end, connect again, until cancelled."""
        try:
            while True:
                try:
                    self._client = await self._connect()
                except UserError as error:
                    self._post(Gone(error.message))
                else:
                    self._client.listen(lambda event: self._post(Told(event)))
                    self._post(Connected())
                    await self._client.closed.wait()
                    self._post(Gone("mixmail's background process has gone away."))
                await asyncio.sleep(self._retry)
        finally:
            if self._client is not None:
                await self._client.close()

    async def load(self) -> None:
        """Fetch identity, contacts and status.  Raises UserError."""
        client = self.client
        identities = await client.identity_list()
        self.identities = [one for one in identities if not one.archived]
        self.identity = next(iter(self.identities or identities), None)
        self.contacts = await client.contact_list()
        self.status = await client.status()

    def contact(self, id: str | None) -> types.Contact | None:
        return next((one for one in self.contacts if one.id == id), None)

    def name_of(self, contact: types.Contact) -> safe_text.Safe:
        return safe_text.line(contact.name) or safe_text.Safe("(no name)")

    def contact_named(self, name: str) -> types.Contact | None:
        """The contact that the user means by `name`, as it is shown; None if there is not just one."""
        wanted = name.strip().casefold()
        found = [
            one for one in self.contacts if one.state != "request" and self.name_of(one).casefold() == wanted
        ]
        return found[0] if len(found) == 1 else None


@contextmanager
def told(widget: Widget) -> Iterator[None]:
    """Around calls to the daemon: what goes wrong is a toast of one sentence, and the block ends.

    A lost connection makes no toast, since the banner says it.
    """
    try:
        yield
    except ConnectionLost:
        return
    except UserError as error:
        toast(widget, error.message, "error")
    except RemoteProtocolError as error:
        toast(
            widget, f"The background process answered in a way this screen does not know: {error}.", "error"
        )


def toast(widget: Widget, text: str, severity: str = "information") -> None:
    """A short notice; `text` may hold remote text."""
    widget.notify(safe_text.line(text), severity=severity, markup=False)  # type: ignore[arg-type]
