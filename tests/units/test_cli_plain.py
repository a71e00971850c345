"""What the command line prints of other people's text, and where it puts their files."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.cli import files, find, plain
from mixmail.errors import UserError

HOSTILE = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x1b\\",
    "\x9b31mred",
    "\x1b[2J\x1b[H",
    "a\u202egnp.exe",
    "\u2066isolate\u2069",
    "del\x7f\x08\x08",
    "line\u2028separator\u2029",
    "\ue000private",
    "bell\a",
    "half \ud800 pair",
]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(c) in {"Cc", "Cs", "Co", "Zl", "Zp"} for c in text) and not any(
        unicodedata.category(c) == "Cf" and c not in "\u200c\u200d" for c in text
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_acts_upon_is_left(text: str) -> None:
    assert not is_harmless(text)
    assert is_harmless(plain.line(text))
    assert is_harmless(plain.block(text).replace("\n", ""))


@given(st.text())
def test_any_text_is_harmless_and_on_one_line(text: str) -> None:
    assert is_harmless(plain.line(text))
    assert "\n" not in plain.line(text)
    assert is_harmless(plain.block(text).replace("\n", ""))


@given(st.text(), st.integers(1, 40))
def test_a_cell_has_exactly_its_width(text: str, width: int) -> None:
    assert plain.columns(plain.ljust(text, width)) == width


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Grüße 👩\u200d🚀 日本語 [bold]x[/bold]"
    assert plain.line(text) == text
    assert plain.block("a\r\nb\rc\n\td") == "a\nb\nc\n    d"
    assert plain.line("ab cd", 4) == "ab …"
    assert plain.ljust("日本語", 4) == "日… "


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "C:x",
        ".bashrc",
        "-rf",
        "a\x00b",
        "a\nb",
        "a\x1bb",
        "x" * 256,
        "a\u202eb",
    ],
)
def test_a_file_name_with_a_path_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        files.targets(tmp_path, ["good.txt", name])
    assert error.value.code == "unsafe-name"


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\x1bb", "a\u202eb", "x" * 256])
def test_a_file_name_that_deceives_or_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        files.targets(tmp_path, ["good.txt", name])
    assert error.value.code == "unsafe-name"


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    paths = files.targets(tmp_path, ["a.txt", "a.txt", "b", "a.txt", "Grüße 日本.pdf"])
    assert [path.name for path in paths] == ["a.txt", "a-2.txt", "b", "a-3.txt", "Grüße 日本.pdf"]


def test_no_file_and_no_link_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link"):
        with pytest.raises(UserError) as error:
            files.targets(tmp_path, [name])
        assert error.value.code == "exists"
        with pytest.raises(UserError) as error:
            files.write_new(tmp_path / name, b"new")
        assert error.value.code == "exists"
    assert (tmp_path / "there").read_text() == "old"
    assert not (tmp_path / "elsewhere").exists()


def test_a_saved_file_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    files.write_new(tmp_path / "new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_an_attachment_leaves_without_its_path(tmp_path: Path) -> None:
    path = tmp_path / "minutes.pdf"
    path.write_bytes(b"%PDF")
    (attachment,) = files.attachments([str(path)])
    assert (attachment.name, attachment.type, attachment.data) == ("minutes.pdf", "application/pdf", b"%PDF")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read") as error:
        files.attachments([str(tmp_path / "no")])
    assert error.value.code == "file"


@given(st.sets(st.text("abc", min_size=6, max_size=6), min_size=1))
def test_the_shortest_beginnings_are_unique(ids: set[str]) -> None:
    short = find.shortest(ids, least=2)
    for id in ids:
        assert [other for other in ids if other.startswith(short[id])] == [id]
        assert len(short[id]) == 2 or len([other for other in ids if other.startswith(short[id][:-1])]) > 1


def test_only_one_may_fit() -> None:
    assert find.only("4f", {"4f2a": "x"}, "mail") == "4f2a"
    with pytest.raises(UserError) as error:
        find.only("zz", {}, "mail")
    assert error.value.code == "unknown-mail"
    with pytest.raises(UserError, match=r"4f2a \(x\), 4f2b \(yz\)") as error:
        find.only("4f", {"4f2a": "x", "4f2b": "y\x07z"}, "mail")
    assert error.value.code == "ambiguous"
