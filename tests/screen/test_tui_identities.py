"""Several identities on the screen: made, renamed, archived, deleted, written as; words and QR codes."""

from __future__ import annotations

from typing import Any

import pytest
from memory_backend import MemoryBackend
from textual.widgets import Input

from mixmail.control import types
from tui.screens.compose import ComposeScreen
from tui.screens.first_run import FirstRunScreen
from tui.screens.identities import Identities, QrScreen
from tui.screens.main import MainScreen
from tui.screens.seed_words import SeedWords

pytestmark = pytest.mark.asyncio


def two(backend: MemoryBackend) -> None:
    """Ada, Bea, and somebody to write to."""
    backend.identity_create(types.IdentityCreateParams(name="Bea"))
    backend.add_contact("echo")


async def on(stage: Any, kind: type) -> None:
    await stage.until(lambda: isinstance(stage.app.screen, kind), f"{kind.__name__} shown")


def names(stage: Any) -> list[tuple[str, bool]]:
    return [(one.name, one.archived) for one in stage.backend.identities]


async def test_identities_are_made_renamed_archived_and_deleted(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("i")
        await on(stage, Identities)
        await stage.sees("ada")
        await stage.press("n")
        await stage.type("Bea\n")
        await stage.sees("Bea")
        await stage.press("j", "e")
        await stage.sees("Rename identity")
        stage.app.screen.query_one("#name", Input).value = ""
        await stage.type("Beatrice\n")
        await stage.sees("Beatrice")
        await stage.press("x")
        await stage.sees("Archive Beatrice?")
        await stage.press("y")
        await stage.sees("archived: nothing comes")
        assert names(stage) == [("ada", False), ("Beatrice", True)]
        await stage.press("x")
        await stage.until(lambda: names(stage) == [("ada", False), ("Beatrice", False)])
        await stage.loses("archived: nothing comes")
        await stage.press("d")
        await stage.sees("Delete Beatrice")
        await stage.press("n")
        await stage.loses("Delete Beatrice")
        assert len(names(stage)) == 2
        await stage.press("d")
        await stage.sees("Delete Beatrice")
        await stage.press("y")
        await stage.until(lambda: names(stage) == [("ada", False)])
        await stage.press("escape")
        await on(stage, MainScreen)


async def test_who_deletes_the_last_identity_is_asked_for_a_new_one(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("i")
        await stage.sees("ada")
        await stage.press("d")
        await stage.sees("Delete ada")
        await stage.press("y")
        await on(stage, FirstRunScreen)
        await stage.type("New\n")
        await on(stage, Identities)
        await stage.until(lambda: names(stage) == [("New", False)])


async def test_an_address_is_shown_as_a_qr_code_that_fits(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("i")
        await stage.sees("ada")
        await stage.press("v")
        await on(stage, QrScreen)
        lines = [line for line in stage.text().splitlines() if "█" in line]
        assert len(lines) >= 18
        await stage.press("escape")
        await on(stage, Identities)


async def test_the_words_are_shown_and_three_are_asked_for(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("i")
        await stage.sees("ada")
        await stage.press("w")
        await stage.sees("24 word24")
        await stage.press("enter")
        await stage.loses("24 word24")
        await stage.type("wrong\n")
        await stage.sees("here they are once more")
        await stage.press("enter")
        for _ in range(3):
            await stage.sees("Word ")
            dialog = stage.app.screen
            asked = dialog._asked[0] + 1
            await stage.type(f"word{asked}\n")
            await stage.until(
                lambda seen=asked, shown=dialog: stage.app.screen is not shown or shown._asked[0] + 1 != seen
            )
        await on(stage, Identities)


async def test_the_words_of_a_profile_with_a_passphrase_need_it(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.passphrase = "secret"

    async with screen(prepare) as stage:
        await stage.press("i")
        await stage.sees("ada")
        await stage.press("w")
        await stage.sees("Passphrase of the profile")
        await stage.type("other\n")
        await stage.sees("The passphrase is wrong")
        assert "word24" not in stage.text()
        await stage.type("secret\n")
        await stage.sees("24 word24")


async def test_a_newcomer_on_a_real_network_is_shown_the_words(screen: Any) -> None:
    async with screen(identity=None, preset="mail") as stage:
        await on(stage, FirstRunScreen)
        await stage.type("Ada\n")
        await on(stage, SeedWords)
        await stage.sees("24 word24")
        await stage.press("escape")
        await on(stage, MainScreen)


async def test_a_letter_goes_out_as_the_identity_that_is_chosen(screen: Any) -> None:
    async with screen(two) as stage:
        await stage.press("c")
        await on(stage, ComposeScreen)
        await stage.sees("whoever wrote to them before")
        await stage.press("ctrl+f")
        await stage.press("ctrl+f")
        await stage.sees("Bea")
        await stage.type("echo\tHello\tText")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
        assert stage.backend.sent_as == ["i2"]


async def test_with_one_identity_there_is_no_choice_to_look_at(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("c")
        await on(stage, ComposeScreen)
        assert "From" not in stage.text()


async def test_a_mail_says_to_which_identity_it_came(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("Grace", "Hello", "x")

    async with screen(prepare) as stage:
        await stage.sees("From  Grace")
        assert "To  " not in stage.text()
        await stage.press("i", "n")
        await stage.type("Bea\n")
        await stage.sees("Bea")
        await stage.press("escape", "enter")
        await stage.press("escape", "j", "k", "enter")
        await stage.sees("To    ada")
