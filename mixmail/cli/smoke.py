"""One mail to echo and its answer, through a running daemon, as a user would do it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mixmail.cli.home import Home
from mixmail.control import types
from mixmail.control.client import Client, ConnectionLost
from mixmail.errors import UserError

LIMIT = 120.0
"""Seconds for the whole way there and back."""
SUBJECT = "Is anybody there?"
TEXT = "One mail through three mixes, a courier and a proxy.\nZurück bitte: äöü €\n"


async def mail_to_echo(home: Home, say: Callable[[str], None]) -> dict[str, float | int]:
    """Write to echo, wait for its answer, check its body.

    Returns {"answered_s": seconds, "packets": packets that the user's node sent meanwhile}.
    UserError "timeout" (no answer), "wrong-answer" (another body than ours).
    """
    async with await Client.connect(home.socket) as client:
        if not client.hello.has_identity:
            await client.identity_create("smoke")
        before = (await client.status()).packets_sent
        started = time.monotonic()
        news: asyncio.Queue[types.Event] = asyncio.Queue()
        client.listen(news.put_nowait)
        id = await client.mail_send("echo", SUBJECT, TEXT)
        say("a mail to echo is in the outbox")
        try:
            async with asyncio.timeout(LIMIT):
                answer = await _answer(client, news, id, say)
        except TimeoutError as error:
            state = (await client.mail_read(id)).summary
            raise UserError(
                f"No answer within {LIMIT:.0f} s: the mail is {state.state} "
                f"({state.sent_parts}/{state.parts} packets); look at the logs with --home.",
                "timeout",
            ) from error
        seconds = time.monotonic() - started
        quoted = [line.removeprefix("> ") for line in answer.text.splitlines() if line.startswith("> ")]
        if quoted != TEXT.splitlines() or answer.summary.subject != f"Re: {SUBJECT}":
            raise UserError("The answer is not what echo was sent: this is a defect.", "wrong-answer")
        packets = (await client.status()).packets_sent - before
    return {"answered_s": round(seconds, 2), "packets": packets}


async def _answer(
    client: Client, news: asyncio.Queue[types.Event], id: str, say: Callable[[str], None]
) -> types.Mail:
    """The first mail of the inbox that answers mail `id`; reports the way of ours."""
    closed = asyncio.ensure_future(client.closed.wait())
    seen = ""
    try:
        while True:
            event = asyncio.ensure_future(news.get())
            await asyncio.wait({event, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not event.done():
                event.cancel()
                raise ConnectionLost
            data = event.result().data
            if isinstance(data, types.MailStateEvent) and data.id == id and data.state != seen:
                seen = data.state
                say(f"the mail is {seen}")
            elif isinstance(data, types.MailNewEvent):
                mail = await client.mail_read(data.id)
                if mail.summary.in_reply_to == id:
                    return mail
    finally:
        closed.cancel()
