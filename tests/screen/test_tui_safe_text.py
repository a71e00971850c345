"""The boundary itself: what goes, what stays, and that nothing gets by."""

from __future__ import annotations

import unicodedata

import pytest
from hostile import CONTROLS, TEXTS
from hypothesis import given
from hypothesis import strategies as st

from tui import safe_text

PIECES = st.one_of(
    st.text(),
    st.sampled_from(TEXTS),
    st.text(st.sampled_from("\x1b[]0;m\x07\\\x9b\x9dP_\x00\x08\u202e\u200d\u200ca\u0301👍\n\t[/")),
)


@pytest.mark.parametrize("text", TEXTS)
def test_no_hostile_text_gets_by(text: str) -> None:
    check(text)


@given(st.lists(PIECES, max_size=5).map("".join))
def test_nothing_gets_by(text: str) -> None:
    check(text)


def check(text: str) -> None:
    line, block = safe_text.line(text), safe_text.block(text)
    assert not CONTROLS.search(line) and "\n" not in line
    assert not CONTROLS.search(block)
    assert len(line) <= safe_text.MAX_FIELD
    assert all(len(one) <= safe_text.MAX_LINE for one in block.split("\n"))
    assert longest_marks(line) <= safe_text.MAX_MARKS and longest_marks(block) <= safe_text.MAX_MARKS
    assert safe_text.block(block) == block
    assert safe_text.content(line).plain == line and not safe_text.content(line).spans


def longest_marks(text: str) -> int:
    longest = run = 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize(
    "text",
    [
        "plain text, with [brackets] and \\ backslashes",
        "Größe, café, naïve, Ελληνικά, Кириллица, 日本語, 한국어, हिन्दी, ไทย, עִבְרִית, العَرَبِيَّة",
        "Tiếng Việt e\u0302\u0301",
        "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇨🇭 ❤️ ☎︎",
        "می‌خواهم",  # Persian with its ZWNJ
        "क्‍ष",  # Devanagari with its ZWJ
        "→ “quotes” – dashes … ½ €",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert safe_text.line(text) == text
    assert safe_text.block(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x1b]52;c;AAAA\x07after", "after"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;unfinished, and the text goes on", "0;unfinished, and the text goes on"),
        ("a\r\nb\u2028c\x0bd\x85e", "a b c d e"),
        ("  a \t b  ", "a b"),
        ("a\u202eb\u200bc\u00add", "abcd"),
        ("a\u200db", "ab"),
        ("👍\u200d", "👍"),
        ("👍" + "\u200d👍" * 6, "👍" + "\u200d👍" * 4 + "👍\u200d👍"),
        ("👍\u200d👍" * 15, "👍\u200d👍" * 12 + "👍👍" * 3),
        ("non\u00a0breaking\u3000wide", "non breaking wide"),
        ("\ue000", "\ufffd"),
        ("z" + "\u0301" * 9, "z" + "\u0301" * 4),
        (" \u0301a", "a"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_what_becomes_of_it(text: str, line: str) -> None:
    assert safe_text.line(text) == line


def test_a_block_keeps_its_lines_and_breaks_what_is_too_long() -> None:
    assert safe_text.block("a\r\nb\n\n\tc") == "a\nb\n\n    c"
    assert safe_text.block("x" * 2500) == "\n".join(["x" * 1000, "x" * 1000, "x" * 500])
    long = safe_text.block("y\n" * 200_000)
    assert long.endswith(safe_text.CUT_NOTE) and len(long) < 201_000
