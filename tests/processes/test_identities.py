"""Identities, their words, their QR codes and the passphrase, by the command line on a real daemon."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_disk import profile_rows
from real_network import Person, run_mixmail

from mixmail.daemon import devnet

NODES = 6


@pytest.fixture(scope="module")
def you(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A daemon that is alone on its network."""
    folder = tmp_path_factory.mktemp("alone") / "net"
    devnet.create(folder, NODES)
    person = Person(folder / "you")
    person.start()
    try:
        yield person
    finally:
        person.close()


def mixmail(you: Person, *words: str, typed: str = "", fails: bool = False) -> str:
    """Standard output of a command; of one that fails, its one sentence."""
    done: subprocess.CompletedProcess[bytes] = run_mixmail(you.home.folder, *words, stdin=typed.encode())
    assert (done.returncode != 0) is fails, done.stderr.decode()
    return (done.stderr if fails else done.stdout).decode()


def names(you: Person) -> dict[str, bool]:
    return {one["name"]: one["archived"] for one in json.loads(mixmail(you, "id", "list", "--json"))}


def test_an_identity_goes_and_comes_back_by_its_words(you: Person) -> None:
    address = mixmail(you, "id", "new", "Ada").strip()
    words = mixmail(you, "id", "words", "Ada", "--yes")
    assert len([word for word in words.split() if word.isalpha()]) == 24
    mixmail(you, "id", "delete", "Ada", "--yes")
    assert names(you) == {}
    assert "checksum" in mixmail(
        you, "id", "restore", "Ada", typed=words.replace(words.split()[1], "zoo", 1), fails=True
    )
    assert mixmail(you, "id", "restore", "Ada", typed=words).strip() == address
    assert "here already, as Ada" in mixmail(you, "id", "restore", "Ada", typed=words, fails=True)


def test_words_are_checked_by_asking_three(you: Person) -> None:
    mixmail(you, "id", "new", "Bea")
    assert "not word" in mixmail(you, "id", "words", "Bea", "--check", typed="nothing\n" * 3, fails=True)


def test_archived_identities_are_marked_and_used_again(you: Person) -> None:
    mixmail(you, "id", "new", "Cleo")
    mixmail(you, "id", "rename", "Cleo", "Cleopatra")
    mixmail(you, "id", "archive", "Cleopatra")
    assert "(archived)" in mixmail(you, "id", "list")
    assert names(you)["Cleopatra"]
    mixmail(you, "id", "archive", "Cleopatra", "--undo")
    assert not names(you)["Cleopatra"]


def test_an_address_is_shown_as_link_and_as_qr_codes(you: Person, tmp_path: Path) -> None:
    address = mixmail(you, "id", "new", "Dora").strip()
    assert mixmail(you, "id", "show", "Dora", "--uri").strip() == f"mixmail:{address}"
    lines = mixmail(you, "id", "show", "Dora", "--qr").splitlines()
    assert len(lines) <= 24 and all(len(line) == len(lines[0]) <= 80 for line in lines)
    assert set("".join(lines)) == set("█▀▄ ")
    picture = tmp_path / "dora.png"
    mixmail(you, "id", "show", "Dora", "--png", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "there already" in mixmail(you, "id", "show", "Dora", "--png", str(picture), fails=True)


def test_who_wrote_to_a_contact_goes_on_writing_to_him(you: Person) -> None:
    """The first identity is not taken for everything: the contact would learn that two are one person."""
    mixmail(you, "id", "new", "Elsa")
    somebody = mixmail(you, "id", "new", "Somebody").strip()
    mixmail(you, "send", somebody, "--from", "Elsa", "-s", "one", "-m", "x")
    mixmail(you, "send", somebody, "-s", "two", "-m", "x")
    (elsa,) = [one["id"] for one in json.loads(mixmail(you, "id", "list", "--json")) if one["name"] == "Elsa"]
    assert {row["subject"]: row["identity"] for row in profile_rows(you.home.folder, "mails")} == {
        "one": elsa,
        "two": elsa,
    }


def test_the_passphrase_is_set_changed_and_taken_away(you: Person) -> None:
    sealed = you.home.folder / "profile.key"
    before = sealed.read_bytes()
    you.ask(lambda client: client.passphrase(None, "first"))
    assert sealed.read_bytes() != before
    with pytest.raises(Exception, match="passphrase is wrong"):
        you.ask(lambda client: client.passphrase("other", "second"))
    you.ask(lambda client: client.passphrase("first", "second"))
    you.stop()
    you.start()
    assert you.ask(lambda client: client.identity_list()) == []
    with pytest.raises(Exception, match="passphrase is wrong"):
        you.ask(lambda client: client.unlock("first"))
    you.ask(lambda client: client.unlock("second"))
    (dora,) = [one for one in you.ask(lambda client: client.identity_list()) if one.name == "Dora"]
    with pytest.raises(Exception, match="locked"):
        you.ask(lambda client: client.identity_words(dora.id))
    assert len(you.ask(lambda client: client.identity_words(dora.id, "second"))) == 24
    you.ask(lambda client: client.passphrase("second", None))
    assert sealed.read_bytes() == before
