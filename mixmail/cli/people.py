"""`mixmail id`, `mixmail passphrase` and `mixmail contact`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mixmail.cli import find, plain, qr
from mixmail.cli.files import write_new
from mixmail.cli.frame import Command, Group, json_option, print_json, read_stdin, with_client
from mixmail.control import types
from mixmail.control.client import Client, ControlError
from mixmail.errors import UserError
from mixmail.mail import seed_words
from mixmail.mail.address import Address
from mixmail.randomness import SystemRandomness


@click.group(
    cls=Group,
    name="id",
    examples="""
mixmail id new Ada
mixmail id show --qr
mixmail id words Ada
mixmail id archive Ada
""",
)
def identity() -> None:
    """Your identities and their addresses."""


@identity.command(name="list", examples="mixmail id list\nmixmail id list --json")
@json_option
@with_client
async def identity_list(client: Client, as_json: bool) -> None:
    """List your identities and their addresses."""
    identities = await client.identity_list()
    if as_json:
        print_json(identities)
    else:
        for one in identities:
            archived = "  (archived)" if one.archived else ""
            click.echo(f"{plain.ljust(one.name, 24)}  {plain.line(one.address)}{_id_of(one)}{archived}")


@identity.command(name="new", examples="mixmail id new Ada\nmixmail id new Ada --passphrase")
@click.argument("name")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for a passphrase that locks the whole profile.")
@json_option
@with_client
async def identity_new(client: Client, name: str, ask: bool, as_json: bool) -> None:
    """Make an identity. NAME is what your correspondents see."""
    passphrase = None
    if ask:
        passphrase = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    made = await client.identity_create(name, passphrase)
    if as_json:
        print_json(made)
    else:
        click.echo(made.address)


@identity.command(
    name="show",
    examples="mixmail id show\nmixmail id show Ada --uri\nmixmail id show --qr\nmixmail id show --png me.png",
)
@click.argument("name", required=False)
@click.option("--uri", "as_uri", is_flag=True, help="As a link: mixmail:mix1…")
@click.option("--qr", "as_qr", is_flag=True, help="As a QR code in the terminal.")
@click.option("--png", type=click.Path(dir_okay=False), help="Write a QR code into this new file.")
@json_option
@with_client
async def identity_show(
    client: Client, name: str | None, as_uri: bool, as_qr: bool, png: str | None, as_json: bool
) -> None:
    """Print the address of an identity (default: the first one), to give to others."""
    found = await find.identity(client, name)
    address = Address.parse(found.address) if as_uri or as_qr or png else None
    if png and address:
        write_new(Path(png), qr.as_png(address))
    if as_json:
        print_json(found)
    elif as_qr and address:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo(qr.in_terminal(address, color))
    elif as_uri and address:
        click.echo(address.uri)
    elif png:
        click.echo(f"QR code of {plain.line(found.name)} written to {png}", err=True)
    else:
        click.echo(found.address)


@identity.command(name="words", examples="mixmail id words\nmixmail id words Ada --check")
@click.argument("name", required=False)
@click.option(
    "--check", is_flag=True, help="Do not show them: ask for three, to see that your note is right."
)
@click.option("--yes", is_flag=True, help="Do not ask whether somebody looks over your shoulder.")
@with_client
async def identity_words(client: Client, name: str | None, check: bool, yes: bool) -> None:
    """Show the 24 words from which an identity can be made again (`mixmail id restore`).

    Write them on paper: whoever has them can read its first messages and write as it.
    """
    found = await find.identity(client, name)
    words = await _words(client, found.id)
    if not check:
        if not yes:
            click.confirm(
                f"Show the 24 words of {plain.line(found.name)}? Nobody else should see the screen",
                abort=True,
                err=True,
            )
        for row in range(0, len(words), 4):
            click.echo("  ".join(f"{n + 1:2} {words[n]:<9}" for n in range(row, row + 4)).rstrip())
        return
    for place in seed_words.places_to_ask(SystemRandomness()):
        given = click.prompt(f"Word {place}", err=True)
        if given.strip().lower() != words[place - 1]:
            raise UserError(
                f"That is not word {place}: look at your note, or make a new one with `mixmail id words`.",
                "seed-words",
            )
    click.echo("Your note is right.", err=True)


async def _words(client: Client, id: str) -> list[str]:
    try:
        return await client.identity_words(id)
    except ControlError as error:
        if error.code != "locked":
            raise
    return await client.identity_words(id, click.prompt("Passphrase", hide_input=True, err=True))


@identity.command(
    name="restore", examples="mixmail id restore Ada\nmixmail id restore Ada < words-on-paper.txt"
)
@click.argument("name")
@json_option
@with_client
async def identity_restore(client: Client, name: str, as_json: bool) -> None:
    """Make an identity again from its 24 words, read from standard input.

    Its address is the old one; mails and conversations do not come back.
    """
    words = read_stdin("the 24 words").decode("utf-8", "replace")
    made = await client.identity_restore(name, words)
    if as_json:
        print_json(made)
    else:
        click.echo(made.address)


@identity.command(name="rename", examples="mixmail id rename Ada 'Ada Lovelace'")
@click.argument("who", metavar="IDENTITY")
@click.argument("name")
@with_client
async def identity_rename(client: Client, who: str, name: str) -> None:
    """Show correspondents another NAME."""
    await client.identity_rename((await find.identity(client, who)).id, name)


@identity.command(name="archive", examples="mixmail id archive Ada\nmixmail id archive Ada --undo")
@click.argument("who", metavar="IDENTITY")
@click.option("--undo", is_flag=True, help="Use it again.")
@with_client
async def identity_archive(client: Client, who: str, undo: bool) -> None:
    """Stop using an identity: its mails stay, nothing new is sent or fetched for it.

    Mail that reaches it meanwhile is lost when it expires.
    """
    await client.identity_archive((await find.identity(client, who)).id, not undo)


@identity.command(name="delete", examples="mixmail id delete Ada\nmixmail id delete Ada --yes")
@click.argument("who", metavar="IDENTITY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_client
async def identity_delete(client: Client, who: str, yes: bool) -> None:
    """Delete an identity and its keys; mails that are here stay.

    Only its 24 words (`mixmail id words`) can bring its address back.
    """
    found = await find.identity(client, who)
    if not yes:
        click.confirm(
            f"Delete {plain.line(found.name)} ({found.address[:14]}…) and all its keys?", abort=True, err=True
        )
    await client.identity_delete(found.id)


@click.command(cls=Command, examples="mixmail passphrase\nmixmail passphrase --remove")
@click.option("--remove", is_flag=True, help="Protect the profile by no passphrase any more.")
@with_client
async def passphrase(client: Client, remove: bool) -> None:
    """Set or change the passphrase that locks the whole profile."""
    new = None
    if not remove:
        new = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    try:
        await client.passphrase(None, new)
    except ControlError as error:
        if error.code != "locked":
            raise
        await client.passphrase(click.prompt("Present passphrase", hide_input=True, err=True), new)
    click.echo(
        "The profile has no passphrase now." if remove else "From the next start on, the new one opens it.",
        err=True,
    )


@click.group(
    cls=Group,
    examples="""
mixmail contact add mix1qqexample Ben
mixmail contact list
""",
)
def contact() -> None:
    """The address book."""


@contact.command(name="list", examples="mixmail contact list\nmixmail contact list --json")
@json_option
@with_client
async def contact_list(client: Client, as_json: bool) -> None:
    """List the address book."""
    contacts = await client.contact_list()
    if as_json:
        print_json(contacts)
    else:
        print_people(contacts)


@contact.command(name="add", examples="mixmail contact add mix1qqexample Ben")
@click.argument("address")
@click.argument("name")
@json_option
@with_client
async def contact_add(client: Client, address: str, name: str, as_json: bool) -> None:
    """Add the person with this ADDRESS under a NAME of your choice."""
    added = await client.contact_add(address, name)
    if as_json:
        print_json(added)
    else:
        print_people([added])


@contact.command(name="rename", examples="mixmail contact rename Ben Benjamin")
@click.argument("who", metavar="CONTACT")
@click.argument("name")
@with_client
async def contact_rename(client: Client, who: str, name: str) -> None:
    """Give CONTACT another NAME; only you see it.

    CONTACT is a name, an id or the beginning of an id.
    """
    await client.contact_rename((await find.contact(client, who)).id, name)


@contact.command(name="remove", examples="mixmail contact remove Ben\nmixmail contact remove Ben --yes")
@click.argument("who", metavar="CONTACT")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_client
async def contact_remove(client: Client, who: str, yes: bool) -> None:
    """Take CONTACT out of the address book.

    CONTACT is a name, an id or the beginning of an id.
    """
    found = await find.contact(client, who)
    if not yes:
        click.confirm(f"Remove {plain.line(found.name)} ({found.id})?", abort=True, err=True)
    await client.contact_remove(found.id)


@contact.command(name="accept", examples="mixmail contact accept Zoe")
@click.argument("who", metavar="CONTACT")
@with_client
async def contact_accept(client: Client, who: str) -> None:
    """Take a stranger who wrote to you into the address book.

    His mails move from the folder "requests" to the inbox. Answering him does the same.
    """
    await client.contact_accept((await find.contact(client, who)).id)


@contact.command(name="ignore", examples="mixmail contact ignore Zoe")
@click.argument("who", metavar="CONTACT")
@with_client
async def contact_ignore(client: Client, who: str) -> None:
    """Forget a stranger who wrote to you, with his mails; he may write again and is not told."""
    await client.contact_ignore((await find.contact(client, who)).id)


@contact.command(name="block", examples="mixmail contact block Zoe\nmixmail contact block Zoe --undo")
@click.argument("who", metavar="CONTACT")
@click.option("--undo", is_flag=True, help="Read what comes from now on.")
@with_client
async def contact_block(client: Client, who: str, undo: bool) -> None:
    """Read nothing of CONTACT any more; for the other side all looks as before."""
    await client.contact_block((await find.contact(client, who)).id, not undo)


def print_people(people: Sequence[types.Contact]) -> None:
    """Name, address and (where it is not the address itself) id, one a line."""
    for person in people:
        state = "" if person.state == "known" else f"  ({person.state})"
        click.echo(f"{plain.ljust(person.name, 24)}  {plain.line(person.address)}{_id_of(person)}{state}")


def _id_of(person: types.Contact | types.Identity) -> str:
    return "" if person.id == person.address else f"  {plain.line(person.id)}"
