"""`mixmail id` and `mixmail contact`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mixmail.cli import find, plain
from mixmail.cli.frame import Group, json_option, print_json, with_client
from mixmail.control import types
from mixmail.control.client import Client


@click.group(
    cls=Group,
    name="id",
    examples="""
mixmail id new Ada
mixmail id show
mixmail id list --json
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
        print_people(identities)


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


@identity.command(name="show", examples="mixmail id show\nmixmail id show Ada --json")
@click.argument("name", required=False)
@json_option
@with_client
async def identity_show(client: Client, name: str | None, as_json: bool) -> None:
    """Print the address of an identity (default: the first one), to give to others."""
    found = await find.identity(client, name)
    if as_json:
        print_json(found)
    else:
        click.echo(found.address)


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


def print_people(people: Sequence[types.Contact | types.Identity]) -> None:
    """Name, address and (where it is not the address itself) id, one a line."""
    for person in people:
        id = "" if person.id == person.address else f"  {plain.line(person.id)}"
        click.echo(f"{plain.ljust(person.name, 24)}  {plain.line(person.address)}{id}")
