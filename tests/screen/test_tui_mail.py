"""Reading, writing, answering and deleting mail on the screen at 80 by 24."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from memory_backend import MemoryBackend, make_status
from textual.widgets import Input, TextArea

from mixmail.control import types
from mixmail.errors import UserError
from tui.screens.compose import ComposeScreen
from tui.screens.main import MainScreen
from tui.widgets.mail_list import MailList
from tui.widgets.reader import Reader

pytestmark = pytest.mark.asyncio


def some_mail(backend: MemoryBackend) -> None:
    backend.add_contact("echo")
    backend.add_contact("Grace")
    backend.add_mail("Grace", "The engine", "Come on Thursday.\nThere is tea.")
    backend.add_mail("echo", "Re: first light", "I am echo.")


async def test_the_inbox_shows_mails_newest_first_and_the_first_one_in_the_pane(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.sees("I am echo.")
        lines = stage.text().splitlines()
        rows = [number for number, line in enumerate(lines) if "●" in line]
        assert "Re: first light" in lines[rows[0]] and "The engine" in lines[rows[1]]
        assert "Inbox" in stage.text() and "Outbox" in stage.text() and "Drafts" in stage.text()
        assert len(lines) == 24 and all(len(line) <= 80 for line in lines)


async def test_moving_reads_and_enter_goes_into_the_text_and_esc_back(screen: Any) -> None:
    async with screen(some_mail) as stage:
        assert all(mail.unread for mail in stage.backend.mails)
        await stage.press("j")
        await stage.sees("There is tea.")
        await stage.until(lambda: not stage.backend.mails[0].unread, "marked as read")
        assert stage.backend.mails[1].unread
        await stage.press("enter")
        assert stage.one(Reader).has_focus
        await stage.press("escape")
        assert stage.one(MailList).has_focus
        await stage.press("k", "enter")
        await stage.until(lambda: not stage.backend.mails[1].unread, "marked as read")
        await stage.loses("●")


async def test_a_mail_is_written_sent_and_followed_honestly(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("c")
        await stage.sees("arrives in about 10 s on this demo network")
        await stage.type("echo\thello there\t")
        await stage.type("Is anybody there?")
        await stage.press("ctrl+s")
        await stage.sees("Queued — the network carries it in about 10 s.")
        sent = stage.backend.mails[-1]
        assert (sent.folder, sent.contact_name, sent.subject) == ("outbox", "echo", "hello there")
        assert stage.backend.texts[sent.id] == "Is anybody there?"
        assert not stage.backend.drafts

        await stage.press("2")
        await stage.sees("○ queued")
        stage.backend.move(sent.id, state="sent", sent_parts=1, parts=3)
        await stage.sees("◔ sent 1/3")
        stage.backend.move(sent.id, state="stored", sent_parts=3, parts=3, stored_min=6, replicas=12)
        await stage.sees("◑ stored 6 of 12")
        stage.backend.move(sent.id, state="answered", folder="sent")
        await stage.sees("Nothing is on its way.")
        await stage.press("3")
        await stage.sees("● answered")


async def test_a_failed_mail_says_why(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail(
            "Grace", "x", "y", "outbox", state="failed", note="Her address is not known any more."
        )

    async with screen(prepare) as stage:
        await stage.press("2")
        await stage.sees("✗ failed")
        await stage.sees("Her address is not known any more.")


async def test_a_reply_quotes_and_names_what_it_answers(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("j")
        await stage.sees("There is tea.")
        await stage.press("r")
        await stage.sees("> There is tea.")
        assert stage.one("#to").value == "Grace"
        assert stage.one("#subject").value == "Re: The engine"
        await stage.type("Gladly.")
        await stage.press("ctrl+s")
        await stage.until(lambda: stage.backend.mails[-1].folder == "outbox", "in the outbox")
        assert stage.backend.mails[-1].in_reply_to == stage.backend.mails[0].id
        assert stage.backend.texts[stage.backend.mails[-1].id].startswith("Gladly.\n\nGrace wrote on")


async def test_a_reply_to_an_answer_keeps_one_re(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("r")
        await stage.sees("> I am echo.")
        assert stage.one("#subject").value == "Re: first light"


async def test_what_is_typed_is_kept_while_typing_and_at_esc_and_opens_again(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("c")
        await stage.type("Grace\tan idea\t")
        await stage.type("half a")
        stage.app.screen.autosave()
        await stage.until(lambda: len(stage.backend.drafts) == 1, "a draft")
        await stage.type(" thought")
        await stage.press("escape")
        await stage.until(lambda: isinstance(stage.app.screen, MainScreen), "the main screen")
        [draft] = stage.backend.drafts.values()
        assert (draft.subject, draft.text) == ("an idea", "half a thought")
        assert draft.to == stage.backend.contacts[1].id

        await stage.press("4")
        await stage.sees("an idea")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, ComposeScreen), "compose")
        assert stage.one("#to").value == "Grace"
        assert stage.one(TextArea).text == "half a thought"
        await stage.press("ctrl+s")
        await stage.until(lambda: not stage.backend.drafts, "the draft is gone")
        assert stage.backend.mails[-1].contact_name == "Grace"


async def test_autosave_runs_by_itself(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.compose.AUTOSAVE", 0.01)
    async with screen(some_mail) as stage:
        await stage.press("c")
        await stage.type("x")
        await stage.until(lambda: [one.to for one in stage.backend.drafts.values()] == ["x"], "kept")


async def test_an_empty_letter_leaves_no_draft_and_is_not_sent(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("c", "ctrl+s")
        await stage.sees("Say to whom")
        await stage.type("echo")
        await stage.press("ctrl+s")
        await stage.sees("There is nothing in this mail yet.")
        stage.one("#to").value = ""
        await stage.press("escape")
        await stage.until(lambda: isinstance(stage.app.screen, MainScreen), "the main screen")
        assert not stage.backend.drafts and "mail_send" not in stage.backend.calls


async def test_a_refusal_is_one_sentence_and_the_text_stays(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("c")
        await stage.type("bob\tx\tmy long letter")
        await stage.press("ctrl+s")
        await stage.sees("There is no contact bob")
        assert stage.one(TextArea).text == "my long letter"


async def test_delete_waits_for_an_undo(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("d")
        await stage.sees("u takes it back")
        await stage.press("u")
        await stage.sees("Not deleted.")
        assert "u takes it back" not in stage.text()
        await stage.press("k", "d")
        await stage.press("d")  # the next delete makes the last one final
        await stage.until(lambda: len(stage.backend.mails) == 1, "one is deleted")
        assert stage.backend.mails[0].subject == "The engine"
        await stage.press("q")
        await stage.until(lambda: not stage.backend.mails, "leaving makes it final too")


async def test_delete_becomes_final_after_a_while(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.main.UNDO_FOR", 0.01)
    async with screen(some_mail) as stage:
        await stage.press("d")
        await stage.until(lambda: [mail.subject for mail in stage.backend.mails] == ["The engine"], "deleted")
        await stage.loses("Re: first light")


async def test_a_queued_mail_is_taken_back_into_the_drafts(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        some_mail(backend)
        backend.add_mail("Grace", "too early", "Not yet.", "outbox")

    async with screen(prepare) as stage:
        await stage.press("2")
        await stage.sees("too early")
        await stage.press("d")
        await stage.sees("Taken back: it is in Drafts.")
        [draft] = stage.backend.drafts.values()
        assert (draft.to, draft.subject, draft.text) == (
            stage.backend.contacts[1].id,
            "too early",
            "Not yet.",
        )
        await stage.sees("Nothing is on its way.")


async def test_a_mail_that_leaves_while_it_is_taken_back_stays_once(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("Grace", "too late", "Gone.", "outbox")
        backend.refuse["mail_cancel"] = UserError("A part of it has left already.", "already-sent")

    async with screen(prepare) as stage:
        await stage.press("2")
        await stage.sees("too late")
        await stage.press("d")
        await stage.sees("A part of it has left already.")
        assert not stage.backend.drafts and len(stage.backend.mails) == 1


async def test_a_mail_on_its_way_cannot_be_deleted(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("Grace", "on its way", "x", "outbox", state="sent", sent_parts=1, parts=3)

    async with screen(prepare) as stage:
        await stage.press("2")
        await stage.sees("on its way")
        await stage.press("d")
        await stage.sees("it cannot be taken back")
        assert "mail_delete" not in stage.backend.calls and "mail_cancel" not in stage.backend.calls


async def test_search_filters_and_esc_ends_it(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("slash")
        await stage.type("tea")
        await stage.loses("Re: first light")
        assert "The engine" in stage.text()
        await stage.press("enter")
        assert stage.one(MailList).has_focus
        await stage.press("escape")
        await stage.sees("Re: first light")
        assert stage.one("#search").display is False
        await stage.press("slash")
        await stage.type("xyzzy")
        await stage.sees("Nothing found. Esc ends the search.")


async def test_a_mail_that_comes_in_is_told_and_the_cursor_stays(screen: Any) -> None:
    async with screen(some_mail) as stage:
        await stage.press("j")
        await stage.sees("There is tea.")
        stage.backend.arrive("echo", "Re: second", "Hello again.")
        await stage.sees("New mail from echo: Re: second")
        await stage.until(lambda: stage.one(MailList).total == 3, "three mails")
        assert stage.one(MailList).row.subject == "The engine"
        assert "There is tea." in stage.text()


async def test_a_hundred_thousand_mails_are_fetched_by_the_page(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        for number in range(100_000):
            mail = types.MailSummary(
                id=str(number),
                folder="inbox",
                contact=None,
                contact_name="Grace",
                subject=f"subject {number}",
                date=1_790_000_000.0 + number,
                size=1,
                unread=False,
                state="received",
            )
            backend.mails.append(mail)
            backend.texts[mail.id] = f"text {number}"

    async with screen(prepare) as stage:
        await stage.sees("subject 99999")
        await stage.press("G")
        await stage.sees("subject 0 ")
        await stage.press("k")
        await stage.sees("text 1")
        await stage.press("g")
        await stage.sees("subject 99999")
        assert len(stage.one(MailList).rows) <= 400


async def test_the_status_line_is_honest_about_the_network(screen: Any) -> None:
    def prepare(backend: MemoryBackend) -> None:
        backend.status_now = make_status(waiting=3)

    async with screen(prepare) as stage:
        for text in (
            "11 peers",
            "next slot 0.2 s",
            "3 packets waiting",
            "demo network: not anonymous",
            "small network: at most 12 people",
        ):
            await stage.sees(text)
        stage.backend.status_now = make_status(peers=1, waiting=1, warnings=["The disk is full."])
        stage.server.publish("status", stage.backend.status_now)
        for text in ("1 peer ", "1 packet waiting", "The disk is full."):
            await stage.sees(text)
    async with screen(preset="mail") as stage:
        await stage.sees("mail network · 11 peers")
        assert "anonymous" not in stage.text() and "small" not in stage.text()
        await stage.press("c")
        await stage.sees("arrives in about 28 min")


async def test_an_attachment_is_saved_under_a_plain_name_and_never_over_a_file(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = types.Attachment(name="../../.bashrc\x1b[2J", type="text/plain", data=b"rm -rf")

    def prepare(backend: MemoryBackend) -> None:
        backend.add_mail("Grace", "a file", "see there", files=[file])

    async with screen(prepare) as stage:
        await stage.sees("6 B")
        await stage.press("s")
        await stage.until(lambda: stage.app.screen.query("#path"), "the dialog")
        assert stage.one("#path").value == str(tmp_path / "bashrc")
        stage.one("#path").focus()
        await stage.press("enter")
        await stage.sees("Saved as")
        assert (tmp_path / "bashrc").read_bytes() == b"rm -rf"
        await stage.press("s")
        await stage.until(lambda: stage.app.screen.query("#path"), "the dialog")
        stage.one("#path").focus()
        (tmp_path / "bashrc").write_bytes(b"mine")
        await stage.press("enter")
        await stage.sees("is there already")
        assert (tmp_path / "bashrc").read_bytes() == b"mine"


async def test_every_mail_view_fits_a_small_and_a_wide_terminal(screen: Any) -> None:
    for size in ((80, 24), (120, 40), (40, 12)):
        async with screen(some_mail, size=size) as stage:
            await stage.sees("Re: first")
            for keys in (["question_mark"], ["c"], ["a"], ["y"], ["n"]):
                await stage.press(*keys)
                await stage.press("escape")
                await stage.until(lambda: isinstance(stage.app.screen, MainScreen), f"back from {keys}")
            assert all(len(line) <= size[0] for line in stage.text().splitlines())
            assert stage.app.screen.query_one("#search", Input).display is False
