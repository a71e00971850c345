"""Opens the terminal UI on a running daemon."""

from __future__ import annotations

import sys

from mixmail.cli.home import Home
from mixmail.errors import UserError


def open_screen(home: Home) -> None:
    """Run the terminal UI until the user leaves it.  UserError "no-terminal" without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "The mail program needs a terminal: use `mixmail send`, `inbox` and `read` in scripts.",
            "no-terminal",
        )
    from tui.app import run  # Textual takes its time to load: only where it is shown

    run(home.socket)
