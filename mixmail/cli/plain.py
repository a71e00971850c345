"""Text from other people, made safe to print: the same boundary as the screen's, cut to columns."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d\ufe0e\ufe0f"


def line(text: str, width: int | None = None) -> str:
    """`text` on one line, without anything a terminal would act upon, cut to `width` columns."""
    from tui import safe_text  # loads Textual: not for commands that print JSON

    return _cut(safe_text.line(text, max(1, len(text))), width)


def block(text: str) -> str:
    """All of `text` with its line breaks, without anything else a terminal would act upon."""
    from tui import safe_text

    return safe_text.block(text, max(1, len(text)))


def columns(text: str) -> int:
    """The columns that safe text takes on a terminal."""
    return sum(_columns(character) for character in text)


def ljust(text: str, width: int) -> str:
    """`line`, cut and padded to exactly `width` columns."""
    cut = line(text, width)
    return cut + " " * (width - columns(cut))


def _cut(text: str, width: int | None) -> str:
    if width is None or columns(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def count(number: int, thing: str) -> str:
    """A number with its noun: 1 packet, 3 packets."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def size(count: int) -> str:
    """Bytes for people: 2.0 GB."""
    for unit, bytes in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes:
            return f"{count / bytes:.1f} {unit}"
    return f"{count} B"
