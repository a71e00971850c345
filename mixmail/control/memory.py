"""Both sides of the local API in one process: a real client on a real server, without a socket.

For tests and for programs that embed the daemon.  It runs on the asyncio loop of the caller; Twisted's
reactor is not needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mixmail.control.client import Client
from mixmail.control.server import ControlProtocol, ControlServer


class MemoryTransport:
    """The server's transport: what it writes is fed to the client's reader, at once and in order."""

    disconnecting = False

    def __init__(self, protocol: ControlProtocol, reader: asyncio.StreamReader) -> None:
        self._protocol = protocol
        self._reader = reader
        self._open = True

    def write(self, data: bytes) -> None:
        if self._open:
            self._reader.feed_data(data)

    def loseConnection(self, *reason: Any) -> None:
        if self._open:
            self._open = False
            self._reader.feed_eof()
            self._protocol.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """A buffer in memory is never full, so the producer is never paused."""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._open:
            self._protocol.dataReceived(data)


class MemoryWriter:
    """The client's writer: hands bytes to the server in a later turn of the loop, as a socket does."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._later: Callable[..., object] = asyncio.get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        self._later(self._transport.receive, data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self._later(self._transport.loseConnection)


def open_streams(server: ControlServer) -> tuple[asyncio.StreamReader, MemoryWriter, MemoryTransport]:
    """A client's streams on a new connection of `server`; the transport lets a test cut it."""
    protocol = server.buildProtocol(None)
    reader = asyncio.StreamReader(limit=2**25)
    transport = MemoryTransport(protocol, reader)
    protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
    return reader, MemoryWriter(transport), transport


async def connect(server: ControlServer) -> Client:
    """A client that has said hello."""
    reader, writer, _ = open_streams(server)
    return await Client.start(reader, writer)
