"""The Twisted side of the local API: one factory, one protocol a client, and the listening port.

Rules: the first call is `hello`; a client whose uid is not ours is cut off without a word; a client
that does not read is cut off when its backlog has grown to BACKLOG_LIMIT; what goes wrong inside is
logged here and told to the client as "internal", without the traceback.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IPushProducer,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixmail.control import codec, types
from mixmail.control.backend import Backend
from mixmail.errors import LocalProtocolError, UserError

HELLO_TIMEOUT = 30.0
"""Seconds until a client that says nothing is cut off."""

BACKLOG_LIMIT = 32 * 2**20
"""Bytes that wait for a client which does not read: two answers of the largest size."""

SOCKET_PATH_LIMIT = 107
"""sockaddr_un.sun_path less its zero byte."""


@implementer(IPushProducer)
class ControlProtocol(Protocol):
    """One client.  It is the producer of its own transport, so that it notices a full buffer."""

    factory: ControlServer
    _log = Logger()

    def __init__(self) -> None:
        self._lines = codec.Lines()
        self._greeted = False
        self._congested = False
        self._backlog = 0
        self._deadline: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        if not _is_same_user(self.transport):
            self._log.warn("a process of another user has tried the control socket")
            self.transport.abortConnection()  # type: ignore[attr-defined]
            return
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self.factory.clients.add(self)
        self._deadline = self.factory.reactor.callLater(HELLO_TIMEOUT, self._abort)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.factory.clients.discard(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def dataReceived(self, data: bytes) -> None:
        try:
            lines = self._lines.feed(data)
        except codec.LineTooLong as error:
            line = codec.encode_error(None, codec.INVALID_REQUEST, "too-large", f"Refused: {error}.")
            self._write(line)
            assert self.transport is not None
            self.transport.loseConnection()
            return
        for line in lines:
            self._handle(line)

    def send_event(self, line: bytes) -> None:
        """Hand on one encoded event, to clients that have said hello."""
        if self._greeted:
            self._write(line)

    def _handle(self, line: bytes) -> None:
        try:
            id, method, params = codec.decode_request(line)
            self._check_order(id, method, params)
        except codec.BadRequest as error:
            self._write(codec.encode_error(error.id, error.number, error.code, error.message))
            return
        name = types.METHODS[method].python_name
        answer: Deferred[Any] = maybeDeferred(lambda: getattr(self.factory.backend, name)(params))
        answer.addCallback(self._answer, id, method)
        answer.addErrback(self._refuse, id, method)

    def _check_order(self, id: codec.RequestId, method: str, params: types.Shape) -> None:
        if isinstance(params, types.HelloParams):
            if params.api != types.API_VERSION:
                message = (
                    f"mixmail's background process speaks version {types.API_VERSION} of the local API, "
                    f"this program {params.api}: restart mixmail."
                )
                raise codec.BadRequest(codec.REFUSED, "api-version", message, id)
        elif not self._greeted:
            message = f"The first call has to be hello, not {method}."
            raise codec.BadRequest(codec.INVALID_REQUEST, "hello-first", message, id)

    def _answer(self, result: object, id: codec.RequestId, method: str) -> None:
        line = codec.encode_result(id, result)
        if len(line) > codec.MAX_LENGTH:
            raise UserError("The answer is too large: ask for less at once.", "too-large")
        if method == "hello":
            self._greeted = True
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
        self._write(line)

    def _refuse(self, failure: Failure, id: codec.RequestId, method: str) -> None:
        if isinstance(failure.value, UserError):
            number, code, message = codec.error_of(failure.value)
        else:
            self._log.failure("{method} failed", failure, method=method)
            number, code = codec.INTERNAL, "internal"
            message = "Something went wrong inside of mixmail: its log says what."
        self._write(codec.encode_error(id, number, code, message))

    def _write(self, line: bytes) -> None:
        if not self.connected:
            return
        assert self.transport is not None
        if self._congested:
            self._backlog += len(line)
            if self._backlog > BACKLOG_LIMIT:
                self._log.warn("a client that does not read its events is cut off")
                self._abort()
                return
        self.transport.write(line)

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def pauseProducing(self) -> None:
        """The client does not read: take no more requests from it."""
        self._congested = True
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        self._congested = False
        self._backlog = 0
        self.transport.resumeProducing()  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        """The transport says so when it closes; there is nothing to stop."""


class ControlServer(Factory):
    """Makes a protocol for each client and sends every client every event."""

    noisy = False

    def __init__(self, backend: Backend, reactor: IReactorTime) -> None:
        self.backend = backend
        self.reactor = reactor
        self.clients: set[ControlProtocol] = set()
        self._events = 0

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:  # type: ignore[override]
        protocol = ControlProtocol()
        protocol.factory = self
        return protocol

    def publish(self, kind: str, data: types.Shape) -> None:
        """Send an event to all clients; raises LocalProtocolError where `data` has not the kind's shape."""
        if type(data) is not types.EVENTS.get(kind):
            raise LocalProtocolError(f"{type(data).__name__} is not the shape of an event {kind!r}")
        self._events += 1
        line = codec.encode_event(self._events, kind, data)
        for client in tuple(self.clients):
            client.send_event(line)


class ControlPort:
    """A listening control socket: holds the port and the lock that keeps other daemons away."""

    def __init__(self, path: str, port: IListeningPort, lock: int) -> None:
        self.path = path
        self._port = port
        self._lock = lock

    def stop(self) -> Deferred[None]:
        """Stop listening, remove the socket and let go of the lock."""
        done = maybeDeferred(self._port.stopListening)
        return done.addBoth(self._release)

    def _release(self, result: Any) -> Any:
        # the lock file stays: removing it would let two daemons hold locks on two files of one name
        os.close(self._lock)
        return result if isinstance(result, Failure) else None


def listen(path: str | os.PathLike[str], server: ControlServer, reactor: IReactorUNIX) -> ControlPort:
    """Listen on the unix socket `path` (0600, in a folder of 0700 that is made if need be).

    Raises UserError: "second-daemon" (one runs on this socket already), "socket-path" (unusable
    path), "unsafe-folder" (other users can enter the folder).
    """
    name = os.path.abspath(os.fspath(path))
    if len(os.fsencode(name)) > SOCKET_PATH_LIMIT:
        raise UserError(
            f"The path of the socket {name} is too long for the system: choose a shorter --home.",
            "socket-path",
        )
    _make_private_folder(os.path.dirname(name))
    lock = _take_lock(name)
    try:
        _remove_stale(name)
        port = reactor.listenUNIX(name, server, mode=0o600, wantPID=False)
    except BaseException:
        os.close(lock)
        raise
    return ControlPort(name, port, lock)


def _make_private_folder(folder: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.stat(folder)
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(
            f"Other users can enter the folder {folder}: close it with `chmod 700 {folder}`.", "unsafe-folder"
        )


def _take_lock(name: str) -> int:
    # a lock of the system goes away with its process, however that ends
    lock = os.open(name + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise _second_daemon(name) from error
    return lock


def _remove_stale(name: str) -> None:
    try:
        found = os.lstat(name)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UserError(f"{name} is not a socket: move it away or choose another --home.", "socket-path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(name)
            return
        except BlockingIOError as error:  # somebody listens, with a full queue
            raise _second_daemon(name) from error
    raise _second_daemon(name)


def _second_daemon(name: str) -> UserError:
    return UserError(
        f"mixmail runs here already (socket {name}): use that one, or stop it first.", "second-daemon"
    )


def _is_same_user(transport: Any) -> bool:
    """Whether the process at the other end is ours; only Linux tells, elsewhere the modes must do."""
    get_handle = getattr(transport, "getHandle", None)
    if get_handle is None or not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", get_handle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.getuid())
