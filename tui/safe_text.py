"""The one boundary that text from other people passes on its way to the terminal.

Subjects, names, bodies, attachment names, notes: whatever somebody else may have written goes through
`line` or `block`, and comes out as `Safe` (a str without controls) or as a Textual `Content`, which is
never read as markup.  Widgets take nothing else.

What goes: escape sequences with what they carry, C0 and C1 controls, bidi controls, invisible format
characters, fillers, private use and unassigned characters, marks beyond MAX_MARKS on one base.  What
stays: everything that people write, ZWJ and variation selectors in emoji, joiners in the scripts that
need them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NewType

from textual.content import Content

Safe = NewType("Safe", str)
"""Text that has passed the boundary."""

MAX_MARKS = 4
"""Combining marks on one base: Vietnamese needs 2, pointed Hebrew 3, Zalgo hundreds."""

MAX_JOINERS = 4
"""Joiners in one emoji: the largest that fonts know have 3; terminals disagree on the width of more."""

MAX_JOINERS_OF_LINE = 12
"""Joiners of emoji in one line: a line must not become much wider than it is taken for."""

MAX_LINE = 1_000
"""Characters of one line of a body: longer ones are broken, since wrapping costs time by the line."""

MAX_BLOCK = 200_000
"""Characters of a body that are shown."""

MAX_FIELD = 300
"""Characters of a subject or a name that are shown."""

CUT_NOTE = "[cut here: this mail is longer than what the screen shows; `mixmail read` prints all of it]"

_TAB = "    "

# ECMA-48: control sequences, control strings (OSC, DCS, SOS, PM, APC), and the other escapes.  A string
# without its end must not swallow the rest of a mail: then only the introducer goes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n\r]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
_NEWLINES = re.compile("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_SPACES = re.compile(r"\s+")
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")

# letters and marks without any ink, which can hide text or look like nothing
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\ufff9\ufffa\ufffb\ufffc"
    "\U0001d159\U0001d173\U0001d174\U0001d175\U0001d176\U0001d177\U0001d178\U0001d179\U0001d17a"
)
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_TEXT_STYLE, _EMOJI_STYLE = "\ufe0e", "\ufe0f"
_REPLACED = "\ufffd"


def line(text: str, limit: int = MAX_FIELD) -> Safe:
    """One line: every run of white space is one space, at most `limit` characters."""
    text = _ESCAPES.sub("", text[: 4 * limit + 1024])
    text = _SPACES.sub(" ", _NEWLINES.sub(" ", text)).strip()
    text = _filter(text)
    return Safe(text if len(text) <= limit else text[: limit - 1].rstrip() + "…")


def block(text: str, limit: int = MAX_BLOCK) -> Safe:
    """Several lines: newlines stay, tabs are spaces, long lines are broken, the end may be cut."""
    cut = len(text) > limit
    text = _NEWLINES.sub("\n", _ESCAPES.sub("", text[:limit])).replace("\t", _TAB)
    text = _filter(text)
    if any(len(one) > MAX_LINE for one in text.split("\n")):
        text = "\n".join(_broken(one) for one in text.split("\n"))
    return Safe(f"{text}\n\n{CUT_NOTE}" if cut else text)


def content(text: Safe, style: str = "") -> Content:
    """`text` as something a widget takes, with one style of our own and no markup."""
    return Content.styled(text, style) if style else Content(text)


def _broken(text: str) -> str:
    return "\n".join(text[i : i + MAX_LINE] for i in range(0, len(text), MAX_LINE)) if text else text


def _filter(text: str) -> str:
    """The characters that may stay, one by one; ASCII, the usual case, by one regular expression."""
    text = _CONTROLS.sub("", text)
    if text.isascii():
        return text
    kept: list[str] = []
    marks = joiners = joiners_of_line = 0
    for position, char in enumerate(text):
        if char < "\x7f":
            kept.append(char)
            marks = 0
            if char == "\n":
                joiners_of_line = 0
            continue
        category = unicodedata.category(char)
        if char in _INVISIBLE or category in ("Cc", "Cs"):
            continue
        if category in ("Mn", "Me", "Mc"):
            # a mark needs a base, and the selectors of glyph variants are invisible but for these two
            if _is_variation(char) and char not in (_TEXT_STYLE, _EMOJI_STYLE):
                continue
            if category != "Mc" and (not kept or kept[-1] in " \n" or marks >= MAX_MARKS):
                continue
            marks += 1
            kept.append(char)
            continue
        if category == "Cf":
            before, after = kept[-1] if kept else "", text[position + 1 : position + 2]
            if _joins_letters(char, before, after):
                kept.append(char)
            elif (
                _joins_emoji(char, before, after)
                and joiners < MAX_JOINERS
                and joiners_of_line < MAX_JOINERS_OF_LINE
            ):
                joiners += 1
                joiners_of_line += 1
                kept.append(char)
            continue
        marks = 0
        if not (kept and kept[-1] == _ZWJ) and category != "Sk":  # Sk: the skin tones
            joiners = 0
        if category == "Zs":
            kept.append(" ")
        elif category == "Co" or (category == "Cn" and not "\U0001f000" <= char <= "\U0001faff"):
            kept.append(_REPLACED)
        elif char == "\u2800":  # the braille pattern without dots
            kept.append(" ")
        else:
            kept.append(char)
    return "".join(kept)


def _is_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _joins_emoji(char: str, before: str, after: str) -> bool:
    return char == _ZWJ and _is_emoji(after) and (_is_emoji(before) or before == _EMOJI_STYLE)


def _joins_letters(char: str, before: str, after: str) -> bool:
    return char in (_ZWNJ, _ZWJ) and _is_joining_letter(before) and _is_joining_letter(after)


def _is_emoji(char: str) -> bool:
    return len(char) == 1 and ("\U0001f000" <= char <= "\U0001faff" or "\u2190" <= char <= "\u2bff")


def _is_joining_letter(char: str) -> bool:
    """Arabic, Syriac, N'Ko, Mandaic, and the Indic scripts to Sinhala, Mongolian."""
    return (
        len(char) == 1
        and ("\u0600" <= char <= "\u08ff" or "\u0900" <= char <= "\u0dff" or "\u1820" <= char <= "\u18aa")
        and unicodedata.category(char)[0] in "LM"
    )
