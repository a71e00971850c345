"""The asyncio client of the local API, used by the terminal UI and the command line.

    client = await Client.connect(path)
    page = await client.mail_list("inbox", limit=20)
    async for event in client.events(): ...

Calls may overlap; a lost connection fails all of them with `ConnectionLost`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, cast

from mixmail.control import codec, types
from mixmail.errors import RemoteProtocolError, UserError

HELLO_TIMEOUT = 15.0
"""Seconds a daemon has for its first answer: it may be busy starting, but not for ever."""


class ControlError(UserError):
    """The daemon refused a call; `code` and `message` are its own."""


class ConnectionLost(UserError):
    """The daemon has gone away while we were connected (code "connection-lost")."""

    def __init__(self) -> None:
        super().__init__(
            "The connection to mixmail's background process is lost; start it again with `mixmail node`.",
            "connection-lost",
        )


class Writer(Protocol):
    """The part of asyncio.StreamWriter that the client needs."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


class Client:
    """One connection to the daemon.  Make it with `connect` (or `start` on streams of your own).

    `hello` is the daemon's introduction.  `closed` is set when the connection has ended.
    """

    hello: types.Hello

    def __init__(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._listeners: list[Callable[[types.Event], object]] = []
        self.closed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def connect(cls, path: str | os.PathLike[str], timeout: float = HELLO_TIMEOUT) -> Client:
        """Connect to the socket at `path` and say hello.

        Raises UserError: "no-daemon" (nobody listens), "no-access" (not ours), "socket-path" (too
        long), "no-answer", or the daemon's own refusal (ControlError, e.g. "api-version").
        """
        try:
            reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=codec.MAX_LENGTH + 1)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise UserError(
                "mixmail is not running here: start it with `mixmail node`.", "no-daemon"
            ) from error
        except PermissionError as error:
            raise UserError(
                f"The socket {os.fspath(path)} belongs to another user: choose your own with --home.",
                "no-access",
            ) from error
        except OSError as error:
            raise UserError(
                f"The socket {os.fspath(path)} cannot be used ({error}): choose a shorter --home.",
                "socket-path",
            ) from error
        return await cls.start(reader, writer, timeout)

    @classmethod
    async def start(
        cls, reader: asyncio.StreamReader, writer: Writer, timeout: float = HELLO_TIMEOUT
    ) -> Client:
        """Say hello over streams that are connected already."""
        client = cls(reader, writer)
        try:
            client.hello = await asyncio.wait_for(client.call("hello", api=types.API_VERSION), timeout)
        except TimeoutError as error:
            await client.close()
            raise UserError(
                "mixmail's background process does not answer: stop it and start it again.", "no-answer"
            ) from error
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls still open fail with ConnectionLost."""
        self._writer.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def call(self, method: str, **params: Any) -> Any:
        """Call `method` and return its result in the shape that `types.METHODS` names.

        Raises ControlError (the daemon refuses), ConnectionLost, RemoteProtocolError (a daemon that
        does not follow the protocol) and TypeError for a parameter that does not exist.
        """
        if self.closed.is_set():
            raise ConnectionLost
        id = next(self._ids)
        line = codec.encode_request(id, method, types.METHODS[method].params(**params))
        if len(line) > codec.MAX_LENGTH:
            raise UserError("This is too large to hand over: take out some attachments.", "too-large")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[id] = method, future
        try:
            self._writer.write(line)
            try:
                await self._writer.drain()
            except OSError as error:
                raise ConnectionLost from error
            return await future
        finally:
            self._waiting.pop(id, None)
            future.cancel()

    def listen(self, callback: Callable[[types.Event], object]) -> Callable[[], None]:
        """Call `callback` with each event from now on; returns what ends it."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    async def events(self) -> AsyncIterator[types.Event]:
        """Events from the first `anext` on; ends with the connection."""
        queue: asyncio.Queue[types.Event] = asyncio.Queue()
        stop = self.listen(queue.put_nowait)
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            while True:
                getter = asyncio.ensure_future(queue.get())
                await asyncio.wait({getter, closed}, return_when=asyncio.FIRST_COMPLETED)
                if not getter.done():
                    getter.cancel()
                    return
                yield getter.result()
        finally:
            closed.cancel()
            stop()

    async def _read(self) -> None:
        try:
            while True:
                self._handle(await self._reader.readuntil(b"\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, RemoteProtocolError):
            # whatever it was, this connection is over; the callers learn it as ConnectionLost
            self._writer.close()
        finally:
            self.closed.set()
            for _, future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionLost())
                    future.exception()  # the caller may be gone already: then nobody needs it

    def _handle(self, line: bytes) -> None:
        message = codec.decode_message(line)
        if isinstance(message, types.Event):
            for listener in tuple(self._listeners):
                listener(message)
        elif message is not None and isinstance(message.id, int) and message.id in self._waiting:
            method, future = self._waiting[message.id]
            if future.done():
                return
            if message.error is not None:
                future.set_exception(ControlError(message.error.message, message.error.data.code))
                return
            try:
                future.set_result(codec.decode_result(method, message.result))
            except RemoteProtocolError as error:
                future.set_exception(error)

    # one typed method per RPC method

    async def unlock(self, passphrase: str) -> None:
        await self.call("unlock", passphrase=passphrase)

    async def status(self) -> types.Status:
        return cast(types.Status, await self.call("status"))

    async def store(self) -> types.Store:
        return cast(types.Store, await self.call("store"))

    async def identity_list(self) -> list[types.Identity]:
        return cast(list[types.Identity], await self.call("identity.list"))

    async def identity_create(self, name: str, passphrase: str | None = None) -> types.Identity:
        result = await self.call("identity.create", name=name, passphrase=passphrase)
        return cast(types.Identity, result)

    async def identity_restore(self, name: str, words: str) -> types.Identity:
        return cast(types.Identity, await self.call("identity.restore", name=name, words=words))

    async def identity_rename(self, id: str, name: str) -> None:
        await self.call("identity.rename", id=id, name=name)

    async def identity_archive(self, id: str, archived: bool = True) -> None:
        await self.call("identity.archive", id=id, archived=archived)

    async def identity_delete(self, id: str) -> None:
        await self.call("identity.delete", id=id)

    async def identity_words(self, id: str, passphrase: str | None = None) -> list[str]:
        result = await self.call("identity.words", id=id, passphrase=passphrase)
        return cast(types.SeedWords, result).words

    async def passphrase(self, old: str | None, new: str | None) -> None:
        await self.call("passphrase", old=old, new=new)

    async def contact_list(self) -> list[types.Contact]:
        return cast(list[types.Contact], await self.call("contact.list"))

    async def contact_add(self, address: str, name: str) -> types.Contact:
        return cast(types.Contact, await self.call("contact.add", address=address, name=name))

    async def contact_rename(self, id: str, name: str) -> None:
        await self.call("contact.rename", id=id, name=name)

    async def contact_remove(self, id: str) -> None:
        await self.call("contact.remove", id=id)

    async def contact_accept(self, id: str) -> None:
        await self.call("contact.accept", id=id)

    async def contact_ignore(self, id: str) -> None:
        await self.call("contact.ignore", id=id)

    async def contact_block(self, id: str, blocked: bool = True) -> None:
        await self.call("contact.block", id=id, blocked=blocked)

    async def mail_list(
        self, folder: types.Folder, offset: int = 0, limit: int = 50, search: str = ""
    ) -> types.MailPage:
        result = await self.call("mail.list", folder=folder, offset=offset, limit=limit, search=search)
        return cast(types.MailPage, result)

    async def mail_read(self, id: str) -> types.Mail:
        return cast(types.Mail, await self.call("mail.read", id=id))

    async def mail_attachment(self, id: str, index: int) -> types.Attachment:
        return cast(types.Attachment, await self.call("mail.attachment", id=id, index=index))

    async def mail_mark(self, id: str, unread: bool) -> None:
        await self.call("mail.mark", id=id, unread=unread)

    async def mail_delete(self, id: str) -> None:
        await self.call("mail.delete", id=id)

    async def mail_cancel(self, id: str) -> None:
        await self.call("mail.cancel", id=id)

    async def mail_send(
        self,
        to: str,
        subject: str,
        text: str,
        in_reply_to: str | None = None,
        identity: str | None = None,
        attachments: Sequence[types.Attachment] = (),
    ) -> str:
        """The id of the mail, which is in the outbox now."""
        result = await self.call(
            "mail.send",
            to=to,
            subject=subject,
            text=text,
            in_reply_to=in_reply_to,
            identity=identity,
            attachments=list(attachments),
        )
        return cast(types.Id, result).id

    async def mail_send_eml(self, to: str, data: bytes) -> str:
        return cast(types.Id, await self.call("mail.send_eml", to=to, data=data)).id

    async def draft_save(
        self, to: str, subject: str, text: str, id: str | None = None, in_reply_to: str | None = None
    ) -> str:
        """The id of the draft, a new one where `id` is None."""
        result = await self.call(
            "draft.save", to=to, subject=subject, text=text, id=id, in_reply_to=in_reply_to
        )
        return cast(types.Id, result).id

    async def draft_list(self) -> list[types.Draft]:
        return cast(list[types.Draft], await self.call("draft.list"))

    async def draft_delete(self, id: str) -> None:
        await self.call("draft.delete", id=id)

    async def drain(self) -> types.Draining:
        return cast(types.Draining, await self.call("drain"))

    async def drained(self) -> types.Stopping:
        return cast(types.Stopping, await self.call("drained"))

    async def shutdown(self) -> types.Stopping:
        return cast(types.Stopping, await self.call("shutdown"))
