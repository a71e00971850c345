"""Says on top of a screen that the daemon is away; nothing at all while it is there."""

from __future__ import annotations

from textual.widgets import Static

from tui import safe_text


class Banner(Static):
    """Shown while its text is not empty."""

    def __init__(self) -> None:
        super().__init__(classes="banner", markup=False)
        self.display = False

    def show(self, text: str) -> None:
        self.update(safe_text.content(safe_text.line(f"⚠ {text}" if text else "")))
        self.display = bool(text)
