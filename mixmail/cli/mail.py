"""`mixmail send`, `inbox` and `read`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import click

from mixmail.cli import files, find, plain
from mixmail.cli.frame import Command, json_option, print_json, read_stdin, with_client
from mixmail.control import types
from mixmail.control.client import Client, ConnectionLost
from mixmail.errors import UserError

REACHED: dict[str, tuple[types.MailState, ...]] = {
    "stored": ("stored", "answered"),
    "answered": ("answered",),
}


@click.command(
    cls=Command,
    examples="""
mixmail send echo -s Hello -m 'How are you?'
mixmail send mix1qqexample -s Minutes --attach minutes.pdf < minutes.txt
mixmail send echo --eml message.eml --wait stored --timeout 600
""",
)
@click.argument("to")
@click.option("-s", "--subject", default="", help="The subject.")
@click.option("-m", "--message", help="The text (default: standard input).")
@click.option("--attach", "paths", multiple=True, metavar="FILE", help="Attach a file; may be repeated.")
@click.option("--eml", metavar="FILE", help="Send this RFC 5322 message (- is standard input).")
@click.option("--from", "identity", metavar="IDENTITY", help="Which of your identities writes.")
@click.option("--reply-to", metavar="ID", help="The mail that this one answers.")
@click.option("--wait", type=click.Choice(list(REACHED)), help="Come back only when the mail got so far.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@json_option
@with_client
async def send(
    client: Client,
    to: str,
    subject: str,
    message: str | None,
    paths: tuple[str, ...],
    eml: str | None,
    identity: str | None,
    reply_to: str | None,
    wait: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Put a mail into the outbox.

    TO is a contact's name or id, or an address. The command comes back as soon as the mail is safe in
    the outbox (it leaves in the next slots, whether you wait or not) and prints the mail's id.
    """
    changes: asyncio.Queue[types.Event] = asyncio.Queue()
    client.listen(changes.put_nowait)
    if eml is not None:
        if subject or message is not None or paths or reply_to or identity:
            raise click.UsageError("--eml FILE has subject, text and attachments already.")
        data = read_stdin("the message") if eml == "-" else files.read(eml, "message")
        id = await client.mail_send_eml(to, data)
    else:
        attached = files.attachments(paths)
        text = message if message is not None else read_stdin("the text").decode("utf-8", "replace")
        sender = (await find.identity(client, identity)).id if identity else None
        answered = (await find.mail(client, reply_to)).summary.id if reply_to else None
        id = await client.mail_send(to, subject, text, answered, sender, attached)
    if wait:
        await wait_for(client, changes, id, wait, timeout)
    summary = (await client.mail_read(id)).summary
    if as_json:
        print_json(summary)
    else:
        click.echo(f"{id} {state_text(summary)}")


async def wait_for(
    client: Client, changes: asyncio.Queue[types.Event], id: str, goal: str, timeout: float | None
) -> None:
    """Return when mail `id` has reached `goal`.  UserError "timeout", "mail-failed"; ConnectionLost."""
    closed = asyncio.ensure_future(client.closed.wait())
    try:
        async with asyncio.timeout(timeout):
            summary = (await client.mail_read(id)).summary
            state, note = summary.state, summary.note
            while state not in REACHED[goal]:
                if state == "failed":
                    raise UserError(f"The mail {id} was not delivered: {note}", "mail-failed")
                change = asyncio.ensure_future(changes.get())
                await asyncio.wait({change, closed}, return_when=asyncio.FIRST_COMPLETED)
                if not change.done():
                    change.cancel()
                    raise ConnectionLost
                data = change.result().data
                if isinstance(data, types.MailStateEvent) and data.id == id:
                    state, note = data.state, data.note
    except TimeoutError as error:
        raise UserError(
            f"The mail {id} is not {goal} after {timeout:g} s: it stays in the outbox and goes on; "
            "see `mixmail inbox --folder outbox`.",
            "timeout",
        ) from error
    finally:
        closed.cancel()


def state_text(summary: types.MailSummary) -> str:
    """The state of an own mail with its figures, in a few words."""
    match summary.state:
        case "queued" | "sent":
            text = f"{summary.state} ({summary.sent_parts}/{summary.parts} packets)"
        case "stored":
            text = f"stored ({summary.stored_min} of {summary.replicas})"
        case _:
            text = summary.state
    return f"{text}: {plain.line(summary.note)}" if summary.note else text


@click.command(
    cls=Command,
    examples="""
mixmail inbox
mixmail inbox --search minutes --limit 5
mixmail inbox --folder outbox --json
""",
)
@click.option("--folder", type=click.Choice(find.FOLDERS), default="inbox", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@click.option("--search", default="", metavar="TEXT", help="Only mails that contain this.")
@json_option
@with_client
async def inbox(client: Client, folder: str, limit: int, search: str, as_json: bool) -> None:
    """List mails, newest first.

    --folder shows also those that you sent and those that wait.
    """
    page = await client.mail_list(cast(types.Folder, folder), limit=limit, search=search)
    if as_json:
        print_json(page)
        return
    short = find.shortest(row.id for row in page.mails)
    width = max((len(id) for id in short.values()), default=0)
    for row in page.mails:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.date))
        clip = " +" if row.attachments else ""
        state = "" if folder in types.INCOMING else f"  [{state_text(row)}]"
        mark = "*" if row.unread else " "
        who = plain.ljust(row.contact_name, 18)
        subject = plain.line(row.subject, 60) or "(no subject)"
        text = f"{mark} {short[row.id]:<{width}}  {when}  {who}  {subject}{clip}{state}"
        click.secho(text, bold=row.unread)
    shown = len(page.mails)
    rest = f"{shown} of {page.total}" if shown < page.total else f"{page.total}"
    click.echo(f"{folder}: {rest} mail{'' if page.total == 1 else 's'}, {page.unread} unread")


@click.command(
    cls=Command,
    examples="""
mixmail read 4f2a
mixmail read 4f2a --json
mixmail read 4f2a --save-attachments ~/Downloads
mixmail read 4f2a --attachment 1 --as report.pdf
""",
)
@click.argument("id")
@click.option("--save-attachments", "folder", metavar="DIR", help="Save all attachments in this folder.")
@click.option("--attachment", "number", type=click.IntRange(min=1), metavar="N", help="Save only this one …")
@click.option("--as", "target", metavar="FILE", help="… under this name.")
@click.option("--keep-unread", is_flag=True, help="Leave the mail unread.")
@json_option
@with_client
async def read(
    client: Client,
    id: str,
    folder: str | None,
    number: int | None,
    target: str | None,
    keep_unread: bool,
    as_json: bool,
) -> None:
    """Print a mail. ID may be shortened to what is unique.

    Saving never overwrites a file and never leaves the folder: a mail whose attachment is named with a
    path is refused as a whole; save it under a name of your own with --attachment and --as.
    """
    if (number is None) != (target is None):
        raise click.UsageError("--attachment N and --as FILE belong together.")
    mail = await find.mail(client, id)
    saved: list[Path] = []
    if number is not None and target is not None:
        if number > len(mail.attachments):
            raise UserError(f"This mail has {len(mail.attachments)} attachments, not {number}.", "not-found")
        saved = [Path(target).expanduser()]
        await _save(client, mail, {mail.attachments[number - 1].index: saved[0]})
    elif folder is not None:
        saved = files.targets(Path(folder).expanduser(), [info.name for info in mail.attachments])
        await _save(
            client, mail, {info.index: path for info, path in zip(mail.attachments, saved, strict=True)}
        )
    if mail.summary.unread and not keep_unread:
        await client.mail_mark(mail.summary.id, unread=False)
    if as_json:
        print_json(mail)
    else:
        print_mail(mail)
    for path in saved:
        click.echo(f"saved {plain.line(str(path))}", err=True)


async def _save(client: Client, mail: types.Mail, paths: dict[int, Path]) -> None:
    """All or nothing: what was written is taken away again if a later one fails."""
    for folder in {path.parent for path in paths.values()}:
        files.make_folder(folder)
    written: list[Path] = []
    try:
        for index, path in paths.items():
            attachment = await client.mail_attachment(mail.summary.id, index)
            files.write_new(path, attachment.data)
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def print_mail(mail: types.Mail) -> None:
    """The mail as text that no terminal acts upon."""
    summary = mail.summary
    rows = [
        ("From", plain.line(mail.from_name)),
        ("To", plain.line(mail.to_name)),
        ("Date", time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.date))),
        ("Subject", plain.line(summary.subject)),
    ]
    if summary.folder not in types.INCOMING:
        rows.append(("State", state_text(summary)))
    for place, info in enumerate(mail.attachments, 1):
        rows.append(
            (f"File {place}", f"{plain.line(info.name)} ({plain.line(info.type)}, {info.size} bytes)")
        )
    for label, text in rows:
        click.echo(f"{click.style(f'{label}:', bold=True)} {text}")
    click.echo()
    click.echo(plain.block(mail.text))
