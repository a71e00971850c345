"""The whole way on the screen: the app, the control server, the agent, the network's nodes and profile.db.

Only links and clock are the lab's: virtual time passes when a test says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lab_daemon import LabDaemon
from stage import People
from textual.widgets import Input, TextArea

from mixmail.boxes.record import Record
from mixmail.mail import message
from tui.screens.compose import ComposeScreen
from tui.screens.first_run import FirstRunScreen
from tui.screens.main import MainScreen
from tui.screens.unlock import UnlockScreen
from tui.widgets.mail_list import MailList

pytestmark = pytest.mark.asyncio

ADA, GRACE = 0, 1


async def on(stage: Any, kind: type) -> None:
    await stage.until(lambda: isinstance(stage.app.screen, kind), f"{kind.__name__} shown")


def homes_of(daemon: LabDaemon, mail: str) -> int:
    """How many nodes really hold the least held part of a mail."""
    records = [Record.parse(part.record) for part in daemon.agent.state.parts.values() if part.mail == mail]
    assert records
    stores = [host.store for host in daemon.lab.hosts]
    counts = []
    for record in records:
        entries = [
            entry
            for store in stores
            for entry in store.queue_list(record.key, bytes(32), 99)
            if entry.c == record.c
        ]
        boxes = [box for store in stores if (box := store.get(record.key)) is not None and box.c == record.c]
        counts.append(len(entries) + len(boxes))
    return min(counts)


async def test_from_the_first_run_to_an_answer_and_the_answer_to_it(people: Any) -> None:
    world: People = people()
    ada, grace = world.daemons
    address = grace.create("Grace Hopper")
    ada.run(5)

    async with world.screen(ADA) as stage:
        await on(stage, FirstRunScreen)
        await stage.type("Ada\n")
        await on(stage, MainScreen)
        await stage.sees("No mail yet.")
        await stage.sees("11 peers")
        await stage.sees("small network: at most 12 people")

        wrong = address[:-1] + ("q" if address[-1] != "q" else "p")
        await stage.type(f"n{wrong}\tGrace\n")
        await stage.until(lambda: str(stage.one("#message").content), "a sentence about the checksum")
        assert not ada.agent.state.contacts
        stage.one("#address").value = ""
        stage.one("#address").focus()
        await stage.type(f"{address}\n\n")
        await on(stage, MainScreen)
        await stage.until(lambda: stage.app.session.contact_named("Grace"), "Grace is in the book")

        await stage.type("cgrace\tHello, is it true?\tDoes this reach you?\nAda")
        await stage.press("ctrl+s")
        await stage.sees("Queued — the network carries it in about")
        await stage.press("2")
        await stage.sees("○ queued")
        await stage.sees("looking up the address")
        await stage.comes("◔ sent 1/1", step=0.1)
        [row] = ada.mails("outbox")
        assert (row["state"], row["sent_parts"], row["stored_min"]) == ("sent", 1, 0)
        await stage.comes("Nothing is on its way.", step=0.1)
        await stage.press("3")
        await stage.sees("◑ stored")
        [row] = ada.mails("sent")
        assert row["stored_min"] >= ada.network.parameters.quorum_of(12)
        assert f"◑ stored {row['stored_min']} of 12" in stage.text()
        assert homes_of(ada, row["id"]) >= row["stored_min"]

    async with world.screen(GRACE, size=(120, 40)) as stage:
        await stage.press("5")  # Ada is a stranger to her
        await stage.comes("Hello, is it true?")
        await stage.sees("Does this reach you?")
        await stage.sees("a stranger:")
        assert len(stage.text().splitlines()) == 40
        await stage.type("r")
        await on(stage, ComposeScreen)
        await stage.type("It does.")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
        await stage.type("3")
        await stage.comes("◑ stored")

    async with world.screen(ADA) as stage:
        await stage.comes("Re: Hello, is it true?")
        await stage.sees("It does.")
        await stage.sees("> Does this reach you?")
        await stage.sees("●")
        await stage.press("enter")
        await stage.until(lambda: not ada.mails()[0]["unread"], "marked as read")
        await stage.press("3")
        await stage.sees("● answered")
        await stage.type("1rThank you.")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)

    world.lab.run(60, lambda: len(grace.mails()) == 2)
    texts = [message.parse(grace.profile.get_mail(row["id"])["eml"]) for row in grace.mails()]
    assert (
        texts[0].text.startswith("Thank you.\n\nGrace wrote on")
        and texts[0].subject == "Re: Hello, is it true?"
    )
    assert texts[0].in_reply_to == message.parse(ada.profile.get_mail(ada.mails()[0]["id"])["eml"]).message_id
    assert [row["contact_name"] for row in grace.mails()] == ["Ada", "Ada"]


async def test_a_lost_packet_is_never_called_stored(people: Any) -> None:
    world: People = people()
    world.meet()
    ada, grace = world.daemons
    async with world.screen(ADA) as stage:
        await stage.sees("We shall.")
        world.lab.links.loss = 1.0
        await stage.type("cGrace\tlong\t")
        await stage.paste("All of it counts. " * 1_300)
        await stage.press("ctrl+s", "2")
        await stage.sees("long")
        await stage.comes("◔ sent 2/2")
        await stage.passes(40)
        await stage.settles()
        assert "◔ sent 2/2" in stage.text() and "stored" not in stage.text()
        await stage.press("d")
        await stage.sees("it cannot be taken back")
        world.lab.links.loss = 0.0
        await stage.comes("Nothing is on its way.")
        [row] = [row for row in ada.mails("sent") if row["subject"] == "long"]
        assert row["state"] == "stored" and homes_of(ada, row["id"]) >= row["stored_min"] >= 5
    assert world.lab.run(200, lambda: grace.mails()[0]["subject"] == "long")
    assert message.parse(grace.profile.get_mail(grace.mails()[0]["id"])["eml"]).text.startswith(
        "All of it counts"
    )


async def test_what_was_written_outlives_the_screen_and_the_machine(people: Any) -> None:
    world: People = people()
    world.meet()
    ada, grace = world.daemons
    async with world.screen(ADA) as stage:
        await stage.type("cGrace\tbefore the storm\tDoes it last?")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
        await stage.type("cGrace\tan idea\thalf a thought")
        await stage.press("escape")
        await on(stage, MainScreen)
    ada.restart()
    async with world.screen(ADA) as stage:
        await stage.sees("We shall.")
        await stage.press("2")
        await stage.sees("before the storm")
        await stage.press("4")
        await stage.sees("half a thought")
        await stage.press("enter")
        await on(stage, ComposeScreen)
        assert (stage.one("#to").value, stage.one("#subject").value) == ("Grace", "an idea")
        assert stage.one(TextArea).text == "half a thought"
        await stage.press("escape")
        await on(stage, MainScreen)
        await stage.press("2")
        await stage.comes("Nothing is on its way.")
    world.lab.run(120)
    assert [row["subject"] for row in grace.mails()].count("before the storm") == 1


async def test_a_passphrase_shuts_the_mail_and_opens_it_again(people: Any) -> None:
    world: People = people()
    world.daemons[GRACE].create("Grace")
    ada = world.daemons[ADA]
    async with world.screen(ADA) as stage:
        await on(stage, FirstRunScreen)
        await stage.type("Ada\tübermorgen\tübermorgen\n")
        await on(stage, MainScreen)
    world.write(GRACE, ADA, "for your eyes", "only")
    ada.restart()
    async with world.screen(ADA) as stage:
        await on(stage, UnlockScreen)
        await stage.type("gestern\n")
        await stage.sees("passphrase")
        await stage.until(lambda: str(stage.one("#message").content), "a refusal")
        assert "for your eyes" not in stage.text() and ada.locked
        await stage.type("übermorgen\n")
        await on(stage, MainScreen)
        await stage.press("5")
        await stage.sees("for your eyes")
    world.write(GRACE, ADA, "and another", "after it")


async def test_search_delete_undo_on_a_real_profile(people: Any) -> None:
    world: People = people()
    world.meet()
    for number in range(3):
        world.write(GRACE, ADA, f"letter {number}", f"100 % of the tea is in cup_{number}")
    ada = world.daemons[ADA]
    async with world.screen(ADA, size=(120, 40)) as stage:
        await stage.sees("letter 2")
        await stage.type("/CUP_1 letter")
        await stage.loses("letter 2")
        await stage.sees("letter 1")
        assert stage.one(MailList).total == 1
        stage.one("#search").value = "100 %"
        await stage.until(lambda: stage.one(MailList).total == 3, "three letters have it")
        stage.one("#search").value = "no such word"
        await stage.sees("Nothing found.")
        await stage.press("escape")
        await stage.sees("Re: How do you do")
        await stage.until(lambda: stage.one(MailList).total == 4, "all mails")
        await stage.press("g", "d")
        await stage.sees("u takes it back")
        assert len(ada.mails()) == 4
        await stage.press("u")
        await stage.sees("Not deleted.")
        await stage.press("g", "d", "d")
        await stage.until(lambda: len(ada.mails()) == 3, "the first delete is final")
        await stage.press("q")
        await stage.until(lambda: len(ada.mails()) == 2, "leaving makes the second one final")
    assert [row["subject"] for row in ada.mails()] == ["letter 0", "Re: How do you do"]
    ada.restart()
    world.lab.run(60)
    assert len(ada.mails()) == 2, "what is deleted does not come again"


async def test_files_travel_with_a_mail(people: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world: People = people()
    world.meet()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "engine.pdf").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "papers" / "tea.txt").write_text("Earl Grey")
    (tmp_path / "huge.bin").write_bytes(bytes(1_000_000))
    async with world.screen(ADA) as stage:
        await stage.type("cGrace\tthe plans\t")
        await stage.press("ctrl+a")
        await stage.type("~/pa\te\t\n")
        await stage.sees("engine.pdf  25 KB")
        await stage.type("~/papers\n")
        await stage.sees("is a folder")
        for wrong, words in (("~/none", "No such file"), ("~/huge.bin", "there is room for 972 KB only")):
            stage.one("#path").value = wrong
            await stage.press("enter")
            await stage.sees(words)
        stage.one("#path").value = ""
        await stage.type("~/papers/t\t\n")
        await stage.sees("tea.txt  9 B")
        await stage.type("~/papers/t\t\n")
        await stage.press("up", "delete", "escape")
        await on(stage, ComposeScreen)
        await stage.sees("engine.pdf  25 KB · tea.txt  9 B")
        await stage.press("ctrl+s")
        await on(stage, MainScreen)
    assert world.lab.run(200, lambda: len(world.daemons[GRACE].mails()) == 2)
    async with world.screen(GRACE) as stage:
        await stage.sees("25 KB  engine.pdf  application/pdf")
        await stage.press("s", "down", "enter")
        await stage.until(lambda: str(stage.one("#path").value).endswith("tea.txt"), "the second file")
        stage.one("#path").value = str(tmp_path / "saved")
        await stage.press("enter")
        await stage.sees("Saved as")
    assert (tmp_path / "saved").read_text() == "Earl Grey"


async def test_keys_typed_ahead_go_where_they_would_have_gone(people: Any) -> None:
    world: People = people()
    world.meet()
    async with world.screen(ADA) as stage:
        await stage.sees("We shall.")
        await stage.type("cGrace\nby enter\nfirst line\nsecond line")
        assert stage.one("#to").value == "Grace"
        assert stage.one("#subject").value == "by enter"
        assert stage.one(TextArea).text == "first line\nsecond line"
        await stage.press("escape")
        await on(stage, MainScreen)
        await stage.type("a\nto\tto the book")
        assert isinstance(stage.app.screen, ComposeScreen)
        assert [stage.one(f"#{name}").value for name in ("to", "subject")] == ["Grace", "to"]
        await stage.press("escape")
        await on(stage, MainScreen)
        await stage.type("ady")
        await stage.until(lambda: not world.daemons[ADA].agent.state.contacts, "removed by d y at once")
        await stage.press("escape")
        await on(stage, MainScreen)
        await stage.type("/shall")
        assert stage.app.screen.query_one("#search", Input).value == "shall"
