"""QR codes (ISO/IEC 18004) of addresses, in the terminal and as PNG."""

from __future__ import annotations

import io

import segno

from mixmail.mail.address import Address

BORDER = 2  # light modules around; the standard asks for 4, which phones do not need, and 80x24 has no room
PNG_BORDER = 4
PNG_SCALE = 8
_BLOCKS = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}  # light is what a terminal draws
_BLACK_ON_WHITE = "\x1b[38;5;231;48;5;16m{}\x1b[0m"


def _code(address: Address) -> segno.QRCode:
    # In capitals an address is "alphanumeric", which makes a code of 33 modules and not 37.
    return segno.make(address.uri.upper(), error="l", micro=False, boost_error=False)


def in_terminal(address: Address, color: bool) -> str:
    """Two modules a character, light ones drawn.  `color`: white on black on every terminal."""
    rows = [list(row) for row in _code(address).matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = [
        "".join(_BLOCKS[upper, lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(_BLACK_ON_WHITE.format(line) if color else line for line in lines)


def as_png(address: Address) -> bytes:
    """A picture to print or to show."""
    out = io.BytesIO()
    _code(address).save(out, kind="png", scale=PNG_SCALE, border=PNG_BORDER)
    return out.getvalue()
