"""What the user decides about a stranger who wrote: accept, ignore, block.  None of it is told to him."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from textual.widget import Widget

from mixmail.control import types
from tui import safe_text
from tui.screens.dialogs import Confirm
from tui.session import Session, toast, told

Verb = Literal["accept", "ignore", "block"]

DONE = {
    "accept": "{} is in the address book now, the mail is in the inbox.",
    "ignore": "{} is forgotten.",
    "block": "{} is blocked: the address book unblocks.",
}
QUESTIONS = {
    "ignore": "Delete what {} wrote, and forget the address? Whoever has your address may write again.",
    "block": "Delete what {} wrote, and read nothing more of it? You can unblock in the address book.",
}


def decide(
    widget: Widget, session: Session, mail: types.MailSummary, verb: Verb, done: Callable[[], None]
) -> None:
    """Ask where something is deleted, do it, say it, then call `done`."""
    name = safe_text.line(mail.contact_name, 40) or "(no name)"

    async def work() -> None:
        with told(widget):
            client, id = session.client, mail.contact or ""
            if verb == "accept":
                await client.contact_accept(id)
            elif verb == "ignore":
                await client.contact_ignore(id)
            else:
                await client.contact_block(id)
            toast(widget, DONE[verb].format(name))
            done()

    def answered(answer: str | None) -> None:
        if answer == "yes":
            widget.run_worker(work(), group="decide")

    if verb in QUESTIONS:
        widget.app.push_screen(
            Confirm(f"{verb.capitalize()} a stranger", QUESTIONS[verb].format(name)), answered
        )
    else:
        answered("yes")
