"""Ids may be shortened to what is unique, as in git; contacts and identities may be named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from mixmail.cli import plain
from mixmail.control import types
from mixmail.control.client import Client, ControlError
from mixmail.errors import UserError

Named = TypeVar("Named", types.Contact, types.Identity)

PAGE = 200
"""Mails asked for at once while an abbreviation is looked up."""

FOLDERS: tuple[types.Folder, ...] = ("inbox", "requests", "sent", "outbox")


async def mail(client: Client, id: str) -> types.Mail:
    """The mail with this id or the only one whose id begins so.  UserError "unknown-mail", "ambiguous"."""
    try:
        return await client.mail_read(id)
    except ControlError as error:
        if not error.code.startswith("unknown-"):
            raise
    found: dict[str, str] = {}
    for folder in FOLDERS:
        offset, total = 0, 1
        while offset < total:
            page = await client.mail_list(folder, offset=offset, limit=PAGE)
            total = page.total if page.mails else 0
            offset += len(page.mails)
            found |= {row.id: row.subject for row in page.mails if row.id.startswith(id)}
    return await client.mail_read(only(id, found, "mail"))


async def contact(client: Client, name: str) -> types.Contact:
    """By id, name (in any case), address or the beginning of an id."""
    contacts = await client.contact_list()
    return _pick(name, {contact.id: contact for contact in contacts}, "contact")


async def identity(client: Client, name: str | None) -> types.Identity:
    """The same for an identity; None is the first one in use.  UserError "unknown-identity"."""
    identities = await client.identity_list()
    if not identities:
        raise UserError("You have no identity yet: make one with `mixmail id new NAME`.", "unknown-identity")
    if name is None:
        return next((one for one in identities if not one.archived), identities[0])
    return _pick(name, {identity.id: identity for identity in identities}, "identity")


def _pick(name: str, known: dict[str, Named], what: str) -> Named:
    if name in known:
        return known[name]
    named = {id: one.name for id, one in known.items() if one.name.casefold() == name.casefold()}
    named |= {id: one.name for id, one in known.items() if one.address == name}
    if not named:
        named = {id: one.name for id, one in known.items() if id.startswith(name)}
    return known[only(name, named, what)]


def only(given: str, found: dict[str, str], what: str) -> str:
    """The one id of `found` (id: title); UserError "unknown-…" if none, "ambiguous" if several."""
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UserError(f"There is no {what} {plain.line(given, 40)!r}: see the list.", f"unknown-{what}")
    some = ", ".join(f"{id} ({plain.line(title, 20)})" for id, title in list(found.items())[:4])
    raise UserError(
        f"{plain.line(given, 40)!r} fits more than one {what}: {some}; give more of it.", "ambiguous"
    )


def shortest(ids: Iterable[str], least: int = 4) -> dict[str, str]:
    """For each id the shortest beginning that no other of them has, at least `least` characters."""
    ordered = sorted(set(ids))
    short = {}
    for position, id in enumerate(ordered):
        length = least
        for other in ordered[max(0, position - 1) : position] + ordered[position + 1 : position + 2]:
            common = next((i for i, (a, b) in enumerate(zip(id, other, strict=False)) if a != b), len(other))
            length = max(length, common + 1)
        short[id] = id[:length]
    return short
