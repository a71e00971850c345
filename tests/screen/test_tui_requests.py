"""Mails of strangers on the screen: they wait in Requests, and + - ! decide."""

from __future__ import annotations

from typing import Any

import pytest
from memory_backend import MemoryBackend
from textual.widgets import TextArea

from tui.screens.address_book import AddressBook
from tui.screens.compose import ComposeScreen
from tui.screens.main import MainScreen

pytestmark = pytest.mark.asyncio


def stranger(backend: MemoryBackend) -> None:
    """A mail of Zoe, whom nobody knows, and one of Grace."""
    backend.add_contact("Grace")
    backend.add_mail("Grace", "Minutes", "x")
    backend.add_stranger("Zoe", "You do not know me", "x")


async def on(stage: Any, kind: type) -> None:
    await stage.until(lambda: isinstance(stage.app.screen, kind), f"{kind.__name__} shown")


async def test_a_strangers_mail_is_apart_and_says_what_can_be_done(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.sees("Minutes")
        assert "You do not know me" not in stage.text()
        await stage.press("5")
        await stage.sees("You do not know me")
        await stage.press("enter")
        await stage.sees("a stranger:  + accept   - ignore   ! block")
        await stage.press("escape", "a")
        await on(stage, AddressBook)
        assert "Zoe" not in stage.text()


async def test_plus_accepts(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.press("5")
        await stage.sees("You do not know me")
        await stage.press("plus")
        await stage.sees("is in the address book now")
        await stage.sees("Nobody unknown has written")
        await stage.press("1")
        await stage.sees("You do not know me")


async def test_minus_asks_and_forgets(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.press("5")
        await stage.sees("You do not know me")
        await stage.press("minus")
        await stage.sees("Delete what Zoe wrote")
        await stage.press("n")
        await stage.sees("You do not know me")
        await stage.press("minus")
        await stage.sees("Delete what Zoe wrote")
        await stage.press("y")
        await stage.sees("Zoe is forgotten")
        await stage.loses("You do not know me")
        assert not [one for one in stage.backend.contacts if one.name == "Zoe"]


async def test_exclamation_mark_blocks_and_the_address_book_unblocks(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.press("5")
        await stage.sees("You do not know me")
        await stage.press("exclamation_mark")
        await stage.sees("read nothing more of it")
        await stage.press("y")
        await stage.sees("Zoe is blocked")
        await stage.press("a")
        await on(stage, AddressBook)
        await stage.sees("blocked")
        await stage.press("j", "b")
        await stage.until(lambda: all(one.state == "known" for one in stage.backend.contacts))


async def test_a_contact_is_blocked_in_the_address_book(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.press("a")
        await stage.sees("Grace")
        await stage.press("b")
        await stage.sees("Block Grace?")
        await stage.press("y")
        await stage.sees("Grace is blocked")
        assert [one.state for one in stage.backend.contacts if one.name == "Grace"] == ["blocked"]


async def test_a_stranger_is_answered_at_the_right_address(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.press("5")
        await stage.sees("You do not know me")
        await stage.press("r")
        await on(stage, ComposeScreen)
        stage.app.screen.query_one("#text", TextArea).text = "Who are you?"
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
        (zoe,) = [one.id for one in stage.backend.contacts if one.name == "Zoe"]
        assert stage.backend.sent_to == [zoe]


async def test_elsewhere_the_keys_of_requests_say_where_they_belong(screen: Any) -> None:
    async with screen(stranger) as stage:
        await stage.sees("Minutes")
        await stage.press("exclamation_mark")
        await stage.sees("are for mails in Requests")
        assert all(one.state != "blocked" for one in stage.backend.contacts)
