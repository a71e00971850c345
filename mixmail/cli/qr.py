"""QR codes of addresses, on a terminal and as PNG."""

from __future__ import annotations

import io

from mixmail.mail.address import Address
from tui import qr

PNG_BORDER = 4
PNG_SCALE = 8
_WHITE_ON_BLACK = "\x1b[38;5;231;48;5;16m{}\x1b[0m"


def in_terminal(address: Address, color: bool) -> str:
    """Lines of block characters.  `color`: white on black on every terminal."""
    lines = qr.blocks(address.uri)
    return "\n".join(_WHITE_ON_BLACK.format(line) if color else line for line in lines)


def as_png(address: Address) -> bytes:
    """A picture to print or to show."""
    out = io.BytesIO()
    qr.code(address.uri).save(out, kind="png", scale=PNG_SCALE, border=PNG_BORDER)
    return out.getvalue()
