"""The first run, unlocking, the address book, and the daemon going away and coming back."""

from __future__ import annotations

from typing import Any

import pytest
from memory_backend import MemoryBackend, address
from textual.widgets import OptionList, TextArea

from mixmail.errors import UserError
from tui.screens.address_book import AddressBook
from tui.screens.compose import ComposeScreen
from tui.screens.first_run import FirstRunScreen
from tui.screens.main import MainScreen
from tui.screens.unlock import UnlockScreen
from tui.widgets.banner import Banner

pytestmark = pytest.mark.asyncio


def echo(backend: MemoryBackend) -> None:
    backend.add_contact("echo")


async def on(stage: Any, kind: type) -> None:
    await stage.until(lambda: isinstance(stage.app.screen, kind), f"{kind.__name__} shown")


async def test_a_newcomer_is_greeted_and_lands_on_an_inbox_that_says_what_to_press(screen: Any) -> None:
    async with screen(echo, identity=None) as stage:
        await on(stage, FirstRunScreen)
        await stage.sees("Welcome to mixmail")
        await stage.sees("it is not anonymous")
        await stage.press("enter")
        await stage.sees("A name is needed")
        await stage.type("Ada")
        await stage.press("enter")
        await on(stage, MainScreen)
        assert stage.backend.identities[0].name == "Ada" and stage.backend.passphrase is None
        await stage.sees("write a mail")
        await stage.sees("Write to echo")
        await stage.press("c")
        await on(stage, ComposeScreen)


async def test_a_passphrase_is_asked_for_twice(screen: Any) -> None:
    async with screen(identity=None) as stage:
        await on(stage, FirstRunScreen)
        await stage.type("Ada\tone\ttwo\n")
        await stage.sees("The two passphrases differ")
        assert not stage.backend.identities
        await stage.type("same\tsame\n")
        await on(stage, MainScreen)
        assert stage.backend.passphrase == "same"


async def test_a_refused_identity_is_one_sentence(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.refuse["identity_create"] = UserError("The disk is full: make room.", "disk")

    async with screen(prepare, identity=None) as stage:
        await on(stage, FirstRunScreen)
        await stage.type("Ada\n")
        await stage.sees("The disk is full: make room.")
        stage.backend.refuse.clear()
        await stage.press("enter")
        await on(stage, MainScreen)


async def test_a_locked_profile_asks_for_its_passphrase(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("Grace", "behind the lock", "x")

    async with screen(prepare, locked=True) as stage:
        await on(stage, UnlockScreen)
        await stage.type("wrong\n")
        await stage.sees("This is not the passphrase")
        assert stage.app.main.mails.total == 0
        await stage.type("secret\n")
        await on(stage, MainScreen)
        await stage.sees("behind the lock")


async def test_a_contact_is_added_by_address_and_written_to(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("n")
        await stage.type("nonsense\tGrace\n")
        await stage.sees("This is no mixmail address")
        stage.one("#address").value = f" {address('Grace')[:40]}\n{address('Grace')[40:]} "
        stage.one("#address").focus()
        await stage.press("enter", "enter")
        await on(stage, MainScreen)
        [contact] = stage.backend.contacts
        assert (contact.name, contact.address) == ("Grace", address("Grace"))
        await stage.until(lambda: stage.app.session.contacts, "the session knows the contact")
        await stage.press("a")
        await on(stage, AddressBook)
        await stage.sees("Grace")
        await stage.press("enter")
        await on(stage, ComposeScreen)
        assert stage.one("#to").value == "Grace"


async def test_the_address_book_renames_and_removes(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_contact("Ann")
        backend.add_contact("Bob")

    async with screen(prepare) as stage:
        await stage.press("a")
        await on(stage, AddressBook)
        await stage.press("j", "e")
        await stage.until(lambda: stage.app.screen.query("#name"), "the dialog")
        stage.one("#name").value = "Robert"
        await stage.press("enter")
        await on(stage, AddressBook)
        await stage.sees("Robert")
        assert [one.name for one in stage.backend.contacts] == ["Ann", "Robert"]
        await stage.press("d", "n")
        await on(stage, AddressBook)
        assert len(stage.backend.contacts) == 2
        await stage.press("d", "y")
        await stage.until(lambda: [one.name for one in stage.backend.contacts] == ["Ann"], "removed")
        await stage.until(lambda: stage.one(OptionList).option_count == 1, "one line")


async def test_two_contacts_of_one_name_are_told_apart(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_contact("Ann")
        backend.add_contact("Ann")

    async with screen(prepare) as stage:
        await stage.press("a", "j", "enter")
        await on(stage, ComposeScreen)
        await stage.type("x\ty")
        await stage.press("ctrl+s")
        await stage.until(lambda: "mail_send" in stage.backend.calls, "sent")
        await on(stage, MainScreen)
        assert stage.backend.mails[-1].contact_name == "Ann"
        assert stage.backend.sent_to == [stage.backend.contacts[1].id]


async def test_the_own_address_is_shown_and_copied(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("y")
        own = stage.backend.identities[0].address
        await stage.until(lambda: stage.app.clipboard == own, "copied")
        shown = "".join(stage.text().split())
        assert own[:30] in shown and own[-20:] in shown


async def test_the_keys_are_shown(screen: Any) -> None:
    async with screen() as stage:
        await stage.press("question_mark")
        for text in ("compose", "reply", "address book", "Ctrl+S", "copy my address", "undo the delete"):
            await stage.sees(text)


async def test_a_daemon_that_is_not_there_yet_is_waited_for(screen: Any) -> None:
    async with screen(echo, running=False) as stage:
        await stage.sees("mixmail is not running here")
        stage.start_daemon()
        await stage.sees("Write to echo")
        assert not stage.one(Banner).display


async def test_nothing_typed_is_lost_when_the_daemon_goes_away(screen: Any) -> None:
    async with screen(echo) as stage:
        await stage.press("c")
        await stage.type("echo\thi\tdo not lose me")
        stage.stop_daemon()
        await stage.sees("Trying again")
        await stage.press("ctrl+s")
        await stage.sees("send again when it is back")
        await stage.press("escape")
        await stage.sees("cannot be kept while")
        assert isinstance(stage.app.screen, ComposeScreen)
        assert stage.one(TextArea).text == "do not lose me"
        stage.start_daemon()
        await stage.until(lambda: not stage.one(Banner).display, "the banner is gone")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
        assert [stage.backend.texts[mail.id] for mail in stage.backend.mails] == ["do not lose me"]


async def test_a_connection_that_breaks_while_sending_warns_of_a_second_copy(screen: Any) -> None:
    async with screen(echo) as stage:
        await stage.press("c")
        await stage.type("echo\thi\ttext")
        stage.backend.before["mail_send"] = stage.stop_daemon
        await stage.press("ctrl+s")
        await stage.sees("look into the outbox before")
        assert stage.one(TextArea).text == "text"


async def test_quitting_from_compose_keeps_the_letter_first(screen: Any) -> None:
    async with screen(echo) as stage:
        await stage.press("c")
        await stage.type("echo\thi\ttext")
        await stage.press("ctrl+q")
        await on(stage, MainScreen)
        assert [one.text for one in stage.backend.drafts.values()] == ["text"]
