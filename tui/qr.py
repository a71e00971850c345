"""QR codes (ISO/IEC 18004) of links, in characters."""

from __future__ import annotations

import segno

BORDER = 2  # light modules around; the standard asks for 4, which phones do not need, and 80x24 has no room
_BLOCKS = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}  # light is what a terminal draws


def code(link: str) -> segno.QRCode:
    """The code of an address's link; in capitals it is "alphanumeric", which saves a fifth of the modules."""
    return segno.make(link.upper(), error="l", micro=False, boost_error=False)


def blocks(link: str) -> list[str]:
    """Two modules a character, light ones drawn: for light text on a dark ground."""
    rows = [list(row) for row in code(link).matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    return [
        "".join(_BLOCKS[upper, lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]
